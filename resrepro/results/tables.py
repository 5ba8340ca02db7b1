"""Make tables, and the numbers over seeds that stand in them."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, stdev, variance
from typing import Any

from resrepro.files import write_text
from resrepro.results.csv_rows import csv_text

COMMAND = re.compile(r"; to (train|measure): .*")  # what a note says to type
NUMBERED = re.compile(r"^Table (\d): (.*)$")  # a title with the paper's own number, beside which LaTeX puts another
FORMULA = re.compile(r"[=@\t\r]|[+-](?![0-9.])")
NUMBER = r"[+-]?\d+(?:\.\d+)?"
MEASURED = re.compile(rf"(?P<value>{NUMBER})(?:±(?P<std>{NUMBER}))?(?:, (?P<note>.*))?")
BEST = re.compile(rf"(?P<note>{NUMBER}) \((?P<value>{NUMBER})±(?P<std>{NUMBER})\)")  # of several seeds, first
LATEX = {
    **{character: f"\\{character}" for character in "&%$#_{}"},
    **{"\\": r"\textbackslash{}", "^": r"\^{}", "~": r"\~{}", "±": r"$\pm$", "×": r"$\times$", "–": "--", "−": "$-$"},
}


@dataclass(frozen=True, kw_only=True)
class Table:
    """Hold rows of as many cells as there are columns, and the sentences below them.

    Args:
        measured: the columns whose cells are a value, its standard deviation and a remark: `7.10±0.14, 1 diverged`; or
            the best of several seeds, and their mean: `6.43 (6.61±0.16)`; or a remark alone.
    """

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    title: str = ""
    notes: tuple[str, ...] = ()
    measured: tuple[str, ...] = ()

    def to_markdown(self) -> str:
        """Return title, rows and notes as Markdown."""
        return f"**{self.title}**\n\n{self.rows_to_markdown()}" + "".join(f"\n{note}\n" for note in self.notes)

    def rows_to_markdown(self) -> str:
        """Return the rows alone as a Markdown table."""
        lines = [self.columns, ("---",) * len(self.columns), *self.rows]
        return "".join(f"| {' | '.join(line)} |\n" for line in lines)

    def to_latex(self) -> str:
        """Return it as a LaTeX `table` in the style of booktabs; columns of numbers stand on the right."""
        texts = [[_latex(cell) for cell in row] for row in (self.columns, *self.rows)]
        columns = ([row[index] for row in self.rows] for index in range(len(self.columns)))
        sides = "".join("r" if any(_parts(cell)[0] for cell in cells) else "l" for cells in columns)
        head, *lines = (f"{' & '.join(row)} \\\\\n" for row in texts)
        notes = "".join(f"\\par\\footnotesize {_latex(COMMAND.sub('', note))}\n" for note in self.notes)
        caption = _latex(NUMBERED.sub(r"\2 (Table \1 of He et al.)", self.title))
        return (
            f"\\begin{{table}}\n\\centering\n\\caption{{{caption}}}\n\\begin{{tabular}}{{{sides}}}\n\\toprule\n"
            f"{head}\\midrule\n{''.join(lines)}\\bottomrule\n\\end{{tabular}}\n{notes}\\end{{table}}\n"
        )

    def to_csv(self) -> str:
        """Return the rows as CSV, without title and notes; a cell that a spreadsheet would compute begins with `'`."""
        columns, rows = self.divided()
        return csv_text([f"'{cell}" if FORMULA.match(cell) else cell for cell in row] for row in (columns, *rows))

    def divided(self) -> tuple[list[str], list[list[str]]]:
        """Return columns and rows in which a number stands alone: a measured column is three.

        They are called `ours (%)`, `ours (%) std` and `ours (%) note`. What the paper does not give is empty.
        """
        columns = [n for c in self.columns for n in ([c, f"{c} std", f"{c} note"] if c in self.measured else [c])]
        rows = []
        for row in self.rows:
            cells: list[str] = []
            for column, cell in zip(self.columns, row, strict=True):
                cells += _parts(cell) if column in self.measured else ["" if cell == "–" else cell]
            rows.append(cells)
        return columns, rows

    def to_json(self) -> dict[str, Any]:
        """Return title, notes and rows; a row has the columns of the CSV as keys, numbers as such, None for empty."""
        columns, rows = self.divided()
        values = [dict(zip(columns, map(_json_value, row), strict=True)) for row in rows]
        return {"title": self.title, "columns": columns, "rows": values, "notes": list(self.notes)}


def _parts(cell: str) -> list[str]:
    """Return value, standard deviation and remark of a measured cell."""
    match = BEST.fullmatch(cell) or MEASURED.fullmatch(cell)
    if match is None:
        return ["", "", "" if cell == "–" else cell]
    note = match["note"] or ""
    return [match["value"], match["std"] or "", f"best {note}" if match.re is BEST else note]


def _json_value(cell: str) -> str | float | int | None:
    if re.fullmatch(NUMBER, cell):
        return float(cell) if "." in cell else int(cell)
    return cell or None


def _latex(text: str) -> str:
    return re.sub(r"^-(?=\d)", "$-$", "".join(LATEX.get(character, character) for character in text))


def write_table(table: Table, folder: Path, name: str, option: str) -> list[Path]:
    """Write a table as Markdown and as CSV.

    Args:
        option: the command-line option that chooses where the files are.

    Returns:
        The files written.
    """
    texts = {folder / f"{name}.md": table.to_markdown(), folder / f"{name}.csv": table.to_csv()}
    for path, text in texts.items():
        write_text(path, text, option)
    return list(texts)


def mean_std(values: Sequence[float], digits: int = 2) -> str:
    """Return `8.50±0.10`: mean and standard deviation over seeds, or the mean alone if there is one seed."""
    text = f"{fmean(values):.{digits}f}"
    return f"{text}±{stdev(values):.{digits}f}" if len(values) > 1 else text


def standard_error(*samples: Sequence[float]) -> float:
    """Return the standard error of a mean, or of the difference of two means whose variances need not be equal.

    A sample of one value counts as a constant.
    """
    return math.sqrt(sum(variance(sample) / len(sample) for sample in samples if len(sample) > 1))
