"""Reporters that note or wait."""

from __future__ import annotations

import threading
from typing import Any

import torch

from resrepro.config.run import Run
from resrepro.training.reporter import Silent


class Meeting(Silent):
    """Lets no run finish its third iteration before `number` runs have come there."""

    def __init__(self, number: int) -> None:
        self.barrier = threading.Barrier(number)
        self.threads: dict[Run, int] = {}

    def advanced(self, *arguments: Any) -> None:
        run, training = arguments[:2]
        self.threads[run] = torch.get_num_threads()
        if training.iteration == 3:
            self.barrier.wait(timeout=60)
