"""The commands about experiments: parse, call, print. Each imports torch or pandas only if it needs them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from resrepro import results
from resrepro.errors import UserError, did_you_mean
from resrepro.experiment import Experiment, Run
from resrepro.experiment_files import experiment_names, find_experiment
from resrepro.options import (
    DEFAULT_DATA,
    DEFAULT_RESULTS,
    DataDir,
    DatasetName,
    Device,
    ImageSize,
    Jobs,
    PrecisionName,
    ReadDir,
    ResultsDir,
    Scale,
    SkipCorrupt,
    Workers,
    app,
    console,
    numbers,
)
from resrepro.recipe import SWITCHES


def _experiments(names: list[str]) -> list[Experiment]:
    """`all` is what reproduces the paper; without names it is every one."""
    if names and names != ["all"]:
        return [find_experiment(name) for name in names]
    every = [find_experiment(name) for name in experiment_names()]
    return [e for e in every if not (names and e.beyond_paper)]


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


@app.command("list")
def list_experiments(results_dir: ReadDir = DEFAULT_RESULTS) -> None:
    """All experiments, and how far each is."""
    table = Table(box=None, header_style="bold")
    table.add_column("experiment", no_wrap=True)
    for column in ("reproduces", "data", "finished", "cost"):
        table.add_column(column)
    problems: list[str] = []
    for name in experiment_names():
        experiment = find_experiment(name)
        states = [_state(results_dir, run, problems)[0] for run in experiment.runs]
        finished = f"{sum(state in ('finished', 'diverged') for state in states)}/{len(states)}"
        finished += ", damaged" if "damaged" in states else ""
        table.add_row(name, experiment.reproduces, experiment.dataset, finished, experiment.cost)
    console.print(table)
    _print_problems(problems)
    console.print("\nresrepro show NAME tells more; resrepro run NAME trains what is missing.")


@app.command()
def show(name: str, results_dir: ReadDir = DEFAULT_RESULTS) -> None:
    """One experiment: recipe, runs, what to expect."""
    experiment = find_experiment(name)
    console.print(f"{experiment.title}  ({experiment.reproduces})", style="bold")
    console.print(
        f"data    {experiment.dataset}\ncost    {experiment.cost}\nexpect  {experiment.expect}", soft_wrap=True
    )
    recipe = experiment.runs[0].recipe
    console.print(
        f"recipe  {recipe.total_iters} iterations of {recipe.batch_size}, lr {recipe.lr:g} divided by 10 at "
        f"{', '.join(map(str, recipe.lr_drop_iters)) or 'no iteration'}, momentum {recipe.momentum:g}, "
        f"weight decay {recipe.weight_decay:g}\n"
        f"        {', '.join(f'{name} = {getattr(recipe, name)}' for name in SWITCHES)}",
        soft_wrap=True,
    )
    table = Table("run", "seed", "recipe differs in", "state", "test error (%)", box=None, header_style="bold")
    problems: list[str] = []
    for run in experiment.runs:
        differences = ", ".join(f"{key} = {value}" for key, value in run.recipe if value != getattr(recipe, key))
        state, error = _state(results_dir, run, problems)
        table.add_row(run.name, str(run.seed), differences, state, error)
    console.print(table)
    _print_problems(problems)
    console.print(f"\nresrepro run {name}\nresrepro plot {name}")


def _state(results_dir: Path, run: Run, problems: list[str]) -> tuple[str, str]:
    """In words, with the test error if it is finished; what is wrong with its files is appended to `problems`."""
    try:
        record = results.finished(results_dir, run)
        if record is not None:
            error = record.final_test_error_pct
            return record.status, "" if error is None else f"{error:.2f}"
        points = results.read_points(results.run_files(results_dir, run))
    except UserError as error:
        problems.append(str(error))
        return "damaged", ""
    return (f"at iteration {points[-1].iteration}" if points else "not started"), ""


def _print_problems(problems: list[str]) -> None:
    for problem in dict.fromkeys(problems):
        console.print(f"damaged: {problem}", soft_wrap=True)


@app.command()
def run(
    names: Annotated[list[str], typer.Argument(metavar="NAME|PATH.toml|all", show_default=False)],
    seeds: Annotated[str | None, typer.Option(help="Seeds instead of the experiment's: 0,1,2.")] = None,
    only: Annotated[str | None, typer.Option(help="Only these runs: plain20,plain56.")] = None,
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
    """Train what is missing of an experiment.

    Stopped at any point, the same command goes on. A finished run is not run again.
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
    from resrepro.data.trees import at_hand

    for _, experiment in experiments if names == ["all"] else ():
        if not at_hand(experiment.dataset, data_dir=data_dir):
            console.print(f"left out: {experiment.name} (no {experiment.dataset} in {data_dir})", soft_wrap=True)
    if names == ["all"]:
        experiments = [(o, e) for o, e in experiments if at_hand(e.dataset, data_dir=data_dir)]
    runs = list({run.path: run for _, experiment in experiments for run in experiment.runs}.values())

    from resrepro import device as devices
    from resrepro.distributed import World
    from resrepro.outcome import print_outcome
    from resrepro.progress import TerminalReporter
    from resrepro.runner import Runner, Stopped

    world = World.from_environment()
    console.quiet = not world.writes
    with world.together():
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
        if code == 0 and world.writes:
            for original, experiment in experiments:
                print_outcome(console, original, experiment, results_dir)
    for error in errors:
        typer.echo(f"error: {error}", err=True)
    if errors or code:
        raise typer.Exit(code or 1)


@app.command()
def plot(
    names: Annotated[list[str] | None, typer.Argument(metavar="[NAME|PATH.toml|all]", show_default=False)] = None,
    format: Annotated[str, typer.Option("--format", help="png, pdf, svg, or several with commas.")] = "png",
    results_dir: ReadDir = DEFAULT_RESULTS,
    dataset: DatasetName = None,
    schedule_scale: Scale = 1.0,
    image_size: ImageSize = None,
) -> None:
    """Draw figures from the CSVs.

    Runs that are missing or damaged are named in their panel.
    """
    from resrepro.figures.drawing import FORMATS, draw_experiment

    formats = tuple(part.strip() for part in format.split(","))
    for kind in formats:
        if kind not in FORMATS:
            raise UserError(f"--format {kind}: expected png, pdf or svg{did_you_mean(kind, FORMATS)}")
    problems: list[str] = []
    for original in _experiments(names or []):
        experiment = original.variant(dataset=dataset, schedule_scale=schedule_scale, image_size=image_size)
        files = draw_experiment(experiment, results_dir, formats=formats, report=problems.append)
        for file in files:
            console.print(file, soft_wrap=True)
        if not files:
            console.print(f"{original.name}: declares no figure")
    for problem in dict.fromkeys(problems):
        typer.echo(f"error: {problem}", err=True)
    if problems:
        raise typer.Exit(1)
