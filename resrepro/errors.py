"""The one kind of error that a person can mend."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class UserError(Exception):
    """Something the user can mend: the message gives place, value, expectation and fix, on one line."""


def first_line(error: BaseException | str) -> str:
    """Of its message, cut where it is long; where it has none, the kind of error."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:160]


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """`; did you mean 'X'?` with the known word that begins so, or is nearest; the list of all where none is near."""
    known = list(known)
    near = [k for k in known if word and k.startswith(word)] or difflib.get_close_matches(
        word.lower(), known, n=1, cutoff=0.5
    )
    if not near:
        by_lower = {k.lower(): k for k in known}
        near = [by_lower[n] for n in difflib.get_close_matches(word.lower(), by_lower, n=1, cutoff=0.5)]
    return f"; did you mean '{near[0]}'?" if near else f"; known: {', '.join(known)}"
