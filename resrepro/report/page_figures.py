"""The figures: drawn, or named as missing with the command that trains their runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib

from resrepro import results
from resrepro.config.experiment import Experiment, FigureSpec
from resrepro.config.run import Run
from resrepro.errors import UserError
from resrepro.figures import FIGURES, FigureKind
from resrepro.figures.data import runs_by_name
from resrepro.figures.files import draw_experiment
from resrepro.report.page import Block, PageFigure
from resrepro.report.run_table import provenance
from resrepro.results.records import RunRecord
from resrepro.results.tables import Table

SVG: Any = {"svg.fonttype": "none", "svg.hashsalt": "resrepro"}  # real letters; and the same file each time


Known = dict[str, tuple[str, list[Run]]]  # run name -> the command that trains it, and its runs


class PageFigures:
    """Draws figures, each once. Files that cannot be read are appended to `problems`, a line each."""

    def __init__(self, results_dir: Path, problems: list[str]) -> None:
        self._results_dir = results_dir
        self._problems = problems
        self._shown: set[tuple[object, ...]] = set()  # (what is read, of which run) that stands on the page

    def of(self, experiment: Experiment, *, missing: bool) -> list[Block]:
        """The experiment's figures, those with a table followed by it.

        Args:
            missing: a figure without any run is named; else left out, and so is one that lacks most of its runs, or
                that shows no run that the figures before it do not.
        """
        blocks: list[Block] = []
        known = runs_by_name(experiment)
        for spec in experiment.figures:
            names = spec.run_names
            runs = {name: known[name][1] for name in names}
            kind_of_figure = FIGURES[spec.kind]
            there = [name for name in names if self._any_rows(kind_of_figure, runs[name])]
            new = {(kind_of_figure.rows, runs[name][0].path) for name in there} - self._shown
            if there and (missing or (new and 2 * len(there) >= len(names))):
                self._shown |= new
                blocks += self._draw(experiment, spec, known)
            elif missing:
                blocks.append(_missing(experiment, spec, [known[name] for name in names]))
        return blocks

    def _any_rows(self, kind_of_figure: FigureKind, runs: list[Run]) -> bool:
        """Whether a figure of this kind has anything to draw of these seeds, finished or not."""
        for run in results.with_stored_seeds(self._results_dir, runs):
            try:
                record = results.read_finished(self._results_dir, run)
                if kind_of_figure.rows(results.run_files(self._results_dir, run), run, record):
                    return True
            except (UserError, OSError) as error:
                self._problems.append(str(error))
        return False

    def _draw(self, experiment: Experiment, spec: FigureSpec, known: Known) -> list[Block]:
        title = _title(experiment, spec)
        try:
            with matplotlib.rc_context(SVG):
                files = draw_experiment(
                    experiment.model_copy(update={"figures": (spec,)}), self._results_dir, formats=("svg",),
                    report=self._problems.append,
                )  # fmt: skip
        except (UserError, OSError) as error:
            self._problems.append(str(error))
            return [PageFigure(title=title, file=None, notes=(f"not drawn: {error}",))]
        notes = self._notes(experiment, spec, known)
        blocks: list[Block] = [PageFigure(title=title, file=files[0], notes=notes)]
        return blocks + [Table.read_csv(title, file) for file in files if file.suffix == ".csv"]

    def _notes(self, experiment: Experiment, spec: FigureSpec, known: Known) -> tuple[str, ...]:
        """Which runs and seeds, under which schedule, on what, and the command."""
        names = spec.run_names
        variation, shown, records = experiment.variation, [], list[RunRecord]()
        for name in names:
            found, problems = results.read_finished_seeds(self._results_dir, known[name][1])
            self._problems += problems
            if found:
                seeds = ", ".join(str(run.seed) for run in found)
                shown.append(f"{known[name][1][0].label} (seed{'s' * (len(found) > 1)} {seeds})")
                records += found.values()
        if not records:
            return ("no run of it has ended yet", f"`resrepro run {experiment.address}{variation.options}`")
        lengths = dict.fromkeys((record.recipe["total_iters"], record.recipe["batch_size"]) for record in records)
        schedule = " or ".join(f"{iters} iterations of {batch}" for iters, batch in lengths)
        return (
            ", ".join(shown),
            schedule + ("" if variation.schedule_scale == 1 else f", {variation.schedule_scale:g} of the paper's"),
            provenance(records),
            f"`resrepro plot {experiment.address}{variation.options}`",
        )


def _missing(experiment: Experiment, spec: FigureSpec, known: list[tuple[str, list[Run]]]) -> PageFigure:
    labels: dict[str, list[str]] = {}
    for command, runs in known:
        labels.setdefault(command, []).append(runs[0].label)
    notes = tuple(f"nothing to draw of {', '.join(names)}; `{command}`" for command, names in labels.items())
    return PageFigure(title=_title(experiment, spec), file=None, notes=notes)


def _title(experiment: Experiment, spec: FigureSpec) -> str:
    dataset = experiment.variation.dataset
    return f"{spec.title} ({experiment.reproduces})" + (f": here {dataset}" if dataset else "")
