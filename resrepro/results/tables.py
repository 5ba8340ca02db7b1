"""Write tables and numbers as text."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, stdev


@dataclass(frozen=True, kw_only=True)
class Table:
    """Holds rows of as many cells as there are columns, and the sentences below them."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...]

    def to_markdown(self) -> str:
        """Return the table as Markdown, with its title and notes."""
        lines = [self.columns, ("---",) * len(self.columns), *self.rows]
        table = "".join(f"| {' | '.join(line)} |\n" for line in lines)
        return f"**{self.title}**\n\n{table}" + "".join(f"\n{note}\n" for note in self.notes)

    def to_csv(self) -> str:
        """Return the table as CSV, without its title and notes."""
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows([self.columns, *self.rows])
        return text.getvalue()

    @classmethod
    def read_csv(cls, title: str, path: Path) -> Table:
        """Read a table that was written as CSV, so without its notes."""
        with path.open(encoding="utf-8", newline="") as file:
            columns, *rows = csv.reader(file)
        return cls(title=title, columns=tuple(columns), rows=tuple(map(tuple, rows)), notes=())


def mean_std(values: Sequence[float], digits: int = 2) -> str:
    """Return `8.50±0.10`: mean and standard deviation over seeds; of one seed the value alone."""
    text = f"{fmean(values):.{digits}f}"
    return f"{text}±{stdev(values):.2f}" if len(values) > 1 else text
