"""`resrepro plot`, `table` and `report`: commands that only read results."""

from __future__ import annotations

import gc
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Annotated

import typer

from resrepro import results
from resrepro.cli.options import (
    DEFAULT_RESULTS,
    DatasetName,
    ImageSize,
    Json,
    OutputDir,
    ReadDir,
    Resize,
    Scale,
    console,
    output_option,
    print_json,
    print_table,
    say,
)
from resrepro.config.experiment import Experiment, FigureSpec
from resrepro.config.run import Variation
from resrepro.config.toml_files import find_figures
from resrepro.errors import UserError
from resrepro.results.paths import folder_with_runs, results_option
from resrepro.results.tables import Table, write_table

RARELY = 50_000  # new objects until Python looks for garbage; to look more often takes a tenth of the time to draw

FigureNames = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="NAME|PATH.toml|all",
        show_default=False,
        help="Name experiments, or figures such as fig6; by default, all that reproduce the paper.",
    ),
]
Format = Annotated[str, typer.Option("--format", help="Write png, pdf or svg; separate several with commas.")]
Style = Annotated[str, typer.Option(help="Choose the size of letters and lines for a paper, slide or poster.")]
Width = Annotated[
    float | None,
    typer.Option(help="Set the width of figures in inches: 3.3 fits a journal's column.", show_default=False),
]
FontSize = Annotated[float | None, typer.Option(help="Set the size of letters in points.", show_default=False)]
Words = Annotated[
    Path | None,
    typer.Option(help="Replace texts with those of this TOML file, to translate a figure.", show_default=False),
]
NoPaper = Annotated[bool, typer.Option("--no-paper", help="Leave out the paper's own curves, the thin gray lines.")]
ShowMissing = Annotated[
    bool,
    typer.Option("--show-missing", help="Also draw panels and rows without runs, with the command that trains them."),
]
TableFormat = Annotated[
    str | None, typer.Option("--format", help="Print only this format: md, csv or latex.", show_default=False)
]
MAX_NAMED = 5  # runs in a line
PRINTED = {"md": Table.to_markdown, "csv": Table.to_csv, "latex": Table.to_latex}


def table(
    which: Annotated[
        str,
        typer.Argument(
            metavar="1...6|fig4|fig6|fig7",
            show_default=False,
            help="Name a table of the paper; or a figure, for the distance of our curves from the paper's.",
        ),
    ],
    form: TableFormat = None,
    as_json: Json = False,
    output_dir: OutputDir = None,
    results_dir: ReadDir = DEFAULT_RESULTS,
) -> None:
    """Print a table of the paper, or distances from its curves.

    The table has our numbers beside the paper's. It is also written as Markdown and CSV to the folder of the figures;
    with --format or --json it is only printed.
    """
    if form is not None and form not in PRINTED:
        raise UserError(f"--format {form}: expected {', '.join(PRINTED)}")
    if form is not None and as_json:
        raise UserError(f"--format {form}: --json prints another format; give one of them")
    found = _make_table(which, results_dir)
    if as_json:
        print_json(found.to_json())
        return
    if form is not None:
        typer.echo(PRINTED[form](found), nl=False)
        return
    print_table(found)
    folder = output_dir or results.figures_folder(results_dir)
    option = "--output-dir" if output_dir else "--results-dir"
    name = f"table{which}" if which.isdigit() else f"{which}-distance"
    for path in write_table(found, folder, name, option):
        say(path)


def _make_table(which: str, results_dir: Path) -> Table:
    from resrepro.report.tables import TABLES  # with numpy

    tables = {str(number): make for number, make in TABLES.items()}
    if which not in tables:
        from resrepro.report.distances import DISTANCES  # with matplotlib and pandas

        tables |= DISTANCES
    if which not in tables:
        near = [name for name in tables if name == which.lower().removeprefix("table").lstrip("0")]
        hint = f"; did you mean '{near[0]}'?" if near else ""
        raise UserError(f"table {which}: expected {', '.join(tables)}{hint}")
    return tables[which](results_dir)


def report(
    output_dir: Annotated[
        Path | None, output_option("Write the report to this folder; by default, to the folder of the results.")
    ] = None,
    results_dir: ReadDir = DEFAULT_RESULTS,
    brief: Annotated[
        bool, typer.Option("--brief", help="Write brief.html and brief.md: two pages, with the claims that have runs.")
    ] = False,
) -> None:
    """Write the report: the paper's claims and our results.

    Write report.html and report.md, with a verdict on each claim, the figures and all tables. Missing runs, and figures
    that show nothing new without them, are only named, with the command that trains the runs.
    """
    gc.set_threshold(RARELY)
    from resrepro.report import files
    from resrepro.report.content import gather

    page = gather(results_dir, brief=brief)
    for path in files.write(page, output_dir or results_dir, "brief" if brief else "report"):
        say(path)
    for line in page.lead:
        say(line)
    counts = ", ".join(f"{count} {status}" for status, count in page.counts.items())
    say(f"claims of the paper: {counts}")
    _exit_if(page.problems)


