"""Decide whether a claim of the paper holds in our runs: one rule, which the report's page states in words."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import fmean
from typing import Literal, get_args

from resrepro import paper
from resrepro.config.experiment import Claim, Experiment
from resrepro.report.measures import MEASURES, SeedSpreads, declared_seeds, is_error, noise_of_images
from resrepro.report.statistics import (
    ALPHA,
    CONFIDENCE,
    Estimate,
    Mean,
    Noise,
    holm,
    in_words,
    predicted,
    sample_noise,
    trend,
)
from resrepro.results.records import RunRecord

INTERVAL = f"{100 * CONFIDENCE:.0f} % interval"
RULE = (
    f"A claim is supported if the {INTERVAL} of what it compares lies where the claim says, contradicted "
    "if the interval lies wholly elsewhere, and inconclusive otherwise. The interval of a mean, or of a difference of "
    "two, is that of Student's t with Welch's degrees of freedom, for variances that need not be equal (Welch 1947, "
    "Biometrika 34). p is the two-sided p-value of the nearest bound that the claim states; for an order it is zero.",
    "An order of several nets is judged by one number, chosen before the runs: the slope of a linear trend over their "
    "order, in points a step. A single step may go the other way; the column of differences shows the least one.",
    "A number of the paper is compared by a prediction interval: ours may differ from it by as much as two such sets "
    "of runs would. It takes the paper's spread where that is published (ResNet-110: ± 0.16 over five runs), and ours "
    "otherwise; a number without a spread counts as one run. The claim is supported if ours lies inside, which does "
    "not prove that the two are equal.",
    "Where a run of a claim has one seed, nothing is tested between seeds. The claim is then called consistent or "
    "inconsistent (one run), or inconclusive, by noise that is known beforehand: the spread between seeds, pooled over "
    "the stored runs of the same net with the same number of iterations that have two seeds or more; where there are "
    "none, the binomial noise of an error p on N images, √(p(1−p)/N), with the N test images, or the N training images "
    "for a training error. It does not contain what another start changes. Without either the claim is inconclusive.",
    "The binomial noise is also the least variance that an error may have, so that equal seeds do not make p zero. Two "
    "nets are tested on the same images, which makes the noise of their difference smaller than that: the rule is the "
    "stricter for it.",
    "All p-values of the paper's claims in this table are corrected together (Holm 1979, Scandinavian Journal of "
    f"Statistics 6): supported and contradicted need a corrected p below {ALPHA:g}. Our own claims are corrected "
    "among themselves. `resrepro run` corrects over the claims of its experiment alone.",
    "Only the seeds that the experiment declares count; further ones are shown. A seed that diverged has the error of "
    "chance: 90 % on CIFAR-10, 99.9 % on ImageNet. A claim is not judged where a declared seed is damaged, or where a "
    "finished one lacks what is measured. Errors are those of the last iteration, unless the claim names a window of "
    "the schedule: then they are the mean of the run's curve over it.",
)
ONE_RUN = " (one run)"
Status = Literal[
    "supported", "consistent (one run)", "inconclusive", "contradicted", "inconsistent (one run)", "not run"
]
STATUSES: tuple[Status, ...] = get_args(Status)
# What a status is called where data or schedule are not the paper's: there nothing supports a claim of the paper.
ELSEWHERE: dict[Status, str] = {
    "supported": "holds here",
    "consistent (one run)": "holds here (one run)",
    "inconclusive": "inconclusive",
    "contradicted": "does not hold here",
    "inconsistent (one run)": "does not hold here (one run)",
    "not run": "not run",
}


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """Say whether a claim holds, and what decides.

    Args:
        detail: what was measured; of a claim that is not run, what is missing.
        values: what each run's declared seeds measured, by the run's name.
        further: likewise of stored seeds that are not declared, so that do not count.
        estimate: what is compared: a mean, a difference, a slope per step, or ours minus the paper's.
        p_value: corrected over the claims that were judged together; None if no noise is known, for then there is no
            test.
        noise: the noise that decides, in words.
    """

    claim: Claim
    status: Status
    detail: str
    values: dict[str, tuple[float, ...]] = field(default_factory=dict)
    further: dict[str, tuple[float, ...]] = field(default_factory=dict)
    estimate: Estimate | None = None
    p_value: float | None = None
    noise: str = ""

    @property
    def test(self) -> str:
        """Return what decided, in words."""
        if self.status == "not run":
            return ""
        if self.p_value is None:
            return "one run, and its noise is not known"
        sign = "" if self.claim.run and not self.claim.published else "+"
        low, high = (f"{end:{sign}.2f}" for end in self.interval or ())
        p = "p < 0.001" if self.p_value < 0.001 else f"p = {self.p_value:.3f}"
        return f"{_compared(self.claim)} {low} to {high}; {p}; {self.noise}"

    @property
    def interval(self) -> tuple[float, float] | None:
        """Return the interval of what is compared: of a number of the paper, where ours minus it may lie."""
        if self.estimate is None:
            return None
        low, high = self.estimate.interval()
        middle = self.estimate.value if self.claim.published else 0.0
        return low - middle, high - middle

    @property
    def one_run(self) -> bool:
        """Tell whether a run of the claim has a single seed."""
        return min(map(len, self.values.values()), default=0) == 1


def _compared(claim: Claim) -> str:
    if claim.published:
        return "prediction interval of the difference"
    if claim.run is not None:
        return f"{INTERVAL} of the mean"
    return f"{INTERVAL} of the {'slope per step' if claim.between else 'difference'}"


def decidable(experiment: Experiment) -> list[Claim]:
    """Return the claims that its runs can decide: without bounds on errors, the paper's numbers, under a variation."""
    if not experiment.is_varied:
        return list(experiment.claims)
    return [claim for claim in experiment.claims if claim.run is None or not is_error(claim.column)]


