"""Declare how a training tells how far it is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from resrepro.config.run import Run
from resrepro.results.records import CurvePoint, RunRecord


class Progress(Protocol):
    """Says how far a training is: the training itself, or what another process tells of it."""

    @property
    def iteration(self) -> int: ...
    @property
    def elapsed_s(self) -> float: ...
    @property
    def lr(self) -> float: ...
    @property
    def points(self) -> Sequence[CurvePoint]: ...
    @property
    def notes(self) -> Sequence[str]: ...
    @property
    def measuring_iters(self) -> float:
        """Return how many iterations of training take as long as the measurements after the last one."""


class Reporter(Protocol):
    """Shows the progress of runs; `cli.progress` does so in the terminal."""

    def preparing(self, what: str, done: int, total: int) -> None: ...
    def started(self, run: Run, training: Progress) -> None: ...
    def advanced(self, run: Run, training: Progress, point: CurvePoint | None) -> None: ...
    def ended(self, run: Run, record: RunRecord | None, note: str) -> None: ...


class Silent:
    """Show no progress."""

    def preparing(self, *_: object) -> None: ...
    def started(self, *_: object) -> None: ...
    def advanced(self, *_: object) -> None: ...
    def ended(self, *_: object) -> None: ...
