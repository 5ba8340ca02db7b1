"""Draw ours minus the paper's own curves over the iterations."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from resrepro.config.experiment import FigureSpec
from resrepro.figures.data import FigureData, counted, seeds_said
from resrepro.figures.layout import (
    add_remarks,
    is_leftmost,
    legend_below,
    line_looks,
    mark_every,
    missing_run_remarks,
    panel_grid,
)
from resrepro.paper.curves import PHASES_ITERS, Difference
from resrepro.paper.figure_data import Floats, Kind
from resrepro.results.distance import WHICH, Distance, distance_table, distances
from resrepro.results.records import CurvePoint
from resrepro.results.tables import Table

PANEL_INCHES = (4.6, 2.3)
BAND = 2  # standard deviations of one point of the paper's
SCATTER: dict[str, Any] = {"color": "0.85", "linewidth": 0}
NAMES: dict[Kind, str] = {"test": "test error", "train": "training error"}


def of_runs(rows: pd.DataFrame, data: FigureData) -> dict[str, dict[Kind, Distance]]:
    """Take the distances of all runs that have a curve in the paper, by run name.

    Args:
        rows: one row per curve point and seed, as `curves.rows` reads them.
    """
    found = {}
    for name, run in data.runs.items():
        own = _counted(rows, name)
        columns = [*CurvePoint.model_fields]
        seeds = [[_point(row) for row in of_seed[columns].to_dict("records")] for _, of_seed in own.groupby("seed")]
        if seeds and run.published:
            found[name] = distances(run.label, run.published, seeds)
    return found


def _counted(rows: pd.DataFrame, name: str) -> pd.DataFrame:
    return counted(rows[(rows["run"] == name) & (rows["status"] != "diverged")])


def _point(row: dict[Any, Any]) -> CurvePoint:
    return CurvePoint.model_validate({name: None if pd.isna(value) else value for name, value in row.items()})


def _until(rows: pd.DataFrame, spec: FigureSpec) -> pd.DataFrame:
    return rows if spec.until_iter is None else rows[rows["iteration"] <= spec.until_iter]


def draw(rows: pd.DataFrame, spec: FigureSpec, data: FigureData) -> Figure:
    """Draw the differences: test errors above, training errors below; a gray band is the paper's own scatter."""
    rows = _until(rows, spec)
    figure, grid = panel_grid(data, len(WHICH), len(spec.panel), PANEL_INCHES, sharex=True, sharey="row")
    found = of_runs(rows, data)
    looks = line_looks(data.runs, found)
    handles: dict[str, Artist] = {}
    for row, which in enumerate(WHICH):
        for column, panel in enumerate(spec.panel):
            axes = grid[row, column]
            axes.yaxis.set_major_locator(MaxNLocator(nbins=6, steps=[1, 2, 5, 10]))
            axes.set_title(f"{panel.title}: {NAMES[which]}" if panel.title else NAMES[which])
            if is_leftmost(axes):
                axes.set_ylabel("difference (points)")
            shown = [(name, found[name][which]) for name in panel.runs if which in found.get(name, {})]
            if shown:
                _draw_scatter(axes, [distance.difference for _, distance in shown])
            for index, (name, distance) in enumerate(shown):
                look = {**looks[name], "linewidth": 1.2}
                iterations, points = _points(distance.difference)
                axes.plot(iterations, points, markevery=mark_every(index, len(points)), **look)
                label = data.runs[name].label + seeds_said(_counted(rows, name))
                handles[name] = Line2D([], [], label=label, **look)
            if shown:
                axes.set_xlim(0, None if spec.until_iter is None else spec.until_iter / 1e4)
            if row == len(WHICH) - 1:
                axes.set_xlabel("iter. (1e4)")
    last = {grid[-1, i]: missing_run_remarks(panel.runs, data) for i, panel in enumerate(spec.panel)}
    add_remarks(figure, last, data.look)
    if found:
        band = Patch(label=f"±{BAND} standard deviations of the paper's points (the net that scatters most)", **SCATTER)
        legend_below(figure, [*handles.values(), band], data.look)
    return figure


def _points(apart: Difference) -> tuple[Floats, Floats]:
    """Return iterations (1e4) and differences; of training errors without the drops, which ours are means across."""
    drops = PHASES_ITERS[apart.curve.dataset][:2] if apart.curve.kind == "train" else ()
    shown = ~np.isin(apart.iterations, drops)
    return apart.iterations[shown] / 1e4, apart.difference_pct[shown]


def _draw_scatter(axes: Axes, differences: list[Difference]) -> None:
    """Draw the zero line, and two standard deviations of the paper's points: the largest of the nets shown."""
    axes.axhline(0, color="0.35", linewidth=0.8)
    for at in range(len(differences[0].windows)):
        window = differences[0].windows[at].window
        scatters = [d.windows[at].paper_scatter_pct for d in differences]
        most = BAND * max((s for s in scatters if s is not None), default=0.0)
        ends = window.first_iter / 1e4, window.last_iter / 1e4
        axes.fill_between(ends, -most, most, zorder=0.5, **SCATTER)


def table(rows: pd.DataFrame, spec: FigureSpec, data: FigureData) -> Table:
    """Tabulate the means of the differences over the plateau, after the first drop, and at the end."""
    of_all = of_runs(_until(rows, spec), data).values()
    return distance_table(data.title, (distance for of_run in of_all for distance in of_run.values()))
