"""Read what claims compare from a run's files."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from statistics import fmean, median

from resrepro import results
from resrepro.config.architectures import architecture, multiply_adds
from resrepro.config.datasets import chance_error_pct
from resrepro.config.experiment import Claim, Measure
from resrepro.errors import UserError
from resrepro.paper.curves import published_responses, windows
from resrepro.results import csv_rows
from resrepro.results.analyses import by_moment, read_norms, read_responses
from resrepro.results.laboratory import Lesion
from resrepro.results.paths import RunFiles
from resrepro.results.records import ConstructedComparison, RunRecord

TINY = 2.0**-149  # the least float32, in place of zero, which has no logarithm, and no noise


@dataclass(frozen=True, kw_only=True)
class _Read:
    """Describe a measure: its words and unit, and how it is read from a run's files; None if the run lacks it."""

    words: str
    of: Callable[[RunFiles, RunRecord, Claim], float | None]
    unit: str = ""


def _error(files: RunFiles, record: RunRecord, claim: Claim) -> float | None:
    """Return the error of the last iteration, or the mean of the run's curve over a window of the schedule."""
    of_training = claim.column == "train_error_pct"
    if claim.window is None:
        return record.final_train_error_pct if of_training else record.error_pct(claim.protocol, claim.top)
    first, end = window_of(record, claim.window)
    points = [point for point in results.read_points(files) if first <= point.iteration < end]
    return _mean(point.train_error_pct if of_training else point.shown_test_error_pct for point in points)


def window_of(record: RunRecord, name: str) -> tuple[float, float]:
    """Return where a window begins and ends, in iterations; it is scaled as the run's schedule is."""
    family = architecture(record.arch).recipe_family(crops=record.recipe.get("scale_crop") is not None)
    whole = windows("imagenet" if family == "imagenet" else "cifar10")
    window = next(window for window in whole if window.name == name)
    return window.first_iter * record.schedule_scale, (window.last_iter + 1) * record.schedule_scale


def _converging_iter(files: RunFiles, record: RunRecord, _claim: Claim) -> float | None:
    """Return the first curve point with a training error a point below chance; the run's end if it has none.

    Footnote 5 says below 90 %, which is chance: about half of all points of an untrained net are below that.
    """
    chance_pct = chance_error_pct(record.dataset)
    if chance_pct is None:
        return None
    below = (point.iteration for point in results.read_points(files) if point.train_error_pct < chance_pct - 1)
    return next(below, record.recipe.get("total_iters"))


def _signal_least(files: RunFiles, record: RunRecord, _claim: Claim) -> float | None:
    stds = (row.response_std for row in read_norms(files, record.arch))
    return min((std for std in stds if std is not None), default=None)


def response_ratios(files: RunFiles, record: RunRecord) -> list[float]:
    """Return the response of each layer over that of Fig. 7; none where one of the two is not there."""
    found, published = read_responses(files, record.arch), published_responses(record.arch)
    if not found or published is None:
        return []
    if len(found) != len(published.std):
        raise UserError(
            f"{files.responses}: {len(found)} layers, expected {len(published.std)}; {csv_rows.mend(files.responses)}"
        )
    return [row.std / theirs for row, theirs in zip(found, published.std.tolist(), strict=True)]


def _gradient_first_to_last(files: RunFiles, record: RunRecord, _claim: Claim) -> float | None:
    """Return the logarithm of the ratio of the first to the last convolution's norm, farthest from 0 of the moments."""
    norms = [[row.gradient_norm for row in rows] for rows in by_moment(read_norms(files, record.arch)) if len(rows) > 1]
    logs = [math.log10(max(of_net[0], TINY) / max(of_net[-2], TINY)) for of_net in norms]  # the last one is fc
    return max(logs, key=abs, default=None)


def _mean(values: Iterable[float]) -> float | None:
    found = list(values)
    return fmean(found) if found else None


def _constructed_difference(files: RunFiles, _record: RunRecord, _claim: Claim) -> float | None:
    found = csv_rows.read_rows(files.identity, ConstructedComparison)
    return max((abs(row.error_pct - row.shallower_error_pct) for row in found), default=None)


def _lesion_rise(files: RunFiles, _record: RunRecord, _claim: Claim) -> float | None:
    _, rises = lesions(files)
    return median(rises) if rises else None


def lesions(files: RunFiles) -> tuple[Lesion | None, list[float]]:
    """Return the row of the whole net, and by how much the test error rises without each block; none if not measured.

    Raises:
        UserError: the file is damaged, or has no row of the whole net.
    """
    rows = csv_rows.read_rows(files.lesions, Lesion)
    whole = next((row for row in rows if row.kind == "whole"), None)
    if whole is None:
        if rows:
            raise UserError(f"{files.lesions}: no row of the whole net; {csv_rows.mend(files.lesions)}")
        return None, []
    return whole, [row.error_pct - whole.error_pct for row in rows if row.kind == "one"]


MEASURES: dict[Measure, _Read] = {
    "train_error_pct": _Read(words="training error", unit=" %", of=_error),
    "test_error_pct": _Read(words="test error", unit=" %", of=_error),
    "top5_error_pct": _Read(words="top-5 test error", unit=" %", of=_error),
    "warmup_opened_iter": _Read(
        words="iteration at which the warm-up ended", of=lambda _, record, __: record.warmup_opened_iter
    ),
    "converging_iter": _Read(
        words="iteration of the first curve point with a training error one point below chance", of=_converging_iter
    ),
    "response_std": _Read(
        words="standard deviation of the responses, mean over layers",
        of=lambda files, record, _: _mean(row.std for row in read_responses(files, record.arch)),
    ),
    "response_least": _Read(
        words="standard deviation of the responses, smallest over layers",
        of=lambda files, record, _: min((row.std for row in read_responses(files, record.arch)), default=None),
    ),
    "signal_least": _Read(
        words="standard deviation of the responses, smallest over layers and curve points", of=_signal_least
    ),
    "response_level": _Read(
        words="response relative to Fig. 7, mean over layers",
        of=lambda files, record, _: _mean(response_ratios(files, record)),
    ),
    "gradient_first_to_last": _Read(
        words="log10 of the gradient norms' ratio, first to last convolution, at the moment farthest from 0",
        of=_gradient_first_to_last,
    ),
    "multiply_adds_e9": _Read(words="multiply-adds of one image (1e9)", of=lambda *_: None),
    "multiply_adds_of_vgg19_pct": _Read(words="multiply-adds relative to VGG-19", unit=" %", of=lambda *_: None),
    "constructed_difference_pct": _Read(
        words="absolute difference to the shallower net's error, before training", unit=" %",
        of=_constructed_difference,
    ),
    "lesion_rise_pct": _Read(
        words="rise of the test error when one block is removed, median over blocks", unit=" %", of=_lesion_rise
    ),
}  # fmt: skip


def counted(name: str, column: Measure) -> float:
    """Return what a claim says of the multiply-adds of a net."""
    whole = 1e9 if column == "multiply_adds_e9" else multiply_adds("vgg19") / 100
    return multiply_adds(name) / whole


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
        return chance_error_pct(record.dataset, guesses=5 if claim.column == "top5_error_pct" else 1)
    return MEASURES[claim.column].of(files, record, claim)
