"""Read and write small CSV files, one record per line."""

from __future__ import annotations

import csv
import io
import os
import shlex
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TypeVar

from resrepro.config.strict import StrictModel
from resrepro.errors import UserError
from resrepro.files import user_errors, write_text

Row = TypeVar("Row", bound=StrictModel)
MEASURED_BY = {"lesions.csv": "lesions", "paths.csv": "lesions", "surface.csv": "surface"}  # after the run: commands


def mend(path: Path) -> str:
    """Say how to mend a damaged or missing file of a run."""
    if path.name in MEASURED_BY:
        return f"restore it, or measure it again: resrepro {MEASURED_BY[path.name]} {shlex.quote(str(path.parent))}"
    first = "delete it and " if path.exists() else ""
    return (
        f"restore it; or {first}type the run's command again, which makes it from the checkpoint; without a "
        "checkpoint, delete the folder, and the run is trained again"
    )


def write_rows(path: Path, model: type[Row], rows: Iterable[Row]) -> None:
    """Write rows atomically; the columns are the fields of the model.

    Raises:
        UserError: the file cannot be written; the old one stays.
    """
    write_text(path, csv_text([list(model.model_fields), *map(_values, rows)]))


def append_row(path: Path, row: StrictModel) -> None:
    """Add one row; if it does not fit on the disk, the file stays as it was.

    Raises:
        UserError: the row cannot be written.
    """
    left = memoryview(csv_text([_values(row)]).encode())
    with user_errors(path), path.open("ab", buffering=0) as file:  # a buffer would be written again when it is closed
        end = file.tell()
        try:
            while left:
                left = left[file.write(left) :]
            os.fsync(file.fileno())
        except OSError:
            os.truncate(path, end)
            raise


def read_rows(path: Path, model: type[Row], *, torn: bool = False) -> list[Row]:
    """Read what `write_rows` and `append_row` wrote; nothing where there is no file.

    An empty cell is None. Older files lack the last columns, those that have a default.

    Args:
        torn: whether to leave out a last line that is cut short, as in a file that is being written.

    Raises:
        UserError: the file is damaged, is cut short within a line, or has other columns.
    """
    if not path.exists():
        return []
    if path.is_dir():
        raise UserError(f"{path}: a folder; expected a file; {mend(path)}")
    columns = list(model.model_fields)
    required = [name for name, field in model.model_fields.items() if field.is_required()]
    first, *lines = path.read_text(encoding="utf-8", errors="replace").split("\n")
    header = first.split(",")
    if header != columns[: len(header)] or len(header) < len(required):
        raise UserError(f"{path}:1: expected the columns {','.join(columns)}; got {first[:80]!r}; {mend(path)}")
    if not torn and (not lines or lines[-1]):
        raise UserError(f"{path}:{len(lines) + 1}: cut short; {mend(path)}")
    found = []
    for number, line in enumerate(lines[:-1], start=2):
        try:
            cells = zip(header, next(csv.reader([line])), strict=True)
            found.append(model.model_validate_strings({k: v for k, v in cells if v}, strict=False))
        except (ValueError, csv.Error) as error:  # pydantic's is one
            raise UserError(
                f"{path}:{number}: expected {','.join(columns)}; got {line[:80]!r}; {mend(path)}"
            ) from error
    return found


def num_rows(path: Path) -> int:
    """Return how many whole lines a CSV has below its header, valid or not; 0 where there is none."""
    return max(0, path.read_bytes().count(b"\n") - 1) if path.is_file() else 0


def _values(row: StrictModel) -> list[object]:
    return [getattr(row, column) for column in type(row).model_fields]


def csv_text(lines: Iterable[Sequence[object]]) -> str:
    """Return lines of cells as CSV."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(lines)
    return text.getvalue()
