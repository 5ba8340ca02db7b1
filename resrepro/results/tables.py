"""Make tables, and the numbers over seeds that stand in them."""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, stdev, variance

from resrepro.files import write_text

FORMULA = re.compile(r"[=@\t\r]|[+-](?![0-9.])")


@dataclass(frozen=True, kw_only=True)
class Table:
    """Hold rows of as many cells as there are columns, and the sentences below them."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...]

    def to_markdown(self) -> str:
        """Return title, rows and notes as Markdown."""
        return f"**{self.title}**\n\n{self.rows_to_markdown()}" + "".join(f"\n{note}\n" for note in self.notes)

    def rows_to_markdown(self) -> str:
        """Return the rows alone as a Markdown table."""
        lines = [self.columns, ("---",) * len(self.columns), *self.rows]
        return "".join(f"| {' | '.join(line)} |\n" for line in lines)

    def to_csv(self) -> str:
        """Return the rows as CSV, without title and notes; a cell that a spreadsheet would compute begins with `'`."""
        rows = [[f"'{cell}" if FORMULA.match(cell) else cell for cell in row] for row in (self.columns, *self.rows)]
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows(rows)
        return text.getvalue()

    @classmethod
    def read_csv(cls, title: str, path: Path) -> Table:
        """Read a table that was written as CSV, so without its notes."""
        with path.open(encoding="utf-8", newline="") as file:
            columns, *rows = csv.reader(file)
        return cls(title=title, columns=tuple(columns), rows=tuple(map(tuple, rows)), notes=())


def write_table(table: Table, path_of: Callable[[str], Path]) -> list[Path]:
    """Write a table as Markdown and as CSV.

    Args:
        path_of: gives a file's path from its suffix, md or csv.

    Returns:
        The files written.
    """
    texts = {path_of("md"): table.to_markdown(), path_of("csv"): table.to_csv()}
    for path, text in texts.items():
        write_text(path, text)
    return list(texts)


def mean_std(values: Sequence[float], digits: int = 2) -> str:
    """Return `8.50±0.10`: mean and standard deviation over seeds, or the mean alone if there is one seed."""
    text = f"{fmean(values):.{digits}f}"
    return f"{text}±{stdev(values):.2f}" if len(values) > 1 else text


def standard_error(*samples: Sequence[float]) -> float:
    """Return the standard error of a mean, or of the difference of two means whose variances need not be equal.

    A sample of one value counts as a constant.
    """
    return math.sqrt(sum(variance(sample) / len(sample) for sample in samples if len(sample) > 1))
