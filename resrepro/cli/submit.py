"""`resrepro submit`: runs as jobs of a Slurm cluster, by submitit."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Annotated, Any

import typer

from resrepro.cli.executors import check_submitit, run_here, submit_array
from resrepro.cli.job import Job
from resrepro.cli.options import (
    DEFAULT_DATA,
    DEFAULT_RESULTS,
    DataDir,
    DatasetName,
    ImageSize,
    PrecisionName,
    Resize,
    ResultsDir,
    Scale,
    SkipCorrupt,
    Workers,
    console,
    say,
)
from resrepro.cli.run import Names, Only, Seeds, asked_runs
from resrepro.config.run import Run, Variation
from resrepro.errors import UserError
from resrepro.files import user_errors
from resrepro.results.lock import RunLocked, hold
from resrepro.results.paths import RunFiles, run_files
from resrepro.results.status import run_status


def submit(
    names: Names,
    time_limit: Annotated[
        str, typer.Option("--time", help="Limit a job to this time, such as 1:00:00; then it is queued again.")
    ],
    partition: Annotated[
        str | None, typer.Option(help="Submit to this partition, not to the cluster's default.")
    ] = None,
    gpus: Annotated[int, typer.Option(help="Give each run this many GPUs of a node; 0: train on the CPU.", min=0)] = 1,
    nodes: Annotated[int, typer.Option(help="Give each run this many nodes.", min=1)] = 1,
    cpus: Annotated[int | None, typer.Option(help="Give each process this many cores.", min=1)] = None,
    sbatch: Annotated[
        list[str] | None, typer.Option(metavar="KEY=VALUE", help="Pass another option to sbatch, such as account=me.")
    ] = None,
    local: Annotated[bool, typer.Option("--local", help="Run the same jobs here, one by one, without Slurm.")] = False,
    seeds: Seeds = None,
    only: Only = None,
    precision: PrecisionName = "auto",
    data_dir: DataDir = DEFAULT_DATA,
    results_dir: ResultsDir = DEFAULT_RESULTS,
    dataset: DatasetName = None,
    schedule_scale: Scale = 1.0,
    image_size: ImageSize = None,
    resize: Resize = None,
    workers: Workers = None,
    skip_corrupt: SkipCorrupt = False,
) -> None:
    """Train the unfinished runs of experiments as Slurm jobs.

    Submit an array with a task for each run. A job that is preempted, or reaches its time limit, writes a checkpoint
    and is requeued.
    """
    limit_min = minutes(time_limit)
    further = dict(_pair(text) for text in sbatch or ())
    variation = Variation(dataset=dataset, schedule_scale=schedule_scale, image_size=image_size, resize=resize)
    selection = asked_runs(names, variation, seeds=seeds, only=only, data_dir=data_dir)
    missing, held = _to_train(results_dir, selection.runs)
    options = {"results_dir": results_dir.resolve(), "data_dir": data_dir.resolve(), "skip_corrupt": skip_corrupt}
    jobs = [
        Job(runs, "cuda" if gpus else "cpu", precision, {**options, "num_workers": workers})
        for runs in _together(missing)
    ]
    if not jobs:
        console.print("all other runs are finished" if held else "all runs are finished")
        return
    of_slurm = {"--partition": partition, "--nodes": nodes if nodes > 1 else None, "--cpus": cpus, "--sbatch": sbatch}
    _check_place(of_slurm, gpus, precision, local=local)
    folder = results_dir.resolve() / "jobs"
    with user_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
    _download(missing, data_dir)
    if local:
        run_here(folder, jobs, limit_min, gpus)
        _report(missing, results_dir, folder)
        return
    asked = {"partition": partition, "nodes": nodes, "gpus_per_node": gpus or None, "cpus_per_task": cpus}
    number = submit_array(folder, jobs, limit_min, ntasks_per_node=max(1, gpus), additional_parameters=further, **asked)
    say(f"job {number}: {len(jobs)} task(s); their output: {folder}")
    say(f"next:   resrepro watch   (or: squeue --job {number}; scancel {number})")


def minutes(text: str) -> int:
    """Read a time as Slurm writes it: `90` and `90:00` are minutes, then `1:30:00`, `2-12`, `2-12:00`, `2-12:00:00`.

    Raises:
        UserError: it is no such time, or less than a minute.
    """
    match = re.fullmatch(r"(?:(\d+)-)?(\d+)(?::(\d\d))?(?::(\d\d))?", text)
    if match:
        days, first, second, third = match.groups()
        found = 24 * 60 * int(days or 0)
        found += int(first) if days is third is None else 60 * int(first) + int(second or 0)
        if found:
            return found
    raise UserError(f"--time {text}: expected at least a minute, such as 90, 1:30:00 or 2-00:00:00")


def _pair(text: str) -> tuple[str, str]:
    key, equals, value = text.removeprefix("--").partition("=")
    if not key or not equals:
        raise UserError(f"--sbatch {text}: expected KEY=VALUE, such as account=me")
    return key, value


def _to_train(results_dir: Path, runs: list[Run]) -> tuple[list[Run], list[Run]]:
    """Return the runs that are not finished, and apart those that other processes train, with what starts from them."""
    from resrepro.training.runner import missing_runs

    missing = missing_runs(results_dir, runs)
    training = [run for run in missing if _is_held(run_files(results_dir, run))]
    held = [run for run in missing if run in training or run.start_from in training]
    return [run for run in missing if run not in held], held


def _together(missing: list[Run]) -> list[list[Run]]:
    """Return the runs of each job: one, but those that start from the weights of a run are in its job, after it."""
    jobs: dict[Run, list[Run]] = {}
    for run in missing:
        jobs.setdefault(run.start_from or run, []).append(run)
    return list(jobs.values())


def _is_held(files: RunFiles) -> bool:
    """Tell whether another process trains the run, such as a job of an earlier submit; say which."""
    if not files.holder.exists():
        return False
    try:
        with hold(files):  # a machine that failed leaves the holder's name, but no lock
            return False
    except RunLocked as locked:
        say(f"left out: {locked}")
        return True


def _download(missing: list[Run], data_dir: Path) -> None:
    """Have the datasets before the jobs start: a cluster's nodes often reach no network."""
    from resrepro.data.dataset import DataOptions
    from resrepro.data.loading import is_there, load_for

    for run in missing:
        if not is_there(run.dataset, data_dir=data_dir):
            load_for(run.recipe, run.dataset, DataOptions(data_dir=data_dir))


