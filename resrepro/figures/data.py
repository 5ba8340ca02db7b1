"""What a figure shows, read from the files of its runs."""

from __future__ import annotations

import textwrap
from collections import Counter
from pathlib import Path

import pandas as pd

from resrepro import paper, results
from resrepro.config.datasets import dataset_title
from resrepro.config.experiment import Experiment
from resrepro.config.run import Run
from resrepro.config.toml_files import shipped_runs
from resrepro.errors import UserError
from resrepro.figures import FigureKind
from resrepro.results.records import RunRecord


def _read(
    results_dir: Path, runs: list[Run], kind: FigureKind
) -> tuple[pd.DataFrame, dict[Run, RunRecord | None], dict[Run, str]]:
    """The table that a kind of figure draws, the records, and what is wrong with the runs that are in neither."""
    rows: list[dict[str, object]] = []
    records: dict[Run, RunRecord | None] = {}
    problems: dict[Run, str] = {}
    for run in runs:
        try:
            record = results.read_finished(results_dir, run)
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
        varied = experiment.model_copy(update={"runs": runs}).variant(variation)
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
