"""Whether a claim of the paper holds in our runs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from resrepro import results
from resrepro.experiment import Claim, Experiment
from resrepro.records import CurvePoint


@dataclass(frozen=True, kw_only=True)
class Verdict:
    claim: Claim
    status: Literal["reproduced", "not reproduced", "not run"]
    detail: str


def judge(experiment: Experiment, claim: Claim, results_dir: Path) -> Verdict:
    """Rule: reproduced if `higher`'s error at the last iteration, the mean over the finished seeds, is above
    `lower`'s by more than `min_difference_pct`. A claim whose runs are missing or diverged is not judged.
    """
    ends: dict[str, list[CurvePoint]] = {}
    for name in (claim.higher, claim.lower):
        runs = [run for run in experiment.runs if run.name == name]
        found = results.with_found_seeds(results_dir, runs) if runs else []
        records = [(run, results.finished(results_dir, run)) for run in found]
        done = [run for run, record in records if record is not None and record.status == "finished"]
        if not done:
            state = "diverged" if any(record is not None for _, record in records) else "not finished"
            return Verdict(claim=claim, status="not run", detail=f"{name} {state}")
        ends[name] = [results.read_points(results.run_files(results_dir, run))[-1] for run in done]
    higher, lower = claim.mean(ends[claim.higher]), claim.mean(ends[claim.lower])
    holds = higher - lower > claim.min_difference_pct
    seeds = (
        f"n = {len(ends[claim.higher])}"
        if len(ends[claim.higher]) == len(ends[claim.lower])
        else (f"n = {len(ends[claim.higher])} and {len(ends[claim.lower])}")
    )
    kind = "training" if claim.column == "train_error_pct" else "test"
    return Verdict(
        claim=claim,
        status="reproduced" if holds else "not reproduced",
        detail=f"{kind} error {claim.higher} {higher:.2f} %, {claim.lower} {lower:.2f} %, {seeds}",
    )
