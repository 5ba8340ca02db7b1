"""How far long work on a data set is."""

from __future__ import annotations

from collections.abc import Callable

Progress = Callable[[str, int, int], None]  # what is done, how many of how many


def silent(_what: str, _done: int, _total: int) -> None:
    """Where nobody looks."""
