"""Whether a claim of the paper holds in our runs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Literal

from resrepro import results
from resrepro.experiment import Claim, Experiment


@dataclass(frozen=True, kw_only=True)
class Verdict:
    claim: Claim
    status: Literal["reproduced", "not reproduced", "not run"]
    detail: str


def judge(experiment: Experiment, claim: Claim, results_dir: Path) -> Verdict:
    """Rule: reproduced if `higher`'s error at the last iteration, the mean over the finished seeds, is above
    `lower`'s by more than `min_difference_pct`. A claim whose runs are missing or diverged is not judged.
    """
    errors: dict[str, list[float]] = {}
    for name in (claim.higher, claim.lower):
        runs = [run for run in experiment.runs if run.name == name]
        records = [results.finished(results_dir, run) for run in results.with_found_seeds(results_dir, runs)]
        ends = [getattr(record, f"final_{claim.column}") for record in records if record is not None]
        errors[name] = [end for end in ends if end is not None]
        if not errors[name]:
            return Verdict(claim=claim, status="not run", detail=f"{name} {'diverged' if ends else 'not finished'}")
    higher, lower = (fmean(errors[name]) for name in (claim.higher, claim.lower))
    holds = higher - lower > claim.min_difference_pct
    counts = [str(len(errors[name])) for name in (claim.higher, claim.lower)]
    kind = "training" if claim.column == "train_error_pct" else "test"
    return Verdict(
        claim=claim,
        status="reproduced" if holds else "not reproduced",
        detail=f"{kind} error {claim.higher} {higher:.2f} %, {claim.lower} {lower:.2f} %, "
        f"n = {' and '.join(dict.fromkeys(counts))}",
    )
