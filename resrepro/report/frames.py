"""Curves and records as tables of pandas."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from resrepro import results
from resrepro.config.run import Run
from resrepro.config.toml_files import experiment_names, find_experiment, shipped_figures
from resrepro.errors import UserError, did_you_mean
from resrepro.figures.declared import declaration
from resrepro.paper import TEST_ERROR_PCT
from resrepro.results.distance import published
from resrepro.results.paths import DEFAULT_RESULTS, RunFiles, folder_with_runs, stored_runs
from resrepro.results.records import RunRecord
from resrepro.results.same_run import recorded_run

_Stored = tuple[Run, RunFiles, RunRecord | None]  # with its record, if it has ended
CURVE_COLUMNS = ("source", "dataset", "run", "label", "seed", "status", "kind", "iteration", "error_pct", "loss")


def curves(what: str, root: Path) -> pd.DataFrame:
    """Return the curves of a figure, an experiment or a run, as `resrepro.curves` has them.

    Raises:
        UserError: no such folder, figure, experiment or run; or a file is damaged, or that of another run.
    """
    if root != DEFAULT_RESULTS:
        _check_folder(root)
    found = _curves_of(what, root)
    rows = [row for stored in found for row in _our_rows(*stored)]
    nets = {(run.dataset, run.stored_name): (run, record) for run, _, record in found}
    rows += [row for run, record in nets.values() for row in _paper_rows(run, record)]
    return pd.DataFrame(rows, columns=[*CURVE_COLUMNS]).astype({"seed": "Int64"})


def records(root: Path, every: Iterable[RunFiles]) -> pd.DataFrame:
    """Return the records of the finished ones of these runs, as `resrepro.records` has them.

    Raises:
        UserError: no such folder, or a record is damaged.
    """
    _check_folder(root)
    found = [(files, results.read_record(files)) for files in every]
    return pd.json_normalize([_record_row(root, files, record) for files, record in found if record is not None])


def _check_folder(root: Path) -> None:
    if not root.is_dir():
        raise UserError(f"{root}: no such folder; give the results_dir in which runs are stored")


def _curves_of(what: str, root: Path) -> list[_Stored]:
    """Return the runs whose curves are asked for, each seed once, stored or not."""
    figures = shipped_figures()
    if what in figures:
        experiment, spec = figures[what]
        runs: Iterable[Run] = (declaration(experiment, name, root)[1][0] for name in spec.run_names)
    elif what in experiment_names() or what.endswith(".toml"):
        experiment = find_experiment(what)
        runs = {run.name: run for run in experiment.runs}.values()
    else:
        return _stored_curves(what, root)
    root = folder_with_runs(root, experiment.name, experiment.runs)
    seeds = [run for first in runs for run in results.with_stored_seeds(root, [first])]
    return [(run, results.run_files(root, run), results.read_finished(root, run)) for run in seeds]


def _stored_curves(what: str, root: Path) -> list[_Stored]:
    """Return the stored runs that are called so, by `<dataset>/<run>/seed<k>` or a part of it, or by its folder."""
    known: dict[str, list[RunFiles]] = {}
    its_folder = RunFiles(folder=Path(what))
    if its_folder.record.is_file() or its_folder.curves.is_file():
        known[what] = [its_folder]
    for files in stored_runs(root):
        dataset, *name = files.folder.relative_to(root).parts
        for parts in ([dataset, *name], [dataset, *name[:1]], name[:1]):
            known.setdefault("/".join(parts), []).append(files)
    if what not in known:
        every = [*shipped_figures(), *experiment_names(), *known]
        raise UserError(f"there is no figure, experiment or stored run '{what}'{did_you_mean(what, every)}")
    found = []
    for files in known[what]:
        record = results.read_record(files)
        run = results.read_asked(files) if record is None else recorded_run(record)
        found += [] if run is None else [(run, files, record)]
    return found


def _our_rows(run: Run, files: RunFiles, record: RunRecord | None) -> Iterable[tuple[object, ...]]:
    if record is not None:
        results.check_files(files, record, files.curves.name)
    status = record.status if record else "unfinished"
    about = "ours", run.dataset, run.stored_name, run.label, run.seed, status
    for point in results.read_points(files):
        yield *about, "train", point.iteration, point.train_error_pct, point.train_loss
        loss = point.test_loss if point.test_error_bn_averaged_pct is None else None  # it is of moving averages
        yield *about, "test", point.iteration, point.shown_test_error_pct, loss


def _paper_rows(run: Run, record: RunRecord | None) -> Iterable[tuple[object, ...]]:
    for kind, curve in published(run, record).items():
        for iteration, error_pct in zip(curve.iterations.tolist(), curve.error_pct.tolist(), strict=True):
            yield "paper", run.dataset, run.stored_name, run.label, None, None, kind, iteration, error_pct, None


def _record_row(root: Path, files: RunFiles, record: RunRecord) -> dict[str, object]:
    as_in_paper = record.schedule_scale == 1 and record.image_size is None
    paper_error_pct = TEST_ERROR_PCT.get((record.dataset, record.name)) if as_in_paper else None
    return {
        "run": files.folder.relative_to(root).as_posix(),
        **record.model_dump(exclude={"sha256", "versions", "earlier"}),
        "paper_error_pct": paper_error_pct,
        "has_weights": files.weights.exists(),
    }
