"""SIGINT and SIGTERM as something that work looks at where it can stop."""

from __future__ import annotations

import signal
from collections.abc import Callable
from types import FrameType
from typing import Any


class Interrupted(Exception):
    """A signal was noted, and the work came to a place where it can stop."""


class Signals:
    """Inside, the first SIGINT or SIGTERM is noted. The second ends the process.

    Enter in the main thread; any thread may look.

    Args:
        agreed: makes of the signal noted here, or 0, that of all processes that work together.
    """

    def __init__(self, agreed: Callable[[int], int] = lambda noted: noted) -> None:
        self._agreed, self._noted = agreed, 0
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Signals:
        self._before = {n: signal.signal(n, self._note) for n in (signal.SIGINT, signal.SIGTERM)}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, number: int, _frame: FrameType | None) -> None:
        self._noted = number
        for n in self._before:
            signal.signal(n, signal.SIG_DFL)

    def received(self) -> int:
        """The signal that was noted, 0 for none."""
        return self._agreed(self._noted)

    def check(self) -> None:
        """Raises Interrupted once a signal was noted."""
        if self.received():
            raise Interrupted
