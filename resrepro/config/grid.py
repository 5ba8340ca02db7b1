"""Declare many runs at once, in an experiment's file: a grid of architectures and changes of the recipe."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from itertools import chain, product
from math import prod
from typing import Any

from pydantic import Field, model_validator

from resrepro.config.experiment import FigureSpec
from resrepro.config.strict import StrictModel

MAX_RUNS = 10_000


class Grid(StrictModel):
    """Stand for a run of each architecture with each choice of the axes.

    Args:
        axes: of each axis the changes of the file's recipe to choose from; an empty one changes nothing. A `name`
            among them stands for them in the names of the runs.
    """

    arch: tuple[str, ...] = Field(min_length=1)
    seeds: tuple[int, ...] = Field(default=(0,), min_length=1)
    axes: tuple[tuple[dict[str, Any], ...], ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _few_runs_and_each_key_in_one_axis(self) -> Grid:
        keys = Counter(key for axis in self.axes for key in {key for change in axis for key in change} - {"name"})
        for key, count in keys.items():
            if count > 1:
                raise ValueError(f"axes: {count} of them change '{key}'; expected each key in one axis")
        num_runs = prod(map(len, (self.arch, self.seeds, *self.axes)))
        if num_runs > MAX_RUNS:
            raise ValueError(f"axes: they make {num_runs} runs; expected at most {MAX_RUNS}")
        return self

    def runs(self) -> list[dict[str, Any]]:
        """Return the tables of the runs, named by net, without its module, and changes: `plain14-lr0.1-warmup`."""
        found = []
        for arch, *changes in product(self.arch, *self.axes):
            recipe = {key: value for change in changes for key, value in change.items() if key != "name"}
            name = "-".join([arch.rpartition(":")[2], *(word for change in changes for word in _words(change))])
            found.append({"arch": arch, "name": name, "seeds": self.seeds, "recipe": recipe})
        return found


def _words(change: Mapping[str, Any]) -> list[str]:
    if "name" in change:
        return [str(change["name"])]
    return [
        value if isinstance(value, str) else key if isinstance(value, Mapping) else f"{key}{value}"
        for key, value in change.items()
    ]


def with_patterns(figures: Sequence[FigureSpec], names: Sequence[str]) -> tuple[FigureSpec, ...]:
    """Return the figures with the runs that a pattern in `runs` or `about` stands for, such as `plain*`, in its place.

    Args:
        names: of the experiment's runs.
    """

    def matching(given: Sequence[str]) -> tuple[str, ...]:
        found = chain(*([name for name in names if fnmatchcase(name, run)] or [run] for run in given))
        return tuple(dict.fromkeys(found))

    return tuple(
        figure.model_copy(
            update={
                "about": matching(figure.about),
                "panel": tuple(panel.model_copy(update={"runs": matching(panel.runs)}) for panel in figure.panel),
            }
        )
        for figure in figures
    )
