"""What can be checked of a finished run without its net or its dataset."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from resrepro.errors import UserError
from resrepro.results import csv_rows
from resrepro.results.analyses import read_predictions
from resrepro.results.digests import damaged_files
from resrepro.results.paths import RunFiles
from resrepro.results.records import Prediction, RunRecord
from resrepro.results.run_store import read_points
from resrepro.results.same_run import recorded_run


@dataclass
class Findings:
    """Say what was found when a run was verified.

    Args:
        equal: what is as recorded.
        differences: what is not, a line each.
        notes: what was not checked, and why; and what may differ by rounding.
        net_left_out: whether the net was not tested.
    """

    equal: list[str] = field(default_factory=list)
    differences: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    net_left_out: bool = False

    def leave_out_net(self, why: str) -> None:
        """Note that the net is not tested."""
        self.notes.append(f"not checked: the net, for {why}")
        self.net_left_out = True

    def names(self, path: Path) -> bool:
        """Tell whether a difference is of this file."""
        return any(line.startswith(f"{path}:") for line in self.differences)

    def compare(self, what: str, found: object, recorded: object) -> None:
        """Note that a value is equal to the recorded one, or that it differs."""
        if found == recorded:
            self.equal.append(f"{what} {found}")
        else:
            self.differences.append(f"{what}: {found} here, {recorded} recorded")


def check_stored(files: RunFiles, record: RunRecord) -> Findings:
    """Compare the digests of all files, and the errors of `curves.csv` and `predictions.csv`, with the record."""
    found = Findings()
    paths = [path for path in (*files.csvs, files.weights) if path.name in record.sha256]
    found.differences += damaged_files(paths, record)
    missing = [path for path in paths if not path.exists() and path != files.weights]
    found.differences += [f"{path}: missing; {csv_rows.mend(path)}" for path in missing]
    if not paths:
        found.notes.append("not checked: the files, for this older record has no SHA-256 of them")
    elif not found.differences:
        found.equal.append(f"SHA-256 of {sum(path.exists() for path in paths)} files")
    for check in (_check_place, *((_check_curves, _check_predictions) if record.status == "finished" else ())):
        try:
            check(files, record, found)
        except UserError as error:
            found.differences.append(str(error))
    return found


def _check_place(files: RunFiles, record: RunRecord, found: Findings) -> None:
    place, its = files.folder.resolve().parts[-3:], recorded_run(record).path.parts
    if place[0] == its[0] and place != its:  # a copy elsewhere is no place of a run
        found.differences.append(f"{files.folder}: the record there is of {'/'.join(its)}; move it to its own place")


def _check_curves(files: RunFiles, record: RunRecord, found: Findings) -> None:
    points = read_points(files)
    if not points:
        found.differences.append(f"{files.curves}: no curve point; {csv_rows.mend(files.curves)}")
        return
    last, best = points[-1], min(points, key=lambda point: point.shown_test_error_pct)
    averaged = record.final_test_error_bn_reestimated_pct if record.averages_bn else None
    values = {
        "last iteration": (last.iteration, record.recipe.get("total_iters")),
        "training error (%)": (last.train_error_pct, record.final_train_error_pct),
        "test error (%)": (last.test_error_pct, record.final_test_error_pct),
        "test error with averaged BN (%)": (last.test_error_bn_averaged_pct, averaged),
        "best test error (%)": (best.shown_test_error_pct, record.best_test_error_pct),
        "iteration of the best test error": (best.iteration, record.best_test_error_iter),
    }
    differing = {what: pair for what, pair in values.items() if pair[0] != pair[1]}
    for what, (here, recorded) in differing.items():
        found.differences.append(f"{files.curves}: {what} {here}, but {recorded} in run.json")
    if not differing and not found.names(files.curves):
        found.equal.append("curves.csv")


def _check_predictions(files: RunFiles, record: RunRecord, found: Findings) -> None:
    predictions = read_predictions(files)
    if not predictions:
        if not found.names(files.predictions):
            found.notes.append("not checked: the predictions, for none are stored")
        return
    errors = Prediction.errors_pct(predictions)
    recorded = record.final_test_error_pct, record.final_test_error_bn_reestimated_pct
    if errors == recorded and not found.names(files.predictions):
        found.equal.append("predictions.csv")
    elif errors != recorded:
        found.differences.append(f"{files.predictions}: errors {errors} %, but {recorded} % in run.json")
