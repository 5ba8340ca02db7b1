"""Draw the page's figures, or name what is missing with the command that trains it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from resrepro.config.experiment import Experiment, FigureSpec
from resrepro.figures.data import FigureData, Seen, read_figure
from resrepro.figures.files import render
from resrepro.figures.kinds import FIGURES
from resrepro.report.page import Drawing, PageFigure, PlainBlock
from resrepro.report.run_table import provenance
from resrepro.results.paths import folder_with_runs, results_option


class PageFigures:
    """Draw figures in memory, each once.

    Args:
        problems: gets a line about each file that cannot be read.
    """

    def __init__(self, results_dir: Path, problems: list[str]) -> None:
        self._results_dir = results_dir
        self._problems = problems
        self._seen = Seen()

    def of(self, experiment: Experiment, *, missing: bool) -> list[PlainBlock]:
        """Return the experiment's figures, those with a table followed by it.

        One that lacks most of its runs, and shows none that the figures before it do not, is not drawn.

        Args:
            missing: whether a figure that is not drawn is named, with the commands that train its runs. If not, each
                must show a new run, and more than half of its runs.
        """
        blocks: list[PlainBlock] = []
        where = results_option(self._results_dir)
        source = folder_with_runs(self._results_dir, experiment.name, experiment.runs)
        for spec in experiment.figures:
            kind = FIGURES[spec.kind]
            shown = read_figure(experiment, spec, kind, source)
            data = shown.data
            self._problems += data.problems
            new, few = self._seen.is_new(experiment, kind, shown), shown.lacks_most
            title = _title(experiment, spec)
            enough = (new or not few) if missing else (new and not few)
            if enough and len(shown.rows) and not shown.why_blank(kind):
                self._seen.note(experiment, kind, shown)
                untitled = replace(shown, data=replace(data, title=""))  # the page writes it below
                (svg,) = render(kind, untitled, ("svg",))
                drawing = Drawing(name=spec.name + experiment.variation.suffix, svg=svg.decode())
                blocks.append(PageFigure(title=title, drawing=drawing, notes=_notes(experiment, data, where)))
                if kind.table is not None:
                    blocks.append(replace(kind.table(shown.rows, shown.spec, data), title=title))
            elif missing:
                blocks.append(PageFigure(title=title, drawing=None, notes=_commands(data)))
        return blocks


def _notes(experiment: Experiment, data: FigureData, where: str) -> tuple[str, ...]:
    """Say which runs and seeds are shown, under which schedule and on what they were trained, and the command."""
    variation = experiment.variation
    shown = [run for run in data.runs.values() if run.records]
    records = [record for run in shown for record in run.records]
    if not records:
        return ("none of its runs has ended yet", f"`resrepro run {experiment.as_typed}{where}`")
    seeds = [
        f"{run.label} (seed{'s' * (len(run.records) > 1)} {', '.join(str(record.seed) for record in run.records)})"
        for run in shown
    ]
    lengths = dict.fromkeys((record.recipe["total_iters"], record.recipe["batch_size"]) for record in records)
    schedule = " or ".join(f"{iters} iterations of {batch}" for iters, batch in lengths)
    return (
        "; ".join(seeds),
        *_commands(data),
        schedule + ("" if variation.schedule_scale == 1 else f", {variation.schedule_scale:g} of the paper's"),
        provenance(records),
        f"`resrepro plot {experiment.as_typed}{where}`",
    )


def _commands(data: FigureData) -> tuple[str, ...]:
    """Say which command trains the runs that are missing."""
    labels: dict[str, list[str]] = {}
    for run in (run for run in data.runs.values() if run.missing):
        labels.setdefault(run.command, []).append(run.label)
    return tuple(f"not run: {'; '.join(names)}. To train: `{command}`" for command, names in labels.items())


def _title(experiment: Experiment, spec: FigureSpec) -> str:
    dataset = experiment.variation.dataset
    return f"{spec.title} ({experiment.reproduces})" + (f": here {dataset}" if dataset else "")
