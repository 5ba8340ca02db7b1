"""Find the seeds whose measured values a claim compares, or say what is missing."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

from resrepro import results
from resrepro.config.experiment import Claim, Experiment
from resrepro.errors import UserError
from resrepro.paper import EvaluationProtocol
from resrepro.report.measures import MEASURES, read_value
from resrepro.results.analyses import read_responses
from resrepro.results.digests import damaged_files
from resrepro.results.paths import RunFiles
from resrepro.results.records import RunRecord


@dataclass(frozen=True, kw_only=True)
class Seed:
    """Hold what a claim compares, as a seed of a run measured it."""

    value: float
    files: RunFiles
    record: RunRecord


def declared_seeds(
    experiment: Experiment, claim: Claim, name: str, results_dir: Path
) -> tuple[list[Seed], tuple[float, ...], str]:
    """Read what the seeds of a run measured.

    Returns:
        The declared seeds, and the values of further ones; or none and the reason, also if not all declared seeds that
        finished may count.
    """
    runs = [run for run in experiment.runs if run.name == name]
    records, problems = results.read_finished_seeds(results_dir, runs)
    declared, further, lacking = [], [], []
    for run, record in records.items():
        files = results.run_files(results_dir, run)
        try:
            if damaged := damaged_files(files.csvs, record):
                raise UserError(damaged[0])
            value = read_value(files, record, claim)
        except (UserError, OSError) as error:
            problems[run] = str(error)
            continue
        if run not in runs:
            further += [] if value is None else [value]
        elif value is None:
            lacking.append((files, record))
        else:
            declared.append(Seed(value=value, files=files, record=record))
    for run in runs:  # a damaged seed that is not declared is named where runs are shown
        if run in problems:
            return [], (), problems[run]
    if lacking:
        return [], (), _why_lacking(claim, name, lacking)
    seeds = ", ".join(str(run.seed) for run in runs)
    why = f"{name} not finished" + (f" with seed {seeds}, which the experiment declares" if further else "")
    return declared, tuple(further), "" if declared else why


def ensemble(experiment: Experiment, claim: Claim, results_dir: Path) -> tuple[list[Seed], str]:
    """Read what all runs of an experiment measured together: one value, or none and the reason."""
    runs = {run.path.as_posix(): run for run in experiment.runs}
    try:
        records = {name: results.read_finished(results_dir, run) for name, run in runs.items()}
        found = results.ensembles(results_dir, experiment.dataset)
    except (UserError, OSError) as error:
        return [], str(error)
    missing = [name for name, record in records.items() if record is None or record.status != "finished"]
    if missing:
        return [], f"{missing[0]} not finished"
    its = [e.reestimated for e in found if {*e.members} == {*runs} and e.as_in_paper(claim.protocol)]
    value = None if not its else its[-1].top5_pct if claim.top == 5 else its[-1].top1_pct
    if value is None:
        return [], f"to measure: `{evaluate_command([results_dir / name for name in runs], claim.protocol)} --ensemble`"
    first = next(record for record in records.values() if record is not None)
    return [Seed(value=value, files=results.run_files(results_dir, experiment.runs[0]), record=first)], ""


def _why_lacking(claim: Claim, name: str, lacking: list[tuple[RunFiles, RunRecord]]) -> str:
    diverged = [record.seed for _, record in lacking if record.status == "diverged"]
    if diverged:
        return f"{name} diverged with seed {', '.join(map(str, diverged))}"
    if claim.protocol != "single view" or claim.top == 5:
        return f"to measure: `{evaluate_command([files.folder for files, _ in lacking], claim.protocol)}`"
    if claim.column == "lesion_rise_pct":
        return f"to measure: `resrepro lesions {shlex.quote(str(lacking[0][0].folder))}`"
    return f"{name} has no record of: {MEASURES[claim.column].words}"


def evaluate_command(folders: Iterable[Path], protocol: EvaluationProtocol) -> str:
    """Return the command that tests runs under a protocol."""
    option = "" if protocol == "single view" else f" --protocol {protocol}"
    return f"resrepro evaluate {shlex.join(map(str, folders))}{option}"


def layers_of(seeds: Sequence[Seed]) -> list[float]:
    """Return the response of each layer, the mean over seeds of a run."""
    of_seeds = [[row.std for row in read_responses(seed.files, seed.record.arch)] for seed in seeds]
    return [fmean(stds) for stds in zip(*of_seeds, strict=False)]
