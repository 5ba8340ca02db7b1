"""`resrepro plot`, `table` and `report`: commands that only read results."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated

import rich.table
import typer

from resrepro import results
from resrepro.cli.options import (
    DEFAULT_RESULTS,
    DatasetName,
    ImageSize,
    ReadDir,
    Scale,
    console,
)
from resrepro.config.run import Variation
from resrepro.config.toml_files import find_experiments
from resrepro.errors import UserError, did_you_mean
from resrepro.report.tables import TABLES
from resrepro.results.tables import write_table


def table(
    which: Annotated[
        str,
        typer.Argument(
            metavar="1...6|fig4|fig6|fig7",
            show_default=False,
            help="Name a table of the paper; or a figure, for the distance of our curves from the paper's.",
        ),
    ],
    results_dir: ReadDir = DEFAULT_RESULTS,
) -> None:
    """Print a table of the paper, or the distance from its curves.

    With our numbers beside the paper's. Also write it as Markdown and CSV, beside the figures.
    """
    from resrepro.report.distances import DISTANCES  # with matplotlib and pandas

    tables = {**{str(number): make for number, make in TABLES.items()}, **DISTANCES}
    if which not in tables:
        raise UserError(f"table {which}: expected {', '.join(tables)}{did_you_mean(which, tables)}")
    found = tables[which](results_dir)
    shown = rich.table.Table(box=None, header_style="bold", title=found.title, padding=(0, 1, 0, 0))
    for index, texts in enumerate(zip(found.columns, *found.rows, strict=True)):
        longest_word = max(len(word) for text in texts for word in text.split())
        shown.add_column(texts[0], no_wrap=index == 0, min_width=longest_word)
    for row in found.rows:
        shown.add_row(*row)
    console.print(shown)
    for note in found.notes:
        console.print(note, soft_wrap=True)
    for path in write_table(
        found, partial(results.figure_file, results_dir, f"table{which}" if which.isdigit() else f"{which}-distance")
    ):
        console.print(path, soft_wrap=True)


def report(
    output_dir: Annotated[
        Path | None, typer.Option(help="Write the report to this folder; by default, to that of the results.")
    ] = None,
    results_dir: ReadDir = DEFAULT_RESULTS,
) -> None:
    """Write the report: the paper's claims beside our results.

    Write report.html and report.md: every claim with its verdict, every figure and every table. What is missing is
    named with the command that makes it.
    """
    from resrepro.report import files
    from resrepro.report.content import gather

    page = gather(results_dir)
    for path in files.write(page, output_dir or results_dir):
        console.print(path, soft_wrap=True)
    for line in page.lead:
        console.print(line, soft_wrap=True)
    counts = ", ".join(f"{count} {status}" for status, count in page.counts.items())
    console.print(f"claims of the paper: {counts}", soft_wrap=True)


def plot(
    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[NAME|PATH.toml|all]", show_default=False, help="Name experiments; by default, every one."
        ),
    ] = None,
    format: Annotated[
        str, typer.Option("--format", help="Write png, pdf or svg; separate several with commas.")
    ] = "png",
    results_dir: ReadDir = DEFAULT_RESULTS,
    dataset: DatasetName = None,
    schedule_scale: Scale = 1.0,
    image_size: ImageSize = None,
    no_paper: Annotated[
        bool, typer.Option("--no-paper", help="Leave out the paper's own curves, the thin gray lines.")
    ] = False,
) -> None:
    """Draw the figures of experiments from the stored CSV files.

    Each panel names its runs that are missing or damaged. The paper's own curves lie behind ours.
    """
    from resrepro.figures.files import FORMATS, draw_experiment

    formats = tuple(part.strip() for part in format.split(","))
    for kind in formats:
        if kind not in FORMATS:
            raise UserError(f"--format {kind}: expected png, pdf or svg{did_you_mean(kind, FORMATS)}")
    problems: list[str] = []
    variation = Variation(dataset=dataset, schedule_scale=schedule_scale, image_size=image_size)
    for experiment in (found.variant(variation) for found in find_experiments(names or [])):
        files = draw_experiment(
            experiment, results_dir, formats=formats, report=problems.append, with_paper=not no_paper
        )
        for file in files:
            console.print(file, soft_wrap=True)
        if not files:
            console.print(f"{experiment.name}: declares no figure")
    for problem in dict.fromkeys(problems):
        typer.echo(f"error: {problem}", err=True)
    if problems:
        raise typer.Exit(1)
