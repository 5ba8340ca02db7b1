"""Draw the norms of gradients and the deviations of responses over layers and training (Sec. 4.1)."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator

from resrepro.config.experiment import FigureSpec
from resrepro.figures.data import FigureData
from resrepro.figures.layout import add_remarks, is_leftmost, log_ticks, missing_run_remarks, panel_grid

PANEL_INCHES = (3.4, 2.2)
COLUMNS = {"gradient_norm": "norm of the gradient", "response_std": "deviation of the response"}


def draw(rows: pd.DataFrame, spec: FigureSpec, data: FigureData) -> Figure:
    """Draw one column per run: above the gradient's norms, below the forward signal; layers over iterations.

    Args:
        rows: one row per layer, moment and seed, as `gradients.rows` reads them; of seeds the geometric mean.
    """
    names = [panel.runs[0] for panel in spec.panel]
    figure, grid = panel_grid(data, 2, len(names), PANEL_INCHES, beside_inches=(0.8, 0.4), sharex=True, sharey="col")
    shown = rows[rows["run"].isin(names)]
    for row, (column, text) in zip(grid, COLUMNS.items(), strict=True):
        values = pd.to_numeric(shown[column])
        seen = values[(values > 0) & np.isfinite(values)]
        if seen.empty:
            continue
        low, high = float(seen.min()), float(seen.max())
        norm = LogNorm(low, max(high, 1.01 * low))
        meshes = [_draw(axes, shown[shown["run"] == name], column, norm) for axes, name in zip(row, names, strict=True)]
        first = next(mesh for mesh in meshes if mesh is not None)
        below = all(map(is_leftmost, row))  # each other; then one bar beside all would cross those of the other row
        for beside in [[axes] for axes in row] if below else [list(row)]:
            bar = figure.colorbar(first, ax=beside, label=text)
            log_ticks(bar.ax.yaxis, LogLocator(subs=(1, 3), numticks=8) if high > 10 * low else MaxNLocator(4))
    remarks: dict[Axes, list[str]] = {}
    for index, panel in enumerate(spec.panel):
        upper, lower = grid[:, index]
        unfinished = " (unfinished)" if (shown[shown["run"] == names[index]]["status"] == "unfinished").any() else ""
        upper.set_title(panel.title + unfinished)
        lower.set_xlabel("iteration (first: initialization)")
        upper.yaxis.set_major_locator(MaxNLocator("auto", integer=True))
        fc = ["gray: fc, whose response is not measured"] if index == 0 else []
        remarks[lower] = fc + missing_run_remarks(panel.runs, data)
    for axes in filter(is_leftmost, grid.flat):
        axes.set_ylabel("layer")
    add_remarks(figure, remarks, data.look)
    return figure


def _draw(axes: Axes, own: pd.DataFrame, column: str, norm: LogNorm) -> Any:
    """Draw one run; return the mesh, None without values. What is zero or not finite is gray."""
    known = own[own[column].notna()]
    if known.empty:
        return None
    logs = known.assign(log=np.log(pd.to_numeric(known[column]).where(lambda v: v > 0)))
    table = logs.pivot_table(index="layer", columns="iteration", values="log", dropna=False)
    mesh = axes.pcolormesh(
        _edges(table.columns.to_numpy(float)), np.append(table.index.to_numpy() - 0.5, table.index[-1] + 0.5),
        np.ma.masked_invalid(np.exp(table.to_numpy())), norm=norm, cmap=colormaps["viridis"], rasterized=True,
    )  # fmt: skip
    axes.set_xscale("log")
    log_ticks(axes.xaxis, LogLocator(subs=(1, 3), numticks=8))
    axes.set_facecolor("0.8")
    axes.grid(visible=False)
    return mesh


def _edges(iterations: np.ndarray) -> np.ndarray:
    """Return the ends of each moment's column on a logarithmic axis; iteration 0 is as wide as the first after it."""
    if len(iterations) == 1:
        return np.array([0.5, 1.5])
    ratio = iterations[2] / iterations[1] if len(iterations) > 2 else 2.0
    at = np.append(iterations[1] / ratio, iterations[1:])
    middles = np.sqrt(at[1:] * at[:-1])
    return np.concatenate(([at[0] ** 2 / middles[0]], middles, [at[-1] ** 2 / middles[-1]]))
