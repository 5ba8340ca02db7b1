"""`resrepro plot`, `table` and `report`: commands that only read results."""

from __future__ import annotations

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
from resrepro.files import write_text
from resrepro.report.tables import TABLES


def table(
    number: Annotated[int, typer.Argument(metavar="1...6", show_default=False)],
    results_dir: ReadDir = DEFAULT_RESULTS,
) -> None:
    """Print a table of the paper with our numbers beside it.

    It is also written as Markdown and CSV, beside the figures.
    """
    if number not in TABLES:
        raise UserError(f"table {number}: expected {', '.join(map(str, TABLES))}")
    found = TABLES[number](results_dir)
    shown = rich.table.Table(box=None, header_style="bold", title=found.title, padding=(0, 1, 0, 0))
    for index, texts in enumerate(zip(found.columns, *found.rows, strict=True)):
        longest_word = max(len(word) for text in texts for word in text.split())
        shown.add_column(texts[0], no_wrap=index == 0, min_width=longest_word)
    for row in found.rows:
        shown.add_row(*row)
    console.print(shown)
    for note in found.notes:
        console.print(note, soft_wrap=True)
    for suffix, text in (("md", found.to_markdown()), ("csv", found.to_csv())):
        path = results.table_file(results_dir, number, suffix)
        write_text(path, text)
        console.print(path, soft_wrap=True)


def report(
    output_dir: Annotated[
        Path | None, typer.Option(help="Where the report is written; by default the results' folder.")
    ] = None,
    results_dir: ReadDir = DEFAULT_RESULTS,
) -> None:
    """Write paper and results on one page.

    The page is report.html and report.md. It has every claim with its verdict, every figure and table; what is missing
    is named with its command.
    """
    from resrepro.report import html, markdown
    from resrepro.report.content import gather

    folder = output_dir or results_dir
    page = gather(results_dir)
    for name, text in (("report.html", html.write(page)), ("report.md", markdown.write(page, folder))):
        write_text(folder / name, text)
        console.print(folder / name, soft_wrap=True)
    for line in page.lead:
        console.print(line, soft_wrap=True)
    counts = ", ".join(f"{count} {status}" for status, count in page.counts.items())
    console.print(f"claims of the paper: {counts}", soft_wrap=True)


def plot(
    names: Annotated[list[str] | None, typer.Argument(metavar="[NAME|PATH.toml|all]", show_default=False)] = None,
    format: Annotated[str, typer.Option("--format", help="png, pdf, svg, or several with commas.")] = "png",
    results_dir: ReadDir = DEFAULT_RESULTS,
    dataset: DatasetName = None,
    schedule_scale: Scale = 1.0,
    image_size: ImageSize = None,
) -> None:
    """Draw figures from the CSVs.

    Runs that are missing or damaged are named in their panel.
    """
    from resrepro.figures.files import FORMATS, draw_experiment

    formats = tuple(part.strip() for part in format.split(","))
    for kind in formats:
        if kind not in FORMATS:
            raise UserError(f"--format {kind}: expected png, pdf or svg{did_you_mean(kind, FORMATS)}")
    problems: list[str] = []
    variation = Variation(dataset=dataset, schedule_scale=schedule_scale, image_size=image_size)
    for experiment in (found.variant(variation) for found in find_experiments(names or [])):
        files = draw_experiment(experiment, results_dir, formats=formats, report=problems.append)
        for file in files:
            console.print(file, soft_wrap=True)
        if not files:
            console.print(f"{experiment.name}: declares no figure")
    for problem in dict.fromkeys(problems):
        typer.echo(f"error: {problem}", err=True)
    if problems:
        raise typer.Exit(1)
