"""Reporters that keep silent, note or wait."""

from __future__ import annotations

import threading
from typing import Any

import torch

from resrepro.config.run import Run


class Silent:
    """Says nothing."""

    def preparing(self, *_: object) -> None: ...
    def started(self, *_: object) -> None: ...
    def advanced(self, *_: object) -> None: ...
    def ended(self, *_: object) -> None: ...


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
