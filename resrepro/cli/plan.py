"""Say before `run` trains what it will train, and for how long here."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from resrepro.cli.options import duration, print_table, say
from resrepro.config.run import Run
from resrepro.config.selection import Selection
from resrepro.errors import UserError
from resrepro.results.tables import Table

if TYPE_CHECKING:
    from resrepro.bench.estimates import Estimate
    from resrepro.runtime.device import Compute


def print_plan(selection: Selection, results_dir: Path, data_dir: Path, compute: Compute, num_devices: int) -> None:
    """Print a row for each unfinished run, or for each experiment where there are several, and how long it takes.

    Args:
        data_dir: where a dataset must be that cannot be downloaded.
        num_devices: that train at once.
    """
    from resrepro.bench.estimates import estimates
    from resrepro.training.runner import missing_runs

    each = [missing_runs(results_dir, list(runs)) for _, runs in selection.experiments]
    missing = list(dict.fromkeys(run for runs in each for run in runs))
    obstacles = {run: why for run in missing if (why := _obstacle(run, data_dir))}
    plans = {plan.run: plan for plan in estimates(missing, results_dir, compute, obstacles)}
    several = len(selection.experiments) > 1
    columns = ("experiment", "runs to train") if several else ("run",)
    rows = list[tuple[str, ...]]()
    shown = set[Run]()
    for (experiment, runs), its in zip(selection.experiments, each, strict=True):
        new = [plans[run] for run in its if run not in shown]
        shown |= {*its}
        if several:
            rows.append((experiment.name, f"{len(new)}/{len(runs)}", str(sum(p.iters_left for p in new)), _time(new)))
            continue
        rows += [(str(plan.run), str(plan.iters_left), _time([plan])) for plan in new]
    num_runs = len({run.path for run in (*selection.runs, *missing)})  # those of other code now have its digest
    say(f"{len(missing)} run(s) to train, {num_runs - len(missing)} finished")
    if not missing:
        return
    print_table(Table(columns=(*columns, "iterations", "time here"), rows=tuple(rows)))
    if several:
        say("a run that several experiments share is counted with the first of them")
    found = [plan for plan in plans.values() if plan.seconds is not None]
    total_s = sum(plan.seconds or 0.0 for plan in found) / num_devices
    on = f"on {num_devices} devices at once" if num_devices > 1 else "one after another"
    without = f", without {len(plans) - len(found)} run(s) that are not estimated" if len(found) < len(plans) else ""
    if found:
        say(f"in all about {duration(total_s)} {on}{without}")
    for why in dict.fromkeys(obstacles.values()):
        say(f"cannot be trained: {why}")
    for how in dict.fromkeys(plan.how for plan in plans.values()):
        say(f"estimated: {how}")


def _obstacle(run: Run, data_dir: Path) -> str:
    """Return what keeps a run from being trained, as far as it is seen without opening the dataset; else nothing."""
    from resrepro.data.loading import check_readable

    try:
        check_readable(run.recipe, run.dataset, data_dir=data_dir)
    except UserError as error:
        return str(error)
    return ""


def _time(plans: Sequence[Estimate]) -> str:
    known = [plan.seconds for plan in plans if plan.seconds is not None]
    return duration(sum(known)) if len(known) == len(plans) else "?"
