"""Draw where depth hurts: the training error of deep nets less that of shallow ones, over choices of the recipe."""

from __future__ import annotations

import math
import textwrap
from dataclasses import dataclass
from statistics import fmean, mode
from typing import Any, cast

import numpy as np
import pandas as pd
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import CenteredNorm, Normalize
from matplotlib.figure import Figure

from resrepro.config.architectures import architecture
from resrepro.config.datasets import chance_error_pct
from resrepro.config.experiment import PHASE_FIELDS, FigureSpec, PanelSpec
from resrepro.config.run import Run
from resrepro.figures.data import FigureData
from resrepro.figures.layout import letters_in, panel_grid
from resrepro.figures.palette import letters_on
from resrepro.results.paths import RunFiles
from resrepro.results.records import RunRecord
from resrepro.results.tables import Table, standard_error

FIELDS = ("depth", *PHASE_FIELDS, "train_error_pct")  # of `rows`
CELL_INCHES = (1.1, 0.5)
NARROWEST_INCHES = 3.4  # of a panel with the words at its left
Choice = tuple[Any, ...]  # of a recipe, the values of PHASE_FIELDS but the learning rate
WORDS = ("warm-up: {}", "{}", "decay {:g}", "{} images", "decay of {}", "fc: {}")  # of each of these values
COLORS = "PuOr_r"  # white where depth changes nothing
WORDS_LENGTH = 28  # letters of a line of them


@dataclass(frozen=True, kw_only=True)
class Cell:
    """Hold the training errors of the seeds of two nets under one recipe, %; depths are their numbers of layers."""

    lr: float
    choice: Choice
    shallow: tuple[float, ...]
    deep: tuple[float, ...]

    @property
    def difference(self) -> float:
        return fmean(self.deep) - fmean(self.shallow)

    @property
    def error(self) -> float | None:
        """Return the standard error of the difference; None with one seed."""
        return standard_error(self.deep, self.shallow) if min(len(self.deep), len(self.shallow)) > 1 else None


def rows(_files: RunFiles, run: Run, record: RunRecord | None) -> list[dict[str, object]]:
    """Return one row for a run that ended; a diverged one has the error of chance."""
    if record is None:
        return []
    recipe = run.recipe
    error = chance_error_pct(run.dataset) if record.status == "diverged" else record.final_train_error_pct
    values = {field: getattr(recipe, field) for field in PHASE_FIELDS}
    values["warmup"] = str(recipe.warmup or "none")
    return [{"depth": architecture(run.arch).depth, **values, "train_error_pct": error}]


def cells(panel: PanelSpec, rows: pd.DataFrame, data: FigureData) -> list[Cell]:
    """Return the recipes under which both the panel's deepest and its shallowest net ended, of those of known depth."""
    own, depths = rows[rows["run"].isin(panel.runs)], _depths(panel, data)
    found = []
    for recipe, of_recipe in own.groupby([*PHASE_FIELDS], sort=True):
        lr, *choice = cast(tuple[float, ...], recipe)
        shallow, deep = (
            tuple(of_recipe[of_recipe["depth"] == depth]["train_error_pct"].dropna().astype(float)) for depth in depths
        )
        if shallow and deep and depths[0]:
            found.append(Cell(lr=lr, choice=(*choice,), shallow=shallow, deep=deep))
    return found


def _depths(panel: PanelSpec, data: FigureData) -> tuple[int, int]:
    """Return the depths of the panel's shallowest and deepest net, trained or not; 0 where none is known."""
    depths = [data.runs[name].depth for name in panel.runs if data.runs[name].depth]
    return min(depths, default=0), max(depths, default=0)


