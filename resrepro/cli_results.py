"""The commands that only read results."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import rich.table
import typer

from resrepro import results
from resrepro.atomic import write_text
from resrepro.errors import UserError
from resrepro.options import DEFAULT_RESULTS, ReadDir, app, console
from resrepro.tables import TABLES


@app.command()
def table(
    number: Annotated[int, typer.Argument(metavar="1...6", show_default=False)],
    results_dir: ReadDir = DEFAULT_RESULTS,
) -> None:
    """A table of the paper with our numbers beside it.

    Written as Markdown and CSV too, beside the figures.
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


@app.command()
def watch(
    names: Annotated[list[str] | None, typer.Argument(metavar="[NAME|PATH.toml|RUN]", show_default=False)] = None,
    every: Annotated[float, typer.Option(help="Seconds between two looks at the files.", min=0.1)] = 2.0,
    once: Annotated[bool, typer.Option("--once", help="Print one frame and end; so it is without a terminal.")] = False,
    results_dir: ReadDir = DEFAULT_RESULTS,
) -> None:
    """Follow runs live: curves, errors, ETA.

    From another terminal, or over SSH: it only reads files. Ctrl-C ends it, and disturbs no run.
    """
    from resrepro.watch import watch

    watch(results_dir, names or [], every_s=every, once=once, console=console)


@app.command()
def report(
    output_dir: Annotated[
        Path | None, typer.Option(help="Where the report is written; by default the results' folder.")
    ] = None,
    results_dir: ReadDir = DEFAULT_RESULTS,
) -> None:
    """Paper against ours on one page: report.html and report.md.

    Every claim with its verdict, every figure and table; what is missing is named with its command.
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
