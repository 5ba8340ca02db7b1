"""Draw the loss around trained nets: a line, contours, and a relief (Li et al. 2018)."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import LogLocator

from resrepro.config.experiment import FigureSpec
from resrepro.config.run import Run
from resrepro.figures.data import FigureData
from resrepro.figures.layout import DASHES, TEXT, add_remarks, legend_below, log_ticks, missing_run_remarks, new_figure
from resrepro.results.csv_rows import read_rows
from resrepro.results.laboratory import SurfacePoint
from resrepro.results.paths import RunFiles
from resrepro.results.records import RunRecord

PANEL_INCHES = (2.8, 2.4)
NUM_LEVELS = 13
BAND = 2  # standard errors on each side


def rows(files: RunFiles, _run: Run, record: RunRecord | None) -> list[dict[str, object]]:
    """Read one row per point; none where the net was not yet measured."""
    if record is None or record.status == "diverged":
        return []
    return [dict(row) for row in read_rows(files.surface, SurfacePoint)]


def draw(rows: pd.DataFrame, spec: FigureSpec, data: FigureData) -> Figure:
    """Draw one row per run: the loss along one direction; its contours in the plane of two; and a relief of these.

    All rows have the same axes and levels, logarithmic in the loss. Where it is not finite nothing is drawn.

    Args:
        rows: one row per point, as `rows` reads them; of several seeds the first is drawn.
    """
    names = [panel.runs[0] for panel in spec.panel]
    shown = rows[rows["run"].isin(names)]
    shown = shown[shown["seed"] == shown.groupby("run")["seed"].transform("min")]
    shown = shown.assign(loss=shown["loss"].where(np.isfinite(shown["loss"].astype(float))))
    is_plane = bool((shown["y"] != 0).any())
    width = data.look.width_inches or math.inf
    narrow = width < 2 * PANEL_INCHES[0] * data.look.scale
    num_columns = (2 if narrow else 3) if is_plane else 1  # a narrow figure has no relief, which shows the same again
    height = min(PANEL_INCHES[1], 0.62 * width / data.look.zoom)
    figure = new_figure(data, max(1.6, num_columns) * PANEL_INCHES[0], len(names) * height + 0.4)
    grid = figure.subfigures(len(names), 1, squeeze=False)[:, 0]
    levels = _levels(shown["loss"][shown["bn"] == "anew"].dropna())
    remarks: dict[Axes, list[str]] = {}
    for panel, row in zip(spec.panel, grid, strict=True):
        every = shown[shown["run"] == panel.runs[0]]
        own = every[every["bn"] == "anew"]
        line = row.add_subplot(1, num_columns, 1)
        line.set_title(panel.title)
        _draw_line(line, every[every["y"] == 0], shown, data.runs[panel.runs[0]].color)
        if own["loss"].notna().any() and (own["y"] != 0).any():
            z = _draw_contours(row.add_subplot(1, num_columns, 2), own, levels)
            if num_columns == 3:
                _draw_relief(row.add_subplot(1, 3, 3, projection="3d"), z, levels)
        num_lost = int(every["loss"].isna().sum())
        lost = [f"not finite, not drawn: {num_lost} of {len(every)} points"] if num_lost else []
        remarks[line] = lost + missing_run_remarks(panel.runs, data)
    add_remarks(figure, remarks, data.look)
    if len(shown):
        band = Patch(color="0.3", alpha=0.2, linewidth=0, label=f"±{BAND} standard errors of the mean over the images")
        handles = [band, Line2D([], [], linestyle="", label="one seed each; distances in filter norms")]
        if (shown["bn"] == "stored").any():
            anew = Line2D([], [], color="0.3", linewidth=1.3, label="with BN statistics of each point")
            stored = Line2D([], [], color="0.3", linestyle=DASHES, label="with the trained net's BN statistics")
            handles[1:1] = [anew, stored]
        legend_below(figure, handles, data.look)
    return figure


def _levels(loss: pd.Series[float]) -> np.ndarray:
    low, high = max(float(loss.min()), 1e-4), float(loss.max())
    return np.geomspace(low, max(high, 1.01 * low), NUM_LEVELS) if len(loss) else np.ones(1)


def _draw_line(axes: Axes, every: pd.DataFrame, shown: pd.DataFrame, color: str) -> None:
    """Draw the loss along the first direction, with its band; dashed with the BN statistics of the trained net."""
    own, stored = (every[every["bn"] == bn] for bn in ("anew", "stored"))
    if every["loss"].isna().all():
        axes.set(xticks=[], yticks=[])
        return
    axes.set_yscale("log")
    log_ticks(axes.yaxis, LogLocator(subs=(1, 3), numticks=99))
    axes.plot(own["x"], own["loss"], color=color, linewidth=1.3)
    axes.plot(stored["x"], stored["loss"], color=color, linewidth=1.0, linestyle=DASHES)
    error = BAND * own["loss_error"]
    low = (own["loss"] - error).clip(lower=own["loss"] / 10)
    axes.fill_between(own["x"], low, own["loss"] + error, color=color, alpha=0.2, linewidth=0)
    axes.set_xlim(1.1 * every["x"].min(), 1.1 * every["x"].max())  # also where the loss is not finite
    least = (shown["loss"] - BAND * shown["loss_error"]).clip(lower=shown["loss"] / 10).min()
    axes.set_ylim(least / 1.2, shown["loss"].max() * 1.2)
    axes.set(xlabel="first direction", ylabel=f"training loss ({int(every['num_images'].iloc[0]):,} images)")


def _draw_contours(contours: Axes, own: pd.DataFrame, levels: np.ndarray) -> pd.DataFrame:
    """Draw the contours. Returns the table of the loss, with y as its rows and x as its columns."""
    table = own.pivot(index="y", columns="x", values="loss")
    drawn: Any = contours.contour(
        table.columns.to_numpy(), table.index.to_numpy(), table.to_numpy(), levels=levels, cmap="viridis",
        linewidths=0.9, norm="log",
    )  # fmt: skip
    contours.clabel(drawn, levels=drawn.levels[::3], fmt="%.2g", fontsize="small", colors=TEXT)
    contours.plot(0, 0, marker="+", color="black", markersize=6)
    contours.set(xlabel="first direction", ylabel="second direction", aspect="equal")
    contours.set_title("contours")
    return table


def _draw_relief(relief: Any, table: pd.DataFrame, levels: np.ndarray) -> None:
    mesh = np.meshgrid(table.columns.to_numpy(), table.index.to_numpy())
    look: Any = {"cmap": "viridis", "rstride": 1, "cstride": 1, "linewidth": 0.1, "edgecolor": "0.3"}
    relief.plot_surface(*mesh, np.log10(table.to_numpy()), **look)
    relief.set(zlim=(np.log10(levels[0]), np.log10(levels[-1])), xticks=(-1, 0, 1), yticks=(-1, 0, 1))
    relief.set(xlabel="first", ylabel="second")
    relief.xaxis.labelpad = relief.yaxis.labelpad = -8
    relief.set_title("log10 of the loss")
    relief.tick_params(pad=-3)
