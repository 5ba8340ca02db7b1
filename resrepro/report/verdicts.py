"""Decide whether a claim of the paper holds in our runs: one rule, which the report's page states in words."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from statistics import fmean
from typing import Literal

from resrepro import results
from resrepro.config.experiment import Claim, Experiment, Measure
from resrepro.errors import UserError
from resrepro.paper import EvaluationProtocol
from resrepro.results import csv_rows
from resrepro.results.paths import RunFiles
from resrepro.results.records import ConstructedComparison, LayerNorms, Response, RunRecord
from resrepro.results.tables import standard_error

ALPHA = 0.05
RULE = (
    "An order of runs is reproduced if each one's mean over its finished seeds is above the next one's, by the margin "
    "that the claim states, if it states one; a bound, if the mean keeps it. Errors are those of the last iteration.",
    f"Where every run of a claim has two seeds or more, noise must be excluded too: Welch's one-sided t-test of each "
    f"two neighbors, or Student's of a mean against its bound, must give p < {ALPHA:g}. A claim of several comparisons "
    f"holds only if all do, so its p is the largest, and needs no correction; between claims none is made. The test is "
    "not paired, though two nets of one seed see the same mini-batches: pairing would halve the degrees of freedom; "
    "a positive correlation only makes this test stricter.",
    "With a single seed there is no test: the order, or the value, alone decides, and the verdict says so. A claim is "
    "not judged where a run of it is missing, nor where a seed diverged or is damaged: the rest would be a choice.",
)
Status = Literal["reproduced", "not reproduced", "not run"]
# What a status is called where data or schedule are not the paper's: there nothing counts as reproduced.
ELSEWHERE: dict[Status, str] = {
    "reproduced": "holds here",
    "not reproduced": "does not hold here",
    "not run": "not run",
}


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """Say whether a claim holds, and what decides.

    Args:
        detail: what was measured; of a claim that is not run, what is missing.
        values: what each run's finished seeds measured, by the run's name.
        p_value: None if a run has a single seed, for then there is no test.
    """

    claim: Claim
    status: Status
    detail: str
    values: dict[str, tuple[float, ...]] = field(default_factory=dict)
    p_value: float | None = None

    @property
    def test(self) -> str:
        """Return the test that decided, in words."""
        if self.status == "not run":
            return ""
        if self.p_value is None:
            return "one seed: no test"
        p = "p < 0.001" if self.p_value < 0.001 else f"p = {self.p_value:.3f}"
        within_noise = self.status == "not reproduced" and _holds(self.claim, list(map(fmean, self.values.values())))
        return f"{p}: its direction, but within the noise between seeds" if within_noise else p


@dataclass(frozen=True, kw_only=True)
class _Read:
    """Describe a measure: its words and unit, and how it is read from a run's files; None if the run lacks it."""

    words: str
    unit: str
    of: Callable[[RunFiles, RunRecord, EvaluationProtocol], float | None]


def _response_std(files: RunFiles, _record: RunRecord, _protocol: EvaluationProtocol) -> float | None:
    stds = [row.std for row in csv_rows.read_rows(files.responses, Response)]
    return fmean(stds) if stds else None


def _gradient_first_to_last(files: RunFiles, _record: RunRecord, _protocol: EvaluationProtocol) -> float | None:
    """Return the smallest ratio over the moments of the first to the last convolution's norm: 0 if they vanish."""
    moments: dict[int, list[float]] = {}
    for row in csv_rows.read_rows(files.gradients, LayerNorms):
        moments.setdefault(row.iteration, []).append(row.gradient_norm)
    ratios = [norms[0] / norms[-2] if norms[-2] else 0.0 for norms in moments.values()]  # the last one is fc
    return min(ratios, default=None)


def _constructed_difference(files: RunFiles, _record: RunRecord, _protocol: EvaluationProtocol) -> float | None:
    found = csv_rows.read_rows(files.identity, ConstructedComparison)
    return max((abs(row.error_pct - row.shallower_error_pct) for row in found), default=None)


