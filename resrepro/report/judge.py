"""Decide whether a claim of the paper holds in our runs: one rule, which the report's page states in words."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from statistics import fmean

from resrepro import paper
from resrepro.config.experiment import Claim, Experiment
from resrepro.report.comparison import image_by_image
from resrepro.report.measures import MEASURES, counted, is_error
from resrepro.report.noise import SeedSpreads, known_noise
from resrepro.report.seeds import Seed, declared_seeds, ensemble, layers_of
from resrepro.report.statistics import (
    ALPHA,
    Estimate,
    Mean,
    Noise,
    holm,
    in_words,
    minus,
    predicted,
    rank_test,
    sample_noise,
    trend,
)
from resrepro.report.verdict import Status, Verdict
from resrepro.results.paths import folder_with_runs


def decidable(experiment: Experiment) -> list[Claim]:
    """Return the claims that its runs can decide: under a variation, those that do not name a value of the paper's."""
    if not experiment.is_varied:
        return list(experiment.claims)
    return [claim for claim in experiment.claims if not _names_a_papers_value(claim)]


def _names_a_papers_value(claim: Claim) -> bool:
    bound = not claim.is_order and (is_error(claim.column) or claim.column == "response_level")
    return bound or claim.published or claim.is_counted


def judge(claims: Sequence[tuple[Experiment, Claim]], results_dir: Path) -> list[Verdict]:
    """Decide claims by `rule.RULE`; the p-values of the paper's are corrected together, and those of ours."""
    spreads = SeedSpreads(results_dir)
    found = [_measure(experiment, claim, results_dir, spreads) for experiment, claim in claims]
    for ours in (False, True):
        tested = [i for i, v in enumerate(found) if v.p_value is not None and v.claim.ours == ours]
        for i, p in zip(tested, holm([found[i].p_value or 0.0 for i in tested]), strict=True):
            found[i] = replace(found[i], p_value=p, status=_status(found[i], p))
    return found


def _status(verdict: Verdict, p: float) -> Status:
    """Decide by the verdict's own p-value, and by the corrected one, `p`."""
    claim, low_high = verdict.claim, _region(verdict.claim)
    inside = claim.published and verdict.p_value is not None and verdict.p_value >= ALPHA
    if p >= ALPHA and not inside:
        return "inconclusive"
    if claim.published:
        holds = inside
    elif verdict.ranks is not None:
        holds = verdict.ranks.effect > 0
    else:
        assert verdict.estimate is not None
        holds = low_high[0] < verdict.estimate.value < low_high[1]
    if verdict.one_run:
        return "consistent (one run)" if holds else "inconsistent (one run)"
    return "supported" if holds else "contradicted"


def _region(claim: Claim) -> tuple[float, float]:
    """Return the bounds between which what is compared must lie."""
    if claim.published:
        return 0.0, 0.0
    if claim.is_order:
        return claim.min_difference_pct, _or(claim.max_difference_pct, math.inf)
    return _or(claim.above, -math.inf), _or(claim.below, math.inf)


def _or(value: float | None, otherwise: float) -> float:
    return otherwise if value is None else value


def _measure(experiment: Experiment, claim: Claim, results_dir: Path, spreads: SeedSpreads) -> Verdict:
    """Return the verdict before any correction for other claims."""
    if claim.is_counted:
        return _count(claim)
    results_dir = folder_with_runs(results_dir, experiment.name, experiment.runs)
    seeds: dict[str, list[Seed]] = {}
    further: dict[str, tuple[float, ...]] = {}
    for name in claim.runs:
        if claim.ensemble:
            further[name], (seeds[name], why) = (), ensemble(experiment, claim, results_dir)
        else:
            seeds[name], further[name], why = declared_seeds(experiment, claim, name, results_dir)
        if not seeds[name]:
            return Verdict(claim=claim, status="not run", detail=why)
    values = {name: tuple(seed.value for seed in its) for name, its in seeds.items()}
    measured = Verdict(
        claim=claim,
        status="inconclusive",
        detail=_detail(claim, values),
        values=values,
        further={name: found for name, found in further.items() if found},
    )
    if claim.by_rank:
        ranks = rank_test([layers_of(its) for its in seeds.values()])
        return replace(measured, ranks=ranks, p_value=ranks.p_value)
    noises = {name: _noise(claim, its, spreads) for name, its in seeds.items()}
    if claim.published:
        estimate, words = _beside_published(experiment, claim, values, noises)
    else:
        estimate, words = _compare(values, noises)
        if claim.column == "test_error_pct" and claim.protocol == "single view" and not claim.window:
            words += image_by_image([*seeds.values()])
    if estimate is None:
        return measured
    bounds = [bound for bound in _region(claim) if math.isfinite(bound)]
    return replace(measured, estimate=estimate, p_value=min(1.0, estimate.p_of(*bounds)), noise=words)


def _count(claim: Claim) -> Verdict:
    """Decide a claim on multiply-adds, which nothing has to be run for and which have no noise."""
    found = [counted(name, claim.column) for name in claim.runs]
    apart = [high - low for high, low in pairwise(found)] or found
    low, high = _region(claim)
    holds = all(low < value < high for value in apart)
    values: dict[str, tuple[float, ...]] = {name: (count,) for name, count in zip(claim.runs, found, strict=True)}
    detail = _detail(claim, values)
    return Verdict(claim=claim, status="supported" if holds else "contradicted", detail=detail, values=values)


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
    experiment: Experiment, claim: Claim, values: dict[str, tuple[float, ...]], noises: dict[str, Noise | None]
) -> tuple[Estimate | None, str]:
    """Return ours minus the paper's, of a run or of the difference of two, and the noise in words."""
    found, known = [], []
    for name in claim.runs:
        number = paper.published_error_pct(experiment.dataset, name, claim.protocol, claim.top)
        assert number is not None  # checked where the experiment is read
        spread, num_published = paper.test_error_spread(experiment.dataset, name) or (None, 1)
        noise = noises[name]
        if spread is not None:
            words = f"the paper's spread between {num_published} seeds"
            noise = Noise(variance=spread**2, degrees=num_published - 1, words=words)
        if noise is None:
            return None, ""
        known.append(noise)
        found.append(predicted(values[name], number, num_published, noise))
    return found[0] if len(found) == 1 else minus(*found), in_words(known)


def _noise(claim: Claim, seeds: list[Seed], spreads: SeedSpreads) -> Noise | None:
    """Return the noise of one seed's value: of several their spread, of a single one what is known beforehand."""
    values = [seed.value for seed in seeds]
    known = known_noise(seeds[0], claim, fmean(values))
    if len(values) > 1:
        return sample_noise(values, known)
    measured = None if claim.ensemble else spreads.of(seeds[0].record, claim)
    if measured is None or (known is not None and measured.variance < known.variance):
        return known
    return measured


def _detail(claim: Claim, values: dict[str, tuple[float, ...]]) -> str:
    read = MEASURES[claim.column]
    listed = ", ".join(f"{name} {fmean(found):.2f}{read.unit}" for name, found in values.items())
    counts = dict.fromkeys(str(len(found)) for found in values.values())
    n = "" if claim.is_counted else f", n = {' and '.join(counts)}"
    when = {None: "", "plateau": " before the first drop of the rate,", "end": " of the last iterations,"}[claim.window]
    return f"{read.words}{when} {listed}{n}"
