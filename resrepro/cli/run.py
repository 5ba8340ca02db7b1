"""`resrepro run`."""

from __future__ import annotations

from typing import Annotated

import typer

from resrepro.cli.experiments import _experiments
from resrepro.cli.options import (
    DEFAULT_DATA,
    DEFAULT_RESULTS,
    DataDir,
    DatasetName,
    Device,
    ImageSize,
    Jobs,
    PrecisionName,
    ResultsDir,
    Scale,
    SkipCorrupt,
    Workers,
    console,
    numbers,
)
from resrepro.config.experiment import Experiment
from resrepro.errors import UserError, did_you_mean


def _num_jobs(text: str) -> int | None:
    if text == "auto":
        return None
    if not text.isascii() or not text.isdigit() or int(text) < 1:
        raise UserError(f"--jobs {text}: expected auto, or how many runs at once, such as 4")
    return int(text)


def _names(text: str | None) -> tuple[str, ...] | None:
    return None if text is None else tuple(part.strip() for part in text.split(","))


def _restricted(
    experiments: list[Experiment], only: tuple[str, ...] | None
) -> list[tuple[Experiment, tuple[str, ...] | None]]:
    """Each experiment with those of its runs that `--only` names; an experiment without any is left out."""
    if only is None:
        return [(experiment, None) for experiment in experiments]
    known = list(dict.fromkeys(name for experiment in experiments for name in experiment.run_names()))
    for name in only:
        if name not in known:
            raise UserError(f"--only: there is no run '{name}'{did_you_mean(name, known)}")
    chosen = [(e, tuple(name for name in only if name in e.run_names())) for e in experiments]
    return [(experiment, these) for experiment, these in chosen if these]


def run(
    names: Annotated[
        list[str],
        typer.Argument(
            metavar="NAME|PATH.toml|all", show_default=False, help="Name experiments; all means those of the paper."
        ),
    ],
    seeds: Annotated[
        str | None, typer.Option(help="Train these seeds instead of the experiment's, such as 0,1,2.")
    ] = None,
    only: Annotated[str | None, typer.Option(help="Train only these runs, such as plain20,plain56.")] = None,
    device: Device = "auto",
    precision: PrecisionName = "auto",
    data_dir: DataDir = DEFAULT_DATA,
    results_dir: ResultsDir = DEFAULT_RESULTS,
    dataset: DatasetName = None,
    schedule_scale: Scale = 1.0,
    image_size: ImageSize = None,
    jobs: Jobs = "auto",
    workers: Workers = None,
    skip_corrupt: SkipCorrupt = False,
) -> None:
    """Train the runs of an experiment that are not finished.

    To resume a stopped run, give the same command again. A finished run is not trained again.
    """
    its_seeds = None if seeds is None else numbers("--seeds", seeds)
    num_jobs = _num_jobs(jobs)
    experiments = [
        (
            original,
            original.variant(
                dataset=dataset, schedule_scale=schedule_scale, image_size=image_size, seeds=its_seeds, only=these
            ),
        )
        for original, these in _restricted(_experiments(names), _names(only))
    ]
    from resrepro.data.loading import at_hand

    for _, experiment in experiments if names == ["all"] else ():
        if not at_hand(experiment.dataset, data_dir=data_dir):
            console.print(f"left out: {experiment.name} (no {experiment.dataset} in {data_dir})", soft_wrap=True)
    if names == ["all"]:
        experiments = [(o, e) for o, e in experiments if at_hand(e.dataset, data_dir=data_dir)]
    runs = list({run.path: run for _, experiment in experiments for run in experiment.runs}.values())

    from resrepro.cli.outcome import print_outcome
    from resrepro.cli.progress import TerminalReporter
    from resrepro.runtime import device as devices
    from resrepro.runtime.distributed import World
    from resrepro.training.runner import Runner, Stopped

    world = World.from_environment()
    console.quiet = not world.is_rank_zero
    with world.process_group():
        compute = devices.choose(world.device(device), precision)
        where = compute.name if world.size == 1 else f"{world.size} x {compute.name}"
        console.print(f"{len(runs)} run(s) on {where}, {compute.precision}", soft_wrap=True)
        try:
            with TerminalReporter(console) as reporter:
                runner = Runner(
                    results_dir=results_dir, data_dir=data_dir, compute=compute, reporter=reporter, world=world,
                    num_workers=workers, skip_corrupt=skip_corrupt,
                )  # fmt: skip
                errors, code = runner.run_all(runs, num_jobs), 0
        except Stopped as stopped:
            console.print(f"{stopped}; the same command goes on from there", soft_wrap=True)
            errors, code = [], 128 + stopped.signal_number
        if code == 0 and world.is_rank_zero:
            for original, experiment in experiments:
                print_outcome(console, original, experiment, results_dir)
    for error in errors:
        typer.echo(f"error: {error}", err=True)
    if errors or code:
        raise typer.Exit(code or 1)
