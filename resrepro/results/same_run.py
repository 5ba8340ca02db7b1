"""Tell which run is stored, and whether it is the run that is asked for."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from resrepro.config.recipe import SWITCHES, Recipe
from resrepro.config.run import Run
from resrepro.config.strict import first_mistake
from resrepro.errors import UserError
from resrepro.results.records import RunRecord


def check(recorded: dict[str, Any], run: Run, place: Path) -> None:
    """Check that the run stored at `place` is the run that is asked for.

    The source of a net of other code is compared where it was read, which is before it is used.

    Args:
        recorded: what makes the stored run the same, as `of_run` returns it.

    Raises:
        UserError: it is another run; names the first field that differs.
    """
    recorded = {**{f"recipe.{name}": default for name, default in SWITCHES.items()}, **recorded}
    asked = of_run(run)
    for key, value in asked.items():
        there = recorded.get(key)
        if there == value or (key == "arch_sha256" and value is None):
            continue
        what = f"{key} is {there!r} there, but the experiment asks for {value!r}"
        if key == "arch_sha256" and recorded.get("arch") == run.arch:
            what = f"the source of {run.arch} has changed since (SHA-256 {str(there)[:12]} there, now {value[:12]})"
        raise UserError(f"{place}: {what}; give the run a 'name' of its own in the TOML, or move {place.parent} away")


def of_run(run: Run) -> dict[str, Any]:
    """Return what makes two runs the same, as a flat dict: dataset, arch, seed, recipe.lr, ..."""
    return _flat(run, run.start_from.name if run.start_from else None, run.recipe.model_dump(mode="json"))


def of_record(record: RunRecord) -> dict[str, Any]:
    """Return the same dict for a recorded run."""
    return _flat(record, record.start_from, record.recipe)


def _flat(run: Run | RunRecord, start_from: str | None, recipe: dict[str, Any]) -> dict[str, Any]:
    fields = {name: getattr(run, name) for name in ("dataset", "arch", "arch_sha256", "seed", "schedule_scale")}
    return {**fields, "start_from": start_from, **{f"recipe.{key}": value for key, value in recipe.items()}}


def recorded_run(record: RunRecord) -> Run:
    """Return the run that a record is of, but for `start_from`, of which the record has the name alone.

    Raises:
        UserError: its recipe is none that this version knows.
    """
    try:
        recipe = Recipe.model_validate_json(json.dumps(record.recipe))
    except ValidationError as error:
        raise UserError(
            f"run.json of {record.name}, seed {record.seed}: recipe.{first_mistake(error)}; restore it"
        ) from error
    return Run(
        dataset=record.dataset,
        name=record.name,
        arch=record.arch,
        arch_sha256=record.arch_sha256,
        recipe=recipe,
        seed=record.seed,
        schedule_scale=record.schedule_scale,
        image_size=record.image_size,
        label=record.name,
    )
