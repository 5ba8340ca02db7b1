"""From experiments and results to figure files."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

from resrepro import results
from resrepro.config.architectures import architecture
from resrepro.config.datasets import dataset_title
from resrepro.config.experiment import Experiment
from resrepro.figures import FIGURES
from resrepro.figures.data import _mending, _note, _paper_errors, _read, runs_by_name
from resrepro.figures.layout import FigureContext
from resrepro.files import write_atomically, write_text

FORMATS = ("png", "pdf", "svg")
DOTS_PER_INCH = 200


def draw_experiment(
    experiment: Experiment,
    results_dir: Path,
    *,
    formats: tuple[str, ...],
    report: Callable[[str], None] = lambda _: None,
) -> list[Path]:
    """Draws every figure of an experiment, with its table, also where runs are missing or damaged: those are named.

    Args:
        report: is given a line about each damaged run.
        experiment: as asked for; what its variation changes is said in the figure.

    Returns:
        The files written.
    """
    known = runs_by_name(experiment)
    written = []
    data_set, own = dataset_title(experiment.dataset), dataset_title(experiment.own_dataset)
    for declared in experiment.figures:
        spec = declared.model_copy(update={"title": declared.title.replace(own, data_set)})
        names = spec.run_names
        runs = {name: known[name][1] for name in names}
        all_runs = [r for seeds in runs.values() for r in results.with_stored_seeds(results_dir, seeds)]
        kind_of_figure = FIGURES[spec.kind]
        rows, records, problems = _read(results_dir, all_runs, kind_of_figure)
        for problem in problems.values():
            report(problem)
        diverged = {run.name: r.diverged_iter for run, r in records.items() if r and r.diverged_iter is not None}
        shown = {*rows["run"], *diverged, *(run.name for run in problems)}
        note = _note(experiment)
        context = FigureContext(
            note=note,
            labels={name: seeds[0].label for name, seeds in runs.items()},
            depths={name: architecture(seeds[0].arch).depth for name, seeds in runs.items()},
            residual={name: architecture(seeds[0].arch).residual for name, seeds in runs.items()},
            paper_error_pct={} if note else _paper_errors(runs),
            diverged_iter=diverged,
            records={n: tuple(r for run, r in records.items() if r and run.name == n) for n in names},
            missing={name: known[name][0] for name in names if name not in shown},
            problems={
                run.name: _mending(problem, results.run_files(results_dir, run), known[run.name][0])
                for run, problem in problems.items()
            },
        )
        figure = kind_of_figure.draw(rows, spec, context)
        stem = spec.name + experiment.variation.suffix
        for kind in formats:
            image = io.BytesIO()
            figure.savefig(image, format=kind, dpi=DOTS_PER_INCH)
            path = results.figure_file(results_dir, stem, kind)
            write_atomically(path, lambda file, image=image: file.write(image.getvalue()))  # type: ignore[misc]
            written.append(path)
        if kind_of_figure.table is not None:
            table = kind_of_figure.table(spec, context)
            for kind, text in (("md", table.to_markdown()), ("csv", table.to_csv())):
                path = results.figure_file(results_dir, stem, kind)
                write_text(path, text)
                written.append(path)
    return written
