"""The commands about experiments: parse, call, print. Each imports torch or pandas only if it needs them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from resrepro import results
from resrepro.cli.options import (
    DEFAULT_RESULTS,
    ReadDir,
    console,
)
from resrepro.config.experiment import Experiment
from resrepro.config.recipe import SWITCHES
from resrepro.config.run import Run
from resrepro.config.toml_files import experiment_names, find_experiment
from resrepro.errors import UserError


def _experiments(names: list[str]) -> list[Experiment]:
    """`all` is what reproduces the paper; without names it is every one."""
    if names and names != ["all"]:
        return [find_experiment(name) for name in names]
    every = [find_experiment(name) for name in experiment_names()]
    return [e for e in every if not (names and e.beyond_paper)]


def list_experiments(results_dir: ReadDir = DEFAULT_RESULTS) -> None:
    """List all experiments, and how many of their runs are finished."""
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
        record = results.read_finished(results_dir, run)
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