def _exit_if(problems: Collection[str]) -> None:
    """Print what is wrong with files, and end with exit code 1 if anything is."""
    for problem in problems:
        typer.echo(f"error: {problem}", err=True)
    if problems:
        raise typer.Exit(1)


def plot(
    names: FigureNames = None,
    format: Format = "png",
    output_dir: OutputDir = None,
    results_dir: ReadDir = DEFAULT_RESULTS,
    dataset: DatasetName = None,
    schedule_scale: Scale = 1.0,
    image_size: ImageSize = None,
    resize: Resize = None,
    style: Style = "paper",
    width: Width = None,
    font_size: FontSize = None,
    words: Words = None,
    no_paper: NoPaper = False,
    show_missing: ShowMissing = False,
) -> None:
    """Draw the figures of experiments from the stored CSV files.

    The paper's own curves are drawn behind ours. Panels and rows without runs are left out, and the missing runs are
    named.
    """
    gc.set_threshold(RARELY)
    from resrepro.figures.data import Seen
    from resrepro.figures.files import draw_experiment
    from resrepro.figures.look import Look, read_words

    formats = _formats(format)
    look = Look(
        style=style, width_inches=width, font_pt=font_size, words=read_words(words) if words else {},
        with_paper=not no_paper, show_missing=show_missing,
    )  # fmt: skip
    variation = Variation(dataset=dataset, schedule_scale=schedule_scale, image_size=image_size, resize=resize)
    folder = output_dir or results.figures_folder(results_dir)
    problems, left_out, num_files, said = dict[str, None](), dict[str, str](), 0, set[str]()
    names = names or ["all"]
    seen = Seen() if "all" in names and not show_missing else None
    for found, figures in find_figures(names):
        experiment = found.variant(variation)
        source = folder_with_runs(results_dir, experiment.name, experiment.runs)
        if source != results_dir:
            console.print(f"{experiment.name}: drawn from the runs in {source}")
        drawn = draw_experiment(
            experiment, source, formats=formats, look=look, output_dir=folder, figures=figures, seen=seen
        )
        lines = drawn.files if experiment.figures else (f"{experiment.name}: has no figure",)
        for line in lines:
            say(line)
        if drawn.files and not show_missing:
            _print_missing(experiment, figures, source, said)
        num_files += len(drawn.files)
        problems |= dict.fromkeys(drawn.problems)
        left_out |= drawn.left_out
    if num_files or problems:
        _print_left_out(left_out, every=seen is not None)
        _print_unused(sorted(look.words.keys() - look.written) if num_files else [], words)
    _exit_if(problems)
    if left_out and not num_files:
        all_blank = f"none of their runs is stored; begin with: resrepro run quickstart{results_option(results_dir)}"
        reason = all_blank if "all" in names else next(iter(left_out.values()))
        raise UserError(f"--results-dir {results_dir}: no figure drawn: {reason}")


def _print_left_out(left_out: dict[str, str], *, every: bool) -> None:
    """Name the figures that are not drawn: each with the reason, or if every one was asked for, in one line."""
    if every:
        if left_out:
            say(f"not drawn, for lack of runs: {', '.join(left_out)}")
            say("why, and which runs: resrepro plot FIGURE")
        say("figures beyond the paper are drawn by name: resrepro plot NAME; resrepro list has the names")
        return
    for figure, reason in left_out.items():
        say(f"not drawn: {figure}: {reason}")


def _print_unused(english: Iterable[str], words: Path | None) -> None:
    """Name the words that none of the figures drawn has."""
    for text in english:
        say(f"--words {words}: '{text}' is in no text of these figures")


def _formats(given: str) -> tuple[str, ...]:
    from resrepro.figures.files import FORMATS

    formats = tuple(dict.fromkeys(part.strip() for part in given.split(",")))
    if {*formats} - {*FORMATS}:
        raise UserError(f"--format {given}: expected png, pdf or svg, separated by commas")
    return formats


def _print_missing(experiment: Experiment, figures: Iterable[FigureSpec], results_dir: Path, said: set[str]) -> None:
    """Name the runs that these figures of an experiment lack, also those of others, and what trains them.

    Args:
        said: the lines that were printed, so that none is twice; these are added.
    """
    from resrepro.figures.declared import declaration

    missing: dict[str, list[str]] = {}
    for name in dict.fromkeys(name for spec in figures for name in spec.run_names):
        command, runs = declaration(experiment, name, results_dir)
        if not results.run_files(results_dir, runs[0]).folder.parent.is_dir():
            missing.setdefault(command, []).append(name)
    for command, names in missing.items():
        more = f" and {len(names) - MAX_NAMED} more" if len(names) > MAX_NAMED else ""
        line = f"without {', '.join(names[:MAX_NAMED])}{more}, not run yet: {command}"
        if line not in said:
            say(line)
        said.add(line)