def judge(claims: Sequence[tuple[Experiment, Claim]], results_dir: Path) -> list[Verdict]:
    """Decide claims by RULE; the p-values of the paper's are corrected together, and those of ours."""
    spreads = SeedSpreads(results_dir)
    found = [_measure(experiment, claim, results_dir, spreads) for experiment, claim in claims]
    for ours in (False, True):
        tested = [i for i, v in enumerate(found) if v.p_value is not None and v.claim.ours == ours]
        for i, p in zip(tested, holm([found[i].p_value or 0.0 for i in tested]), strict=True):
            found[i] = replace(found[i], p_value=p, status=_status(found[i], p))
    return found


def _status(verdict: Verdict, p: float) -> Status:
    claim, estimate = verdict.claim, verdict.estimate
    assert estimate is not None
    if claim.published:
        holds = p >= ALPHA
    elif p >= ALPHA:
        return "inconclusive"
    else:
        low, high = _region(claim)
        holds = low < estimate.value < high
    if verdict.one_run:
        return "consistent (one run)" if holds else "inconsistent (one run)"
    return "supported" if holds else "contradicted"


def _region(claim: Claim) -> tuple[float, float]:
    """Return the bounds between which what is compared must lie."""
    if claim.published:
        return 0.0, 0.0
    if claim.run is None:
        return claim.min_difference_pct, _or(claim.max_difference_pct, math.inf)
    return _or(claim.above, -math.inf), _or(claim.below, math.inf)


def _or(value: float | None, otherwise: float) -> float:
    return otherwise if value is None else value


def _measure(experiment: Experiment, claim: Claim, results_dir: Path, spreads: SeedSpreads) -> Verdict:
    """Return the verdict before any correction for other claims."""
    values: dict[str, tuple[float, ...]] = {}
    further: dict[str, tuple[float, ...]] = {}
    noises: dict[str, Noise | None] = {}
    for name in claim.runs:
        seeds, others, why = declared_seeds(experiment, claim, name, results_dir)
        if not seeds:
            return Verdict(claim=claim, status="not run", detail=why)
        values[name], further[name] = tuple(value for value, _ in seeds), others
        noises[name] = _noise(claim, seeds, spreads)
    measured = Verdict(
        claim=claim,
        status="inconclusive",
        detail=_detail(claim, values),
        values=values,
        further={name: found for name, found in further.items() if found},
    )
    if claim.published:
        (name,) = claim.runs
        estimate, words = _beside_published(experiment, claim, values[name], noises[name])
    else:
        estimate, words = _compare(values, noises)
    if estimate is None:
        return measured
    bounds = [bound for bound in _region(claim) if math.isfinite(bound)]
    return replace(measured, estimate=estimate, p_value=min(1.0, estimate.p_of(*bounds)), noise=words)


def _compare(values: dict[str, tuple[float, ...]], noises: dict[str, Noise | None]) -> tuple[Estimate | None, str]:
    """Return a mean, a difference or a slope, and its noise in words; None where the noise of a run is not known."""
    means = [
        Mean(value=fmean(values[name]), num_seeds=len(values[name]), noise=noise)
        for name, noise in noises.items()
        if noise is not None
    ]
    if len(means) < len(noises):
        return None, ""
    return trend(means), in_words([mean.noise for mean in means])


def _beside_published(
    experiment: Experiment, claim: Claim, ours: tuple[float, ...], noise: Noise | None
) -> tuple[Estimate | None, str]:
    """Return our mean minus the paper's, and the noise in words: the paper's where it is published."""
    (name,) = claim.runs
    number = paper.published_error_pct(experiment.dataset, name, claim.protocol)
    assert number is not None  # checked where the experiment is read
    spread, num_published = paper.test_error_spread(experiment.dataset, name) or (None, 1)
    if spread is not None:
        words = f"the paper's spread between {num_published} seeds"
        noise = Noise(variance=spread**2, degrees=num_published - 1, words=words)
    return (None, "") if noise is None else (predicted(ours, number, num_published, noise), in_words([noise]))


def _noise(claim: Claim, seeds: list[tuple[float, RunRecord]], spreads: SeedSpreads) -> Noise | None:
    """Return the noise of one seed's value: of several their spread, of a single one what is known beforehand."""
    values, record = [value for value, _ in seeds], seeds[0][1]
    binomial = noise_of_images(record, claim, fmean(values))
    if len(values) > 1:
        return sample_noise(values, binomial)
    measured = spreads.of(record, claim)
    if measured is None or (binomial is not None and measured.variance < binomial.variance):
        return binomial
    return measured


def _detail(claim: Claim, values: dict[str, tuple[float, ...]]) -> str:
    read = MEASURES[claim.column]
    listed = ", ".join(f"{name} {fmean(found):.2f}{read.unit}" for name, found in values.items())
    counts = dict.fromkeys(str(len(found)) for found in values.values())
    return f"{read.words}{_window(claim)} {listed}, n = {' and '.join(counts)}"


def _window(claim: Claim) -> str:
    return {None: "", "plateau": " before the first drop of the rate,", "end": " of the last iterations,"}[claim.window]
