"""The one kind of error that a user can fix, and how messages are made short and helpful."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import takewhile

LONGEST_LINE = 2000  # characters of an error; a value in a file may have thousands
MAX_LISTED = 40  # words in a message


class UserError(Exception):
    """Reports what the user can fix. The message names place, value, expectation and fix, on one line."""

    exit_code = 1

    def __init__(self, message: str) -> None:
        line, half = printable(message), LONGEST_LINE // 2 - 5
        super().__init__(line if len(line) <= LONGEST_LINE else f"{line[:half]} ... {line[-half:]}")


class UsageError(UserError):
    """Reports a command line that cannot be read."""

    exit_code = 2


@contextmanager
def errors_at(place: str) -> Iterator[None]:
    """Begin the message of a UserError with the place that it is about."""
    try:
        yield
    except UserError as error:
        raise UserError(f"{place}: {error}") from error


def printable(text: str) -> str:
    """Return a text with control characters and line ends escaped: names of files, and others' texts, may hold any."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def first_line(error: BaseException | str) -> str:
    """Return the first line of an error's message, at most 160 characters; without a message, the kind of the error."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:160]


def did_you_mean(word: str, known: Iterable[str], *, likeness: float = 0.5) -> str:
    """Return `; did you mean 'X'?` with the known word that begins with `word`, or is nearest to it.

    Where no word is near, return the list of all; or of a long list, the three that are nearest. Of an empty word
    return that it is empty.

    Args:
        likeness: what a near word has at least, from 0 to 1.
    """
    known = list(dict.fromkeys(known))
    if not word:
        return "; the name is empty"
    by_lower = {k.lower(): k for k in known}
    near = [k for k in known if k.startswith(word)]
    near = near or [by_lower[k] for k in _near(word.lower(), by_lower, likeness)]
    if near:
        return f"; did you mean '{near[0]}'?"
    if not known:
        return ""
    if len(known) > MAX_LISTED:
        return f"; the nearest are {', '.join(difflib.get_close_matches(word, known, n=3, cutoff=0.0))}"
    return f"; known: {', '.join(known)}"


def _near(word: str, known: Iterable[str], least: float) -> list[str]:
    """Return the words that are near, the nearest first; of those as near, the one that begins in the same way."""
    found = difflib.get_close_matches(word, known, n=5, cutoff=least)

    def likeness(other: str) -> tuple[float, int]:
        same = takewhile(lambda pair: pair[0] == pair[1], zip(other, word, strict=False))
        return difflib.SequenceMatcher(None, other, word).ratio(), len([*same])

    return sorted(found, key=likeness, reverse=True)
