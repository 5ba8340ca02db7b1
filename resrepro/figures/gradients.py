"""Draw the norms of each layer's gradient and weights at a few moments of the training (Sec. 4.1)."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, MaxNLocator

from resrepro.config.experiment import FigureSpec
from resrepro.config.run import Run
from resrepro.errors import UserError
from resrepro.figures.data import FigureData, seeds_said
from resrepro.figures.layout import add_remarks, is_leftmost, legend_below, log_ticks, missing_run_remarks, panel_grid
from resrepro.results.analyses import read_norms
from resrepro.results.csv_rows import mend
from resrepro.results.paths import RunFiles
from resrepro.results.records import RunRecord

PANEL_INCHES = (4.0, 2.4)
STAGE: dict[str, Any] = {"color": "0.6", "linewidth": 0.8, "linestyle": ":"}
COLUMNS = {"gradient_norm": "norm of the gradient", "weight_norm": "norm of the weights"}


def rows(files: RunFiles, run: Run, record: RunRecord | None) -> list[dict[str, object]]:
    """Read one row per layer and moment, as far as the run has come."""
    found = read_norms(files, run.arch)
    if record is not None and not found:
        raise UserError(f"{files.gradients}: not there (finished by an older version); {mend(files.gradients)}")
    return [dict(row) for row in found]


def draw(rows: pd.DataFrame, spec: FigureSpec, data: FigureData) -> Figure:
    """Draw one column per run: above the gradient's norms, below the weights'; one line per moment, the seeds' mean.

    Args:
        rows: one row per layer, moment and seed, as `rows` reads them.
    """
    figure, grid = panel_grid(data, 2, len(spec.panel), PANEL_INCHES, sharex="col", sharey="row")
    names = [panel.runs[0] for panel in spec.panel]
    shown = rows[rows["run"].isin(names)].sort_values("iteration", kind="stable")
    colors = _colors(shown)
    for row, (column, text) in enumerate(COLUMNS.items()):
        grid[row, 0].set_yscale("log")
        decades = column == "gradient_norm"
        log_ticks(grid[row, 0].yaxis, LogLocator(subs=(1,) if decades else (1, 2, 5)))
        for axes, name in zip(grid[row], names, strict=True):
            if is_leftmost(axes):
                axes.set_ylabel(text)
            axes.tick_params(labelbottom=True)
            axes.xaxis.set_major_locator(MaxNLocator("auto", integer=True))
            own = shown[shown["run"] == name]
            axes.set_xlim(0.5, max([data.runs[name].depth, *own["layer"], 1]) + 0.5)
            _draw_norms(axes, own, column, colors)
    lines = {}
    for index, panel in enumerate(spec.panel):
        upper, lower = grid[:, index]
        lower.set_xlabel("layer")
        own = shown[shown["run"] == names[index]]
        unfinished = " (unfinished)" if (own["status"] == "unfinished").any() else ""
        upper.set_title(panel.title + seeds_said(own) + unfinished)
        if own.empty:
            upper.set_xticks([])
        lines[lower] = _not_finite(own) + missing_run_remarks(panel.runs, data)
    add_remarks(figure, lines, data.look)
    if shown.empty:
        for axes in grid.flat:
            axes.set(xticks=[], yticks=[])
    if colors:
        handles = [Line2D([], [], color=color, label=_moment(shown, moment)) for moment, color in colors.items()]
        handles.append(Line2D([], [], label="a new stage begins (the last layer is fc)", **STAGE))
        if (shown["gradient_norm"] == 0).any():
            handles.append(Line2D([], [], color="0.3", marker="v", linestyle="", markersize=4, label="exactly zero"))
        legend_below(figure, handles, data.look)
    return figure


def _colors(shown: pd.DataFrame) -> dict[str, str]:
    """Choose a color for each moment: the later, the darker, also in gray."""
    moments = [str(moment) for moment in shown["moment"].unique()]
    shades = np.linspace(0.88, 0.0, max(2, len(moments)))
    return {moment: to_hex(colormaps["viridis"](shade)) for moment, shade in zip(moments, shades, strict=False)}


def _draw_norms(axes: Axes, own: pd.DataFrame, column: str, colors: dict[str, str]) -> None:
    for moment, of_moment in own.groupby("moment", sort=False):
        norms = of_moment.groupby("layer")[column].mean()
        seen = norms.where((norms > 0) & np.isfinite(norms))
        axes.plot(seen.index, seen, color=colors[str(moment)], linewidth=1.3)
        zero = norms.index[norms == 0]
        if len(zero):  # an empty line that is not clipped takes the layout apart
            axes.plot(
                zero, np.zeros(len(zero)), marker="v", markersize=4, linestyle="", color=colors[str(moment)],
                transform=axes.get_xaxis_transform(), clip_on=False,
            )  # fmt: skip
    layers = own.drop_duplicates("layer")
    stages = {str(name).partition(".")[0]: layer for layer, name in zip(layers["layer"], layers["name"], strict=True)}
    for last in list(stages.values())[:-2]:  # of the first layer, and of each stage but the last; fc is alone
        axes.axvline(last + 0.5, **STAGE)


def _not_finite(own: pd.DataFrame) -> list[str]:
    lost = own[~np.isfinite(own["gradient_norm"].astype(float))]
    return [f"not finite: {moment}" for moment in lost["moment"].unique()]


def _moment(shown: pd.DataFrame, moment: str) -> str:
    """Name a moment, with its iteration if all runs have the same and the name does not say it."""
    iterations = shown[shown["moment"] == moment]["iteration"].unique()
    name = f"iteration {iterations[0]}"
    return moment if len(iterations) > 1 or moment == name else f"{moment} ({name})"