def _check_place(of_slurm: dict[str, Any], gpus: int, precision: str, *, local: bool) -> None:
    """Check that the jobs can be submitted from here, or run here.

    Args:
        of_slurm: the options that Slurm alone has.

    Raises:
        UserError: no submitit, no Slurm; or not so many GPUs here, not this precision, or an option of Slurm.
    """
    check_submitit()
    if local:
        given = [option for option, value in of_slurm.items() if value is not None]
        if given:
            raise UserError(f"--local: runs the jobs without Slurm, whose option {given[0]} is; leave one of them out")
        import torch

        from resrepro.runtime.device import choose

        found = torch.cuda.device_count()
        if gpus > found:
            raise UserError(f"--gpus {gpus}: {found} CUDA device(s) here; --gpus 0 trains on the CPU")
        choose("cuda" if gpus else "cpu", precision)
    elif shutil.which("sbatch") is None or shutil.which("srun") is None:
        raise UserError("submit: there is no sbatch here; give the command on a machine of the cluster, or add --local")


def _report(runs: list[Run], results_dir: Path, folder: Path) -> None:
    """Say which runs have not been finished here."""
    left = [status for run in runs if (status := run_status(results_dir, run)).record is None]
    for status in left:
        typer.echo(f"error: {status.name}: {status.problem or status}; its output is in {folder}", err=True)
    if left:
        raise typer.Exit(1)
    console.print(f"{len(runs)} run(s) finished")
