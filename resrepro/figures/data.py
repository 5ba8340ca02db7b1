"""Read what a figure shows from the files of its runs, each file once."""

from __future__ import annotations

import shlex
import textwrap
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from resrepro import paper, results
from resrepro.config.architectures import architecture
from resrepro.config.datasets import dataset_title
from resrepro.config.experiment import Experiment, FigureSpec
from resrepro.config.run import Run
from resrepro.errors import UserError
from resrepro.figures.colors import is_residual, run_colors
from resrepro.figures.declared import declaration, note
from resrepro.figures.look import USUAL, Look
from resrepro.paper.figure_data import Kind, PublishedCurve
from resrepro.results.distance import published
from resrepro.results.records import RunRecord
from resrepro.results.tables import Table


@dataclass(frozen=True, kw_only=True)
class FigureRun:
    """Say what a figure shows of one run, over all its seeds, beside its rows.

    Args:
        depth: number of weighted layers; 0: not known, of nets of other code.
        residual: whether the net has shortcuts; taken for granted of nets of other code.
        color: the same in all figures of an experiment.
        command: what trains the run, as typed.
        missing: whether none of its seeds has been started.
        paper_error_pct: the paper's final test error; None if it gives none, or if the data or the schedule differ.
        published: the paper's curves of this net, test and train; empty if data or schedule differ.
        records: one a finished or diverged seed.
        diverged_iter: the iteration at which a seed diverged; None if none did.
        problem: why a seed is left out and what mends that, in lines that fit a panel; empty if none is.
    """

    label: str
    depth: int
    residual: bool = False
    color: str = "black"
    command: str = ""
    missing: bool = False
    paper_error_pct: float | None = None
    published: Mapping[Kind, PublishedCurve] = field(default_factory=dict)
    records: tuple[RunRecord, ...] = ()
    diverged_iter: int | None = None
    problem: str = ""


@dataclass(frozen=True, kw_only=True)
class FigureData:
    """Say what a figure shows beside its rows.

    Args:
        title: the figure's, which names the dataset that its runs were trained on.
        note: how data or schedule differ from the paper's, written under the title; empty if they do not.
        runs: by their names, in the figure's order.
        problems: what is wrong with files that could not be used, a line each.
    """

    title: str
    note: str
    runs: Mapping[str, FigureRun]
    problems: tuple[str, ...] = ()
    look: Look = USUAL


@dataclass(frozen=True, kw_only=True)
class Shown:
    """Hold all that a figure is drawn from.

    Args:
        rows: as its kind reads them.
        spec: its panels, those without runs left out unless the look says otherwise.
        data: everything else that it says.
    """

    rows: pd.DataFrame
    spec: FigureSpec
    data: FigureData

    @property
    def lacks_most(self) -> bool:
        """Tell whether half of its runs are missing, or more."""
        num_there = self.rows["run"].nunique()
        return len(self.data.runs) - num_there >= num_there

    def why_blank(self, kind: FigureKind) -> str:
        """Return why there is nothing to draw, with what mends it; empty if there is something."""
        runs = self.data.runs.values()
        needed = [self.data.runs[name] for name in self.spec.about] or runs
        if all(run.missing for run in needed):
            what = "the runs that it is about are not" if self.spec.about else "none of its runs is"
            return f"{what} stored; train them: {' or '.join(dict.fromkeys(run.command for run in needed))}"
        if kind.compares_with_paper and not any(run.published for run in runs):
            return (
                "the paper has no curves of these runs" if self.data.look.with_paper else "--no-paper leaves it empty"
            )
        return ""


class Seen:
    """Remembers which runs the figures so far have shown, to leave out those that show nothing new."""

    def __init__(self) -> None:
        self._runs: set[tuple[object, ...]] = set()

    def is_new(self, experiment: Experiment, kind: FigureKind, shown: Shown) -> bool:
        """Tell whether a figure is the first of its kind to show one of its runs."""
        return bool(self._its(experiment, kind, shown) - self._runs)

    def note(self, experiment: Experiment, kind: FigureKind, shown: Shown) -> None:
        """Note the runs of a figure that is drawn."""
        self._runs |= self._its(experiment, kind, shown)

    def _its(self, experiment: Experiment, kind: FigureKind, shown: Shown) -> set[tuple[object, ...]]:
        names = set(shown.rows["run"])
        return {(kind.draw, experiment.dataset, experiment.variation.suffix, name) for name in names}


@dataclass(frozen=True, kw_only=True)
class FigureKind:
    """Describe one kind of figure.

    Args:
        columns: of its rows, after run (its name), label, seed and status (finished, diverged, unfinished).
        rows: reads what is drawn of a run, a dict a row; raises UserError if the run's files are damaged, or lack
            something that a finished run has.
        draw: draws the rows of all runs.
        table: makes the table that is written beside the figure of the same rows; None if there is none.
        csvs: the files of a run that `rows` reads.
        measured_by: the command that writes these files for a finished run; None: the run does.
        compares_with_paper: whether it shows nothing without the paper's curves.
    """

    columns: tuple[str, ...]
    rows: Callable[[results.RunFiles, Run, RunRecord | None], list[dict[str, object]]]
    draw: Callable[[pd.DataFrame, FigureSpec, FigureData], Figure]
    table: Callable[[pd.DataFrame, FigureSpec, FigureData], Table] | None = None
    csvs: tuple[str, ...] = ("curves.csv",)
    measured_by: str | None = None
    compares_with_paper: bool = False


