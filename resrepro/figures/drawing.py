"""From experiments and results to figure files."""

from __future__ import annotations

import io
import textwrap
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pandas as pd

from resrepro import paper, results
from resrepro.atomic import write_atomically, write_text
from resrepro.catalog import architecture, dataset_title
from resrepro.errors import UserError
from resrepro.experiment import Experiment, Run
from resrepro.experiment_files import shipped_runs
from resrepro.figures import FIGURES, Kind
from resrepro.figures.parts import Context
from resrepro.records import RunRecord

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
        all_runs = [r for seeds in runs.values() for r in results.with_found_seeds(results_dir, seeds)]
        form = FIGURES[spec.kind]
        rows, records, problems = _read(results_dir, all_runs, form)
        for problem in problems.values():
            report(problem)
        diverged = {run.name: r.diverged_iter for run, r in records.items() if r and r.diverged_iter is not None}
        shown = {*rows["run"], *diverged, *(run.name for run in problems)}
        note = _note(experiment)
        context = Context(
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
        figure = form.draw(rows, spec, context)
        stem = spec.name + experiment.variation.suffix
        for kind in formats:
            image = io.BytesIO()
            figure.savefig(image, format=kind, dpi=DOTS_PER_INCH)
            path = results.figure_file(results_dir, stem, kind)
            write_atomically(path, lambda file, image=image: file.write(image.getvalue()))  # type: ignore[misc]
            written.append(path)
        if form.table is not None:
            table = form.table(spec, context)
            for kind, text in (("md", table.to_markdown()), ("csv", table.to_csv())):
                path = results.figure_file(results_dir, stem, kind)
                write_text(path, text)
                written.append(path)
    return written


def _read(
    results_dir: Path, runs: list[Run], kind: Kind
) -> tuple[pd.DataFrame, dict[Run, RunRecord | None], dict[Run, str]]:
    """The table that a kind of figure draws, the records, and what is wrong with the runs that are in neither."""
    rows: list[dict[str, object]] = []
    records: dict[Run, RunRecord | None] = {}
    problems: dict[Run, str] = {}
    for run in runs:
        try:
            record = results.finished(results_dir, run)
            found = kind.rows(results.run_files(results_dir, run), run, record)
        except UserError as error:
            problems[run] = str(error)
            continue
        records[run] = record
        status = record.status if record else "unfinished"
        rows += [{"run": run.name, "label": run.label, "seed": run.seed, "status": status, **row} for row in found]
    return pd.DataFrame(rows, columns=["run", "label", "seed", "status", *kind.columns]), records, problems


def _mending(problem: str, files: results.RunFiles, command: str) -> str:
    """What is wrong with a run's file, in short, and the command that makes it anew, in lines that fit a panel."""
    what = problem.partition(";")[0].replace(f"{files.folder}/", "")
    without = "file" if files.checkpoint.exists() else f"folder {files.folder.parent.name}/{files.folder.name}"
    return f"  {textwrap.shorten(what, 60, placeholder=' …')}\n  without that {without}:\n  {command}"


def runs_by_name(experiment: Experiment) -> dict[str, tuple[str, list[Run]]]:
    """Run name -> (command that trains it, its runs): the experiment's own, then the shipped experiments'."""
    variation = experiment.variation
    found: dict[str, tuple[str, list[Run]]] = {}
    for name, pairs in shipped_runs(experiment.own_dataset).items():
        num_seeds = Counter(experiment_name for experiment_name, _ in pairs)
        source = min(num_seeds, key=num_seeds.__getitem__)  # the least work
        runs = tuple(run for experiment_name, run in pairs if experiment_name == source)
        varied = experiment.model_copy(update={"runs": runs}).variant(
            dataset=experiment.dataset, schedule_scale=variation.schedule_scale, image_size=variation.image_size
        )
        found[name] = (f"resrepro run {source}{variation.options}", list(varied.runs))
    own = f"resrepro run {experiment.address}{variation.options}"
    for name in experiment.run_names():
        found[name] = (own, [run for run in experiment.runs if run.name == name])
    return found


def _paper_errors(runs: dict[str, list[Run]]) -> dict[str, float]:
    keys = {name: (seeds[0].dataset, name) for name, seeds in runs.items()}
    return {name: paper.TEST_ERROR_PCT[key] for name, key in keys.items() if key in paper.TEST_ERROR_PCT}


def _note(experiment: Experiment) -> str:
    variation, notes = experiment.variation, []
    if variation.dataset is not None:
        notes.append(f"here on {dataset_title(experiment.dataset)}, not {dataset_title(experiment.own_dataset)}")
    if variation.image_size is not None:
        notes.append(f"crops of {variation.image_size} pixels")
    if variation.schedule_scale != 1:
        notes.append(f"schedule × {variation.schedule_scale:g}, not the paper's")
    return "; ".join(notes)
