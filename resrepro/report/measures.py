"""Read what claims compare from a run's files, and say how large its noise is known to be beforehand."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

from resrepro import results
from resrepro.config.architectures import architecture
from resrepro.config.experiment import Claim, Experiment, Measure
from resrepro.errors import UserError
from resrepro.paper.curves import windows
from resrepro.report.statistics import Noise, binomial_noise, pooled_noise
from resrepro.results import csv_rows
from resrepro.results.paths import RunFiles
from resrepro.results.records import ConstructedComparison, LayerNorms, Response, RunRecord

IMAGES = {  # of training and test; and the number of classes
    "cifar10": (50_000, 10_000, 10),
    "cifar100": (50_000, 10_000, 100),
    "imagenet": (1_281_167, 50_000, 1_000),
    "imagenette": (9_469, 3_925, 10),
    "tiny-imagenet": (100_000, 10_000, 200),
    "shapes": (20_000, 2_000, 10),
}


@dataclass(frozen=True, kw_only=True)
class _Read:
    """Describe a measure: its words and unit, and how it is read from a run's files; None if the run lacks it."""

    words: str
    unit: str
    of: Callable[[RunFiles, RunRecord, Claim], float | None]


def _train_error(files: RunFiles, record: RunRecord, claim: Claim) -> float | None:
    return _in_window(files, record, claim) if claim.window else record.final_train_error_pct


def _test_error(files: RunFiles, record: RunRecord, claim: Claim) -> float | None:
    return _in_window(files, record, claim) if claim.window else record.error_pct(claim.protocol, 1)


def _in_window(files: RunFiles, record: RunRecord, claim: Claim) -> float | None:
    """Return the mean of the run's curve over a window of the schedule, which is scaled as the run's is."""
    family = architecture(record.arch).recipe_family(crops=record.recipe.get("scale_crop") is not None)
    whole = windows("imagenet" if family == "imagenet" else "cifar10")
    window = next(window for window in whole if window.name == claim.window)
    scale = record.schedule_scale
    inside = [
        point.train_error_pct if claim.column == "train_error_pct" else point.shown_test_error_pct
        for point in results.read_points(files)
        if window.first_iter * scale <= point.iteration < (window.last_iter + 1) * scale
    ]
    return fmean(inside) if inside else None


def _response_std(files: RunFiles, _record: RunRecord, _claim: Claim) -> float | None:
    stds = [row.std for row in csv_rows.read_rows(files.responses, Response)]
    return fmean(stds) if stds else None


def _gradient_first_to_last(files: RunFiles, _record: RunRecord, _claim: Claim) -> float | None:
    """Return the smallest ratio over the moments of the first to the last convolution's norm: 0 if they vanish."""
    moments: dict[int, list[float]] = {}
    for row in csv_rows.read_rows(files.gradients, LayerNorms):
        moments.setdefault(row.iteration, []).append(row.gradient_norm)
    ratios = [
        norms[0] / norms[-2] if norms[-2] else 0.0 for norms in moments.values() if len(norms) > 1
    ]  # the last one is fc
    return min(ratios, default=None)


def _constructed_difference(files: RunFiles, _record: RunRecord, _claim: Claim) -> float | None:
    found = csv_rows.read_rows(files.identity, ConstructedComparison)
    return max((abs(row.error_pct - row.shallower_error_pct) for row in found), default=None)


MEASURES: dict[Measure, _Read] = {
    "train_error_pct": _Read(words="training error", unit=" %", of=_train_error),
    "test_error_pct": _Read(words="test error", unit=" %", of=_test_error),
    "top5_error_pct": _Read(
        words="top-5 test error", unit=" %", of=lambda _, record, claim: record.error_pct(claim.protocol, 5)
    ),
    "warmup_opened_iter": _Read(
        words="iteration at which the warm-up ended", unit="", of=lambda _, record, __: record.warmup_opened_iter
    ),
    "response_std": _Read(words="standard deviation of the responses, mean over layers", unit="", of=_response_std),
    "gradient_first_to_last": _Read(
        words="gradient norm of the first convolution over the last one's, least of the recorded moments", unit="",
        of=_gradient_first_to_last,
    ),
    "constructed_difference_pct": _Read(
        words="error as made, before training, less the shallower net's, absolute", unit=" %",
        of=_constructed_difference,
    ),
}  # fmt: skip


