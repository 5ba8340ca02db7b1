"""`resrepro run`."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from resrepro.cli.options import (
    DEFAULT_DATA,
    DEFAULT_RESULTS,
    DataDir,
    DatasetName,
    Devices,
    ImageSize,
    Jobs,
    PrecisionName,
    Processes,
    Resize,
    ResultsDir,
    Scale,
    SkipCorrupt,
    Workers,
    console,
    numbers,
    say,
)
from resrepro.config.run import Run, Variation
from resrepro.config.selection import Selection, select_runs
from resrepro.errors import UserError

if TYPE_CHECKING:
    from resrepro.runtime.distributed import World

BUSY = 0.75  # of the cores
Log = Annotated[
    str | None, typer.Option(help="Also write the curves as events for this program: tensorboard.", metavar="NAME")
]
DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Say what would be trained and how long it would take here; train nothing.")
]


def _num_jobs(text: str) -> int | None:
    if text == "auto":
        return None
    if not re.fullmatch("[1-9][0-9]{0,5}", text):
        raise UserError(f"--jobs {text}: expected auto, or how many runs at once, such as 4")
    return int(text)


Names = Annotated[
    list[str],
    typer.Argument(
        metavar="NAME|PATH.toml|all", show_default=False, help="Name experiments; all means those of the paper."
    ),
]
Seeds = Annotated[str | None, typer.Option(help="Train these seeds instead of the experiment's, such as 0,1,2 or 0-4.")]
Only = Annotated[str | None, typer.Option(help="Train only these runs, such as plain20,plain56.")]


def asked_runs(
    names: list[str], variation: Variation, *, seeds: str | None, only: str | None, data_dir: Path
) -> Selection:
    """Return the runs that the options ask for, and print what is left out. Raises as `select_runs` does."""

    def at_hand(dataset: str) -> bool:
        from resrepro.data import loading  # with torch, which a mistyped name need not wait for

        return loading.at_hand(dataset, data_dir=data_dir)

    selection = select_runs(
        names,
        variation,
        seeds=None if seeds is None else numbers("--seeds", seeds),
        only=None if only is None else [part.strip() for part in only.split(",")],
        at_hand=at_hand,
    )
    for experiment in selection.left_out:
        say(f"left out: {experiment.name} (no {experiment.dataset} in {data_dir})")
    return selection


def run(
    names: Names,
    seeds: Seeds = None,
    only: Only = None,
    device: Devices = "auto",
    precision: PrecisionName = "auto",
    data_dir: DataDir = DEFAULT_DATA,
    results_dir: ResultsDir = DEFAULT_RESULTS,
    dataset: DatasetName = None,
    schedule_scale: Scale = 1.0,
    image_size: ImageSize = None,
    resize: Resize = None,
    jobs: Jobs = "auto",
    processes: Processes = 1,
    workers: Workers = None,
    skip_corrupt: SkipCorrupt = False,
    log: Log = None,
    dry_run: DryRun = False,
) -> None:
    """Train the unfinished runs of experiments.

    To resume a stopped run, give the same command again. A finished run is not trained again.
    """
    if log not in (None, "tensorboard"):
        raise UserError(f"--log {log}: expected tensorboard")
    variation = Variation(dataset=dataset, schedule_scale=schedule_scale, image_size=image_size, resize=resize)
    num_jobs, selection = _num_jobs(jobs), asked_runs(names, variation, seeds=seeds, only=only, data_dir=data_dir)

    from resrepro.cli.outcome import print_outcome
    from resrepro.runtime.distributed import World

    world = World.from_environment()
    console.quiet = not world.is_rank_zero
    if dry_run or ({*names} == {"all"} and world.size == 1):
        _print_plan(selection, results_dir, data_dir, world, device, precision, processes)
    if dry_run:
        return
    with world.process_group():
        errors, code = _train(
            selection.runs, num_jobs, device, precision, processes, world=world, results_dir=results_dir,
            events=log is not None, data_dir=data_dir, num_workers=workers, skip_corrupt=skip_corrupt,
        )  # fmt: skip
        if code == 0 and world.is_rank_zero:
            for experiment, runs in selection.experiments:
                problems = print_outcome(experiment, runs, results_dir)
                errors += [problem for problem in problems if not any(problem in error for error in errors)]
    for error in errors:
        typer.echo(f"error: {error}", err=True)
    if errors or code:
        raise typer.Exit(code or 1)


def _print_plan(
    selection: Selection, results_dir: Path, data_dir: Path, world: World, device: str, precision: str, processes: int
) -> None:
    from resrepro.cli.plan import print_plan
    from resrepro.runtime.device import choose

    devices = _devices(world, device, processes)
    num_devices = 1 if processes > 1 else len(devices)
    print_plan(selection, results_dir, data_dir, choose(devices[0], precision), num_devices)


def _train(
    runs: list[Run],
    jobs: int | None,
    device: str,
    precision: str,
    processes: int,
    *,
    world: World,
    results_dir: Path,
    events: bool,
    **options: Any,
) -> tuple[list[str], int]:
    """Train the runs in this process; where there are several devices and unfinished runs, in a process for each.

    Args:
        events: whether curve points are also written for TensorBoard.
        options: those of `Runner`.

    Returns:
        The errors, one line each; and the exit code where a signal stopped the process, else 0.
    """
    from resrepro.cli.progress import TerminalReporter
    from resrepro.cli.tensorboard import TensorBoardReporter
    from resrepro.runtime.device import choose
    from resrepro.training.dispatcher import Dispatcher
    from resrepro.training.runner import Runner, Stopped, missing_runs

    devices = _devices(world, device, processes)
    if len(devices) > 1:
        devices = devices[: max(1, len(missing_runs(results_dir, runs)))]
    compute = choose(devices[0], precision)
    where = compute.name if len(devices) == world.size == 1 else f"{len(devices) * world.size} x {compute.name}"
    lacking = "; no CUDA device here" if device == "auto" and compute.device.type == "cpu" else ""
    busy = _busy() if compute.device.type == "cpu" and len(devices) == 1 and jobs in (None, 1) else ""
    say(f"{len(runs)} run(s) on {where}, {compute.precision}{lacking}{busy}")
    try:
        with TerminalReporter(console) as terminal:
            log = TensorBoardReporter(terminal, results_dir) if events and world.is_rank_zero else None
            trainer: Runner | Dispatcher
            if len(devices) > 1:
                trainer = Dispatcher(results_dir, devices, precision, log or terminal, options)
            else:
                trainer = Runner(results_dir, compute=compute, reporter=log or terminal, world=world, **options)
            errors = trainer.run_all(runs, jobs)
            if log is not None:
                log.write_finished(runs)
            return errors, 0
    except Stopped as stopped:
        say(f"{stopped}; the same command goes on from there")
        return [], 128 + stopped.signal_number


def _busy() -> str:
    """Say what helps where other programs use the cores on which several threads would wait for each other."""
    import torch

    from resrepro.runtime.machine import busy_cores, num_cores

    if torch.get_num_threads() == 1 or (load := busy_cores()) < BUSY * num_cores():
        return ""
    return f"; other programs use the cores ({load:.1f} of {num_cores()}): OMP_NUM_THREADS=1 may be much faster"


def _devices(world: World, device: str, processes: int) -> list[str]:
    """Return the device of each process that trains runs of its own."""
    from resrepro.runtime.device import choose, spread

    if world.size > 1:
        if processes > 1:
            raise UserError(f"--processes {processes}: torchrun has started the processes already; leave it out")
        return [world.device(device)]
    devices = spread(device)
    if processes == 1:
        return devices
    if choose(devices[0], "fp32").device.type != "cpu":
        raise UserError(f"--processes {processes}: each GPU has one process; --jobs trains several runs on each")
    return ["cpu"] * processes
