"""`resrepro list` and `resrepro show`: experiments, and how far they are."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.table import Table

from resrepro.cli.options import (
    DEFAULT_RESULTS,
    ReadDir,
    console,
)
from resrepro.config.experiment import Experiment
from resrepro.config.recipe import SWITCHES
from resrepro.config.toml_files import experiment_names, find_experiment
from resrepro.results.status import RunStatus, run_status


def list_experiments(results_dir: ReadDir = DEFAULT_RESULTS) -> None:
    """List all experiments, and how many of their runs are finished."""
    table = Table(box=None, header_style="bold")
    table.add_column("experiment", no_wrap=True)
    for column in ("reproduces", "data", "finished", "cost"):
        table.add_column(column)
    every: list[RunStatus] = []
    for name in experiment_names():
        experiment = find_experiment(name)
        statuses = [run_status(results_dir, run) for run in experiment.runs]
        finished = f"{sum(status.record is not None for status in statuses)}/{len(statuses)}"
        finished += ", damaged" if any(status.state == "damaged" for status in statuses) else ""
        table.add_row(name, experiment.reproduces, experiment.dataset, finished, experiment.cost)
        every += statuses
    console.print(table)
    _print_problems(every)
    console.print("\nresrepro show NAME tells more; resrepro run NAME trains what is missing.")


def show(
    name: Annotated[str, typer.Argument(metavar="NAME|PATH.toml", show_default=False, help="Name an experiment.")],
    results_dir: ReadDir = DEFAULT_RESULTS,
) -> None:
    """Show an experiment: its recipe, its runs, and what to expect."""
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
    statuses = [run_status(results_dir, run) for run in experiment.runs]
    for run, status in zip(experiment.runs, statuses, strict=True):
        differences = ", ".join(f"{key} = {value}" for key, value in run.recipe if value != getattr(recipe, key))
        error = status.record.final_test_error_pct if status.record else None
        table.add_row(run.name, str(run.seed), differences, str(status), "" if error is None else f"{error:.2f}")
    console.print(table)
    _print_problems(statuses)
    _print_distances(experiment, statuses)
    console.print(f"\nresrepro run {name}\nresrepro plot {name}")


def _print_distances(experiment: Experiment, statuses: list[RunStatus]) -> None:
    """Print how far the runs' curves are from the paper's, where it has a curve of the net; a row a curve."""
    from resrepro.results.distance import distances, published

    table = Table("ours minus the paper's (%)", "error", "plateau", "drop", "end", box=None, header_style="bold")
    for run in {run.name: run for run in experiment.runs}.values():
        seeds = [s.points for r, s in zip(experiment.runs, statuses, strict=True) if r.name == run.name and s.points]
        for which, found in distances(run.name, published(run), seeds).items():
            means = (window.difference_pct for window in found.difference.windows)
            table.add_row(run.name, which, *("" if mean is None else f"{mean:+.2f}" for mean in means))
    if table.row_count:
        console.print()
        console.print(table)
        console.print("plateau: before the first drop of the rate; drop: after it. More: resrepro table fig6")


def _print_problems(statuses: list[RunStatus]) -> None:
    for problem in dict.fromkeys(status.problem for status in statuses if status.problem):
        console.print(f"damaged: {problem}", soft_wrap=True)
