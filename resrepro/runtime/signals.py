"""Note SIGINT, SIGTERM and SIGHUP, so that work can stop where it is safe."""

from __future__ import annotations

import signal
from collections.abc import Callable, Sequence
from types import FrameType
from typing import Any


class Interrupted(Exception):
    """Reports that a signal was noted, and that the work came to a place where it can stop."""


def stopping() -> list[int]:
    """Return the signals that ask a process to end; SIGHUP only if it is not ignored, as it is under nohup."""
    names = ("SIGINT", "SIGTERM", "SIGHUP")  # the last one is not on Windows
    numbers: list[int] = [getattr(signal, name) for name in names if hasattr(signal, name)]
    return [*numbers[:2], *(n for n in numbers[2:] if signal.getsignal(n) is not signal.SIG_IGN)]


class Signals:
    """Notes the first SIGINT, SIGTERM or SIGHUP while it is entered. The second one ends the process.

    SIGHUP, which a closed terminal sends, stays ignored where it is, as `nohup` has it.

    It must be entered in the main thread; any thread may ask.

    Args:
        agreed: is given the signal noted here, or 0, and returns that of all processes that work together.
        numbers: the signals that are noted, if not those of `stopping`.
    """

    def __init__(self, agreed: Callable[[int], int] = lambda noted: noted, numbers: Sequence[int] = ()) -> None:
        self._agreed, self._numbers, self._noted = agreed, numbers, 0
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Signals:
        self._before = {n: signal.signal(n, self._note) for n in self._numbers or stopping()}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, number: int, _frame: FrameType | None) -> None:
        self._noted = number
        for n in self._before:
            signal.signal(n, signal.SIG_DFL)

    def received(self) -> int:
        """Return the number of the signal that was noted, or 0."""
        return self._agreed(self._noted)

    def check(self) -> None:
        """Stop the work if a signal was noted.

        Raises:
            Interrupted: a signal was noted.
        """
        if self.received():
            raise Interrupted
