"""Declare many runs at once, in an experiment's file: a grid of architectures and changes of the recipe."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from itertools import chain, product
from typing import Any

from pydantic import Field

from resrepro.config.experiment import FigureSpec
from resrepro.config.strict import StrictModel


class Grid(StrictModel):
    """Stand for a run of each architecture with each choice of the axes.

    Args:
        axes: of each axis the changes of the file's recipe to choose from; an empty one changes nothing.
    """

    arch: tuple[str, ...] = Field(min_length=1)
    seeds: tuple[int, ...] = Field(default=(0,), min_length=1)
    axes: tuple[tuple[dict[str, Any], ...], ...] = Field(min_length=1)

    def runs(self) -> list[dict[str, Any]]:
        """Return the tables of the runs, named by architecture and changes, such as `plain14-lr0.1-warmup`."""
        found = []
        for arch, *changes in product(self.arch, *self.axes):
            recipe = {key: value for change in changes for key, value in change.items()}
            name = "-".join([arch, *(_word(key, value) for key, value in recipe.items())])
            found.append({"arch": arch, "name": name, "seeds": self.seeds, "recipe": recipe})
        return found


def _word(key: str, value: object) -> str:
    if isinstance(value, str):
        return value
    return key if isinstance(value, Mapping) else f"{key}{value}"


def with_patterns(figures: Sequence[FigureSpec], names: Sequence[str]) -> tuple[FigureSpec, ...]:
    """Return the figures with the runs that a pattern in a panel stands for, such as `plain*`, in its place.

    Args:
        names: of the experiment's runs.
    """
    found = []
    for figure in figures:
        panels = []
        for panel in figure.panel:
            matching = [[name for name in names if fnmatchcase(name, run)] or [run] for run in panel.runs]
            panels.append(panel.model_copy(update={"runs": (*dict.fromkeys(chain(*matching)),)}))
        found.append(figure.model_copy(update={"panel": tuple(panels)}))
    return tuple(found)