def read_figure(
    experiment: Experiment, spec: FigureSpec, kind: FigureKind, results_dir: Path, look: Look = USUAL
) -> Shown:
    """Read what a figure of an experiment shows, also if runs are missing or damaged."""
    differs, tables, problems = note(experiment), [], list[str]()
    colors = run_colors(experiment, results_dir)
    runs: dict[str, FigureRun] = {}
    for name in spec.run_names:
        command, declared = declaration(experiment, name, results_dir)
        rows, records, its_problems = read_runs(results_dir, declared, kind)
        if kind.measured_by and records and not rows:
            folder = results.run_files(results_dir, declared[0]).folder
            command = f"resrepro {kind.measured_by} {shlex.quote(str(folder))}"
        tables += rows
        problems += its_problems.values()
        diverged = [record.diverged_iter for record in records if record.diverged_iter is not None]
        mending = [_mending(why, results.run_files(results_dir, run), command) for run, why in its_problems.items()]
        net, first = architecture(declared[0].arch), declared[0]
        runs[name] = FigureRun(
            label=first.label,
            depth=net.depth,
            residual=is_residual(net),
            color=colors.get(name, "black"),
            command=command,
            missing=not (rows or diverged or its_problems),
            paper_error_pct=None if differs else paper.TEST_ERROR_PCT.get((first.dataset, name)),
            published=published(first) if look.with_paper else {},
            records=tuple(records),
            diverged_iter=diverged[-1] if diverged else None,
            problem=mending[-1] if mending else "",
        )
    own, here = dataset_title(experiment.own_dataset), dataset_title(experiment.dataset)
    title = spec.title.replace(own, here)
    data = FigureData(title=title, note=differs, runs=runs, problems=tuple(problems), look=look)
    columns = ["run", "label", "seed", "status", *kind.columns]  # also where there is no row
    return Shown(rows=pd.DataFrame(tables, columns=columns), spec=_shown_panels(spec, data), data=data)


def _shown_panels(spec: FigureSpec, data: FigureData) -> FigureSpec:
    """Leave out panels without runs, and the title of a panel that is a figure's only one: the figure has one."""
    panels = spec.panel
    if len(panels) == 1:
        panels = (panels[0].model_copy(update={"title": ""}),)
    if not data.look.show_missing:
        panels = tuple(panel for panel in panels if not all(data.runs[name].missing for name in panel.runs))
    return spec.model_copy(update={"panel": panels})


def read_runs(
    results_dir: Path, runs: list[Run], kind: FigureKind
) -> tuple[list[dict[str, object]], list[RunRecord], dict[Run, str]]:
    """Read the seeds of one run, also those that are stored and not declared.

    Returns:
        The rows that `kind` draws, the records of seeds that ended, and what is wrong with the seeds that are in
        neither.
    """
    rows: list[dict[str, object]] = []
    records: list[RunRecord] = []
    problems: dict[Run, str] = {}
    for run in results.with_stored_seeds(results_dir, runs):
        try:
            files, record = results.run_files(results_dir, run), results.read_finished(results_dir, run)
            if record is not None:
                for csv in kind.csvs:
                    results.check_files(files, record, csv)
            found = kind.rows(files, run, record)
        except (UserError, OSError) as error:
            problems[run] = str(error)
            continue
        records += [] if record is None else [record]
        status = record.status if record else "unfinished"
        rows += [{"run": run.name, "label": run.label, "seed": run.seed, "status": status, **row} for row in found]
    return rows, records, problems


def counted(own: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of a run's finished seeds, or all if none is finished."""
    done = own[own["status"] == "finished"]
    return own if done.empty else done


def seeds_said(rows: pd.DataFrame) -> str:
    """Say of how many seeds the rows of a line are: ` (one seed)`, ` (mean of 3 seeds)`; nothing if there is none.

    Of several runs with different numbers: ` (means of 1 to 2 seeds)`.
    """
    of_runs = rows.groupby("run")["seed"].nunique()
    if of_runs.empty:
        return ""
    least, most = of_runs.min(), of_runs.max()
    if least != most:
        return f" (means of {least} to {most} seeds)"
    return f" (mean of {most} seeds)" if most > 1 else " (one seed)"


def _mending(problem: str, files: results.RunFiles, command: str) -> str:
    """Say what is wrong with a run's file, in short, and which command makes it anew, in lines that fit a panel."""
    what = problem.partition(";")[0].replace(f"{files.folder}/", "")
    without = "file" if files.has_checkpoint else f"folder {files.folder.parent.name}/{files.folder.name}"
    return f"  {textwrap.shorten(what, 60, placeholder=' …')}\n  without that {without}:\n  {command}"