def is_error(column: Measure) -> bool:
    """Tell whether a measure is an error of classification, which at chance level has a known value."""
    return column.endswith("error_pct")


def read_value(files: RunFiles, record: RunRecord, claim: Claim) -> float | None:
    """Return what a finished or diverged seed measured; None where it has no such record.

    A diverged seed has the error of chance: 90 % with ten classes (top 5: 50 %).

    Raises:
        UserError: a file is damaged.
    """
    if record.status == "diverged" and is_error(claim.column):
        sizes = IMAGES.get(record.dataset)
        guesses = 5 if claim.column == "top5_error_pct" else 1
        return None if sizes is None else 100 * (1 - guesses / sizes[2])
    return MEASURES[claim.column].of(files, record, claim)


def declared_seeds(
    experiment: Experiment, claim: Claim, name: str, results_dir: Path
) -> tuple[list[tuple[float, RunRecord]], tuple[float, ...], str]:
    """Read what the seeds of a run measured.

    Returns:
        The values of the declared seeds with their records, and the values of further ones; or none and the reason,
        also if not all declared seeds that finished may count.
    """
    runs = [run for run in experiment.runs if run.name == name]
    records, problems = results.read_finished_seeds(results_dir, runs)
    declared, further, lacking = [], [], []
    for run, record in records.items():
        files = results.run_files(results_dir, run)
        try:
            value = read_value(files, record, claim)
        except (UserError, OSError) as error:
            problems.append(str(error))
            continue
        if run not in runs:
            further += [] if value is None else [value]
        elif value is None:
            lacking.append((files, record))
        else:
            declared.append((value, record))
    if problems:
        return [], (), problems[0]
    if lacking:
        return [], (), _why_lacking(claim, name, lacking)
    return declared, tuple(further), "" if declared else f"{name} not finished"


def _why_lacking(claim: Claim, name: str, lacking: list[tuple[results.RunFiles, RunRecord]]) -> str:
    diverged = [record.seed for _, record in lacking if record.status == "diverged"]
    if diverged:
        return f"{name} diverged with seed {', '.join(map(str, diverged))}"
    if claim.protocol != "single view":
        folders = " ".join(str(files.folder) for files, _ in lacking)
        return f"to measure: `resrepro evaluate {folders} --protocol {claim.protocol}`"
    return f"{name} has no record of: {MEASURES[claim.column].words}"


def noise_of_images(record: RunRecord, claim: Claim, value: float) -> Noise | None:
    """Return the binomial noise of a value; None where it is no error, or the number of images is not known."""
    sizes = IMAGES.get(record.dataset)
    if sizes is None or not claim.column.endswith("_pct"):
        return None
    training, test, _ = sizes
    num_images = (record.recipe.get("train_images") or training) if claim.column == "train_error_pct" else test
    return binomial_noise(value, num_images)


class SeedSpreads:
    """Finds the spread between seeds of a net under a schedule, over every stored run that has two seeds or more."""

    def __init__(self, results_dir: Path) -> None:
        self._results_dir = results_dir
        self._groups: dict[tuple[object, ...], dict[str, list[tuple[RunFiles, RunRecord]]]] | None = None

    def of(self, record: RunRecord, claim: Claim) -> Noise | None:
        """Return the spread of what the claim compares; runs that diverged or lack it are left out."""
        samples = []
        for seeds in self._stored().get(_net_and_schedule(record), {}).values():
            try:
                values = [MEASURES[claim.column].of(files, one, claim) for files, one in seeds]
            except (UserError, OSError):  # named where that run is shown
                continue
            known = [value for value in values if value is not None]
            if len(known) > 1:
                samples.append(known)
        return pooled_noise(samples)

    def _stored(self) -> dict[tuple[object, ...], dict[str, list[tuple[RunFiles, RunRecord]]]]:
        if self._groups is None:
            self._groups = defaultdict(lambda: defaultdict(list))
            for files in results.stored_runs(self._results_dir):
                try:
                    record = results.read_record(files)
                except (UserError, OSError):
                    continue
                if record is not None and record.status == "finished":
                    self._groups[_net_and_schedule(record)][record.name].append((files, record))
        return self._groups


def _net_and_schedule(record: RunRecord) -> tuple[object, ...]:
    recipe = record.recipe
    schedule = (recipe.get("total_iters"), str(recipe.get("scale_crop")), record.schedule_scale)
    return record.dataset, record.arch, record.start_from, *schedule