MEASURES: dict[Measure, _Read] = {
    "train_error_pct": _Read(words="training error", unit=" %", of=lambda _, record, __: record.final_train_error_pct),
    "test_error_pct": _Read(words="test error", unit=" %", of=lambda _, record, how: record.error_pct(how, 1)),
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


def decidable(experiment: Experiment) -> list[Claim]:
    """Return the claims that its runs can decide: without bounds on errors, the paper's numbers, under a variation."""
    if not experiment.is_varied:
        return list(experiment.claims)
    return [claim for claim in experiment.claims if claim.run is None or not claim.column.endswith("error_pct")]


def judge(experiment: Experiment, claim: Claim, results_dir: Path) -> Verdict:
    """Decide a claim by RULE."""
    values: dict[str, tuple[float, ...]] = {}
    for name in claim.runs:
        values[name], why = _values(experiment, claim, name, results_dir)
        if not values[name]:
            return Verdict(claim=claim, status="not run", detail=why)
    means = {name: fmean(errors) for name, errors in values.items()}
    p_values = None if min(map(len, values.values())) < 2 else _p_values(claim, values)
    holds = _holds(claim, list(means.values())) and (p_values is None or max(p_values) < ALPHA)
    counts = dict.fromkeys(str(len(errors)) for errors in values.values())
    read = MEASURES[claim.column]
    listed = ", ".join(f"{name} {mean:.2f}{read.unit}" for name, mean in means.items())
    return Verdict(
        claim=claim,
        status="reproduced" if holds else "not reproduced",
        detail=f"{read.words} {listed}, n = {' and '.join(counts)}",
        values=values,
        p_value=None if p_values is None else max(p_values),
    )


def _values(experiment: Experiment, claim: Claim, name: str, results_dir: Path) -> tuple[tuple[float, ...], str]:
    """Read what the finished seeds of a run measured.

    Returns:
        The values; or none and the reason, also if not all seeds that finished may count.
    """
    runs = [run for run in experiment.runs if run.name == name]
    records, problems = results.read_finished_seeds(results_dir, runs)
    diverged = [run.seed for run, record in records.items() if record.status == "diverged"]
    if diverged:
        return (), f"{name} diverged" + (f" with seed {', '.join(map(str, diverged))}" if len(records) > 1 else "")
    found, lacking = [], []
    for run, record in records.items():
        files = results.run_files(results_dir, run)
        try:
            value = MEASURES[claim.column].of(files, record, claim.protocol)
        except (UserError, OSError) as error:
            problems.append(str(error))
            continue
        if value is None:
            lacking.append(str(files.folder))
        else:
            found.append(value)
    if problems:
        return (), problems[0]
    if lacking and claim.protocol != "single view":
        return (), f"to measure: `resrepro evaluate {' '.join(lacking)} --protocol {claim.protocol}`"
    if lacking:
        return (), f"{name} has no record of: {MEASURES[claim.column].words}"
    return tuple(found), "" if found else f"{name} not finished"


def _holds(claim: Claim, means: list[float]) -> bool:
    if claim.run is not None:
        above = -math.inf if claim.above is None else claim.above
        return above < means[0] < (math.inf if claim.below is None else claim.below)
    most = math.inf if claim.max_difference_pct is None else claim.max_difference_pct
    return all(claim.min_difference_pct < high - low <= most for high, low in pairwise(means))


def _p_values(claim: Claim, values: dict[str, tuple[float, ...]]) -> list[float]:
    """Return a p for each comparison that the claim makes."""
    if claim.run is not None:
        (only,) = values.values()
        bounds = [(claim.above, 1), (claim.below, -1)]
        return [welch(tuple(s * v for v in only), (s * bound,), 0.0) for bound, s in bounds if bound is not None]
    found = []
    for high, low in pairwise(values.values()):
        found.append(welch(high, low, claim.min_difference_pct))
        if claim.max_difference_pct is not None:
            found.append(welch(low, high, -claim.max_difference_pct))
    return found


def welch(high: tuple[float, ...], low: tuple[float, ...], margin: float) -> float:
    """Return the one-sided p of mean(high) - mean(low) <= margin, variances not assumed equal.

    Args:
        high: two values or more.
        low: likewise, or a single one: that is a constant, and the test is Student's of one mean.
    """
    difference, error = fmean(high) - fmean(low) - margin, standard_error(high, low)
    if error == 0:
        return 0.0 if difference > 0 else 1.0
    samples = [sample for sample in (high, low) if len(sample) > 1]
    degrees = error**4 / sum(standard_error(sample) ** 4 / (len(sample) - 1) for sample in samples)
    return t_tail(difference / error, degrees)


def t_tail(t: float, degrees: float) -> float:
    """Return P(T > t) of Student's t."""
    from scipy.special import stdtr  # where it is needed: it takes 0.2 s to import

    return float(stdtr(degrees, -t))
