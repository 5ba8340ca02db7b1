"""Tell whether the run that is stored is the run that is asked for."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from resrepro.config.recipe import SWITCHES
from resrepro.config.run import Run
from resrepro.errors import UserError
from resrepro.results.records import RunRecord


def check(recorded: dict[str, Any], run: Run, place: Path) -> None:
    """Check that the run stored at `place` is the run that is asked for.

    Args:
        recorded: what makes the stored run the same, as `of_run` returns it.

    Raises:
        UserError: it is another run; names the first field that differs.
    """
    recorded = {**{f"recipe.{name}": default for name, default in SWITCHES.items()}, **recorded}
    asked = of_run(run)
    for key, value in asked.items():
        if recorded.get(key) != value:
            raise UserError(
                f"{place}: {key} is {recorded.get(key)!r} there, but the experiment asks for {value!r}; give the "
                f"run a 'name' of its own in the TOML, or move {place.parent} away"
            )


def of_run(run: Run) -> dict[str, Any]:
    """Return what makes two runs the same, as a flat dict: dataset, arch, seed, recipe.lr, ..."""
    recipe = json.loads(run.recipe.model_dump_json())
    fields = {
        "dataset": run.dataset,
        "arch": run.arch,
        "seed": run.seed,
        "schedule_scale": run.schedule_scale,
        "start_from": run.start_from and run.start_from.name,
    }
    return {**fields, **{f"recipe.{key}": value for key, value in recipe.items()}}


def of_record(record: RunRecord) -> dict[str, Any]:
    """Return the same dict for a recorded run."""
    fields = {k: getattr(record, k) for k in ("dataset", "arch", "seed", "schedule_scale", "start_from")}
    return {**fields, **{f"recipe.{key}": value for key, value in record.recipe.items()}}
