"""Keep the rows of a measurement that takes minutes, so that the same command goes on from them."""

from __future__ import annotations

import glob
import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Generic

from resrepro.errors import UserError
from resrepro.files import exclusive
from resrepro.results.csv_rows import Row, append_row, read_rows, write_rows


class UnfinishedRows(Generic[Row]):
    """Hold the rows measured so far, in the memory and in a file."""

    def __init__(self, path: Path, model: type[Row]) -> None:
        """Read the rows that an earlier command left; without them, or where they are damaged, begin anew."""
        self._path = path
        try:
            self.rows = read_rows(path, model, torn=True)
        except UserError:
            self.rows = []
        write_rows(path, model, self.rows)  # without a last line that is cut short

    def add(self, row: Row) -> None:
        """Keep one more row. Raises UserError if it cannot be written."""
        append_row(self._path, row)
        self.rows.append(row)


@contextmanager
def unfinished_rows(file: Path, model: type[Row], asked: str) -> Iterator[UnfinishedRows[Row]]:
    """Keep rows beside the file that they will be in, until the `with` ends well; then remove them.

    Args:
        asked: all that the rows depend on; others that are kept are not taken.

    Raises:
        UserError: another process measures what will be in this file, or a file cannot be written.
    """
    path = file.with_name(f"{file.stem}-{hashlib.sha256(asked.encode()).hexdigest()[:8]}.tmp")
    lock, locked = file.with_name(f".{file.stem}.lock"), f"{file}: another process is measuring it; wait for that"
    with exclusive(lock, lambda: UserError(locked)):  # also with other options: it removes what is kept
        yield UnfinishedRows(path, model)
        for left in file.parent.glob(f"{glob.escape(file.stem)}-{'[0-9a-f]' * 8}.tmp"):
            left.unlink()