def draw(rows: pd.DataFrame, spec: FigureSpec, data: FigureData) -> Figure:
    """Draw a panel of cells beside another, with one color scale; learning rates from left to right.

    Args:
        rows: one row per run, as `rows` makes them.
    """
    of_panels = [cells(panel, rows, data) for panel in spec.panel]
    every = [cell for of_panel in of_panels for cell in of_panel]
    rates, choices = sorted({cell.lr for cell in every}), choices_in_words(every)
    words = [textwrap.fill(data.look.said(choice), WORDS_LENGTH) for choice in choices.values()]
    inches = max(2, len(rates)) * CELL_INCHES[0] + 0.3, max(2, len(choices)) * CELL_INCHES[1]
    figure, (grid,) = panel_grid(
        data, 1, len(spec.panel), inches, beside_inches=(3.0, 1.1), narrowest_inches=NARROWEST_INCHES,
        most_of_width=math.inf, sharey=True,
    )  # fmt: skip
    width = data.look.width_inches
    narrow = width is not None and width < 2 * NARROWEST_INCHES * data.look.scale
    norm = CenteredNorm(halfrange=max([1.0, *(abs(cell.difference) for cell in every)]))
    for axes, panel, of_panel in zip(grid, spec.panel, of_panels, strict=True):
        axes.set_title(panel.title)
        axes.set_xlabel("learning rate")
        axes.set_xticks(range(len(rates)), [f"{rate:g}" for rate in rates])
        axes.set_yticks(range(len(choices)), words)
        axes.tick_params(length=0)
        axes.grid(visible=False)
        axes.set(xlim=(-0.5, max(1, len(rates)) - 0.5), ylim=(max(1, len(choices)) - 0.5, -0.5), facecolor="0.85")
        for cell in of_panel:
            _draw_cell(
                axes, cell, (rates.index(cell.lr), list(choices).index(cell.choice)), norm, with_errors=not narrow
            )
    if every:
        image, side = next(axes.images[0] for axes in grid if axes.images), "bottom" if narrow else "right"
        colors = figure.colorbar(image, ax=list(grid), location=side)
        shallow, deep = _depths(next(panel for panel, found in zip(spec.panel, of_panels, strict=True) if found), data)
        colors.set_label(f"training error (%),\n{deep} less {shallow} layers")
    missing, diverged = sum(run.missing for run in data.runs.values()), _diverged(rows)
    notes = [f"not run, gray: {missing} of {len(data.runs)} nets"] if missing else []
    if not narrow and any(cell.error is not None for cell in every):
        numbers = sorted({len(seeds) for cell in every for seeds in (cell.shallow, cell.deep)})
        counts = str(numbers[0]) if len(numbers) == 1 else f"{numbers[0]} to {numbers[-1]}"
        notes.append(f"±: standard error, with {counts} seeds a net")
    notes += _left_out(data)
    notes += [f"{len(diverged)} run(s) {diverged[0][1]}"] if diverged else []
    below = textwrap.fill("; ".join(notes), letters_in(figure.get_figwidth(), data.look.letter_pt))
    figure.supxlabel(below, fontsize="small", color="0.45")
    return figure


def _draw_cell(axes: Axes, cell: Cell, place: tuple[int, int], norm: Normalize, *, with_errors: bool) -> None:
    """Color a cell by the difference, and write it, with both errors where there is room."""
    x, y = place
    axes.imshow(
        [[cell.difference]], extent=(x - 0.48, x + 0.48, y + 0.46, y - 0.46), cmap=COLORS, norm=norm, aspect="auto"
    )
    color = letters_on(colormaps[COLORS](norm(cell.difference))[:3])
    noise = "" if cell.error is None else f" ± {cell.error:.1f}"
    text = f"{cell.difference:+.1f}{noise if with_errors else ''}".replace("-", "−")
    text += f"\n{fmean(cell.shallow):.1f} → {fmean(cell.deep):.1f}" if with_errors else ""
    axes.text(x, y, text, ha="center", va="center", fontsize="small", color=color)


def _left_out(data: FigureData) -> list[str]:
    """Say how many nets of other code have no place in the figure."""
    unknown = sum(not run.depth for run in data.runs.values())
    return [f"left out, for their depth is not known: {unknown} net(s) of other code"] if unknown else []


def _diverged(rows: pd.DataFrame) -> list[tuple[str, str]]:
    """Return each diverged seed, and what it counts as, which is the same for all: their dataset is."""
    diverged = rows[rows["status"] == "diverged"]
    errors = diverged["train_error_pct"].astype(float)
    words = [
        f"counted as {error:g} %" if np.isfinite(error) else "left out, for chance is not known" for error in errors
    ]
    seeds = zip(diverged["run"], diverged["seed"], words, strict=True)
    return [(f"{run} seed {seed}", f"diverged, {what}") for run, seed, what in seeds]


def choices_in_words(every: list[Cell]) -> dict[Choice, str]:
    """Return the choices with their words: what each changes of the usual one, the first; there, what others change."""
    choices = {cell.choice for cell in every}
    values = [sorted(of_field) for of_field in zip(*choices, strict=True)]
    changes = {choice: [n for n, value in enumerate(choice) if value != mode(values[n])] for choice in choices}
    every_change = sorted({n for changed in changes.values() for n in changed})
    found = {}
    for choice in sorted(choices, key=lambda choice: (len(changes[choice]), choice)):
        found[choice] = ", ".join(WORDS[n].format(choice[n]) for n in changes[choice] or every_change)
    return found


def table(rows: pd.DataFrame, spec: FigureSpec, data: FigureData) -> Table:
    """Return one row per cell: the recipe, both errors, their difference and its standard error, the seeds."""
    found = []
    for panel in spec.panel:
        for cell in cells(panel, rows, data):
            errors = (fmean(cell.shallow), fmean(cell.deep))
            numbers = [f"{value:.2f}" for value in errors] + [f"{cell.difference:+.2f}"]
            noise = "" if cell.error is None else f"{cell.error:.2f}"
            seeds = str(min(len(cell.shallow), len(cell.deep)))
            recipe = [f"{value:g}" if isinstance(value, float) else str(value) for value in (cell.lr, *cell.choice)]
            found.append((panel.title, *recipe, *numbers, noise, seeds))
    columns = (
        "nets", "lr", "warm-up", "init", "weight decay", "images", "decay of", "fc", "shallow (%)", "deep (%)",
        "difference", "standard error", "seeds",
    )  # fmt: skip
    notes = [f"{seed}: {words}" for seed, words in _diverged(rows)] + _left_out(data)
    return Table(title=data.title, columns=columns, rows=tuple(found), notes=tuple(notes))
