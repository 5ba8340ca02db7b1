"""Draw the standard deviation of layer responses: Fig. 7."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, MaxNLocator

from resrepro.config.architectures import architecture
from resrepro.config.experiment import FigureSpec
from resrepro.config.run import Run
from resrepro.errors import UserError
from resrepro.figures.data import FigureData, FigureRun, seeds_said
from resrepro.figures.layout import (
    DASHES,
    PUBLISHED,
    add_remarks,
    is_leftmost,
    legend_below,
    line_looks,
    log_ticks,
    mark_every,
    missing_run_remarks,
    panel_grid,
)
from resrepro.paper.curves import published_responses, response_difference
from resrepro.results.analyses import read_responses
from resrepro.results.csv_rows import mend
from resrepro.results.paths import RunFiles
from resrepro.results.records import RunRecord
from resrepro.results.tables import Table

PANEL_INCHES = (5.5, 2.4)
DOTS: dict[str, Any] = {"linestyle": "", "marker": "o", "markersize": 3, "fillstyle": "none"}
FAR = 5  # times the median: the rest would be flat on a linear axis


def rows(files: RunFiles, run: Run, record: RunRecord | None) -> list[dict[str, object]]:
    """Read a row a 3x3 layer of a finished run."""
    if record is None or record.status == "diverged":
        return []
    found = read_responses(files, run.arch)
    if not found and files.responses.exists() and architecture(run.arch).own:
        raise UserError(f"{files.responses}: no responses; no 3x3 layer of {run.arch} has a BN that is named after it")
    if not found:
        raise UserError(f"{files.responses}: not there (finished by an older version); {mend(files.responses)}")
    return [dict(row) for row in found]


def distance_table(rows: pd.DataFrame, _spec: FigureSpec, data: FigureData) -> Table:
    """Tabulate the mean response beside the paper's, and the root mean square of the differences over the layers."""
    cells = []
    for name, run in data.runs.items():
        own, published = rows[rows["run"] == name], published_responses(name)
        if own.empty or published is None:
            continue
        std = own.groupby("layer")["std"].mean()
        apart = response_difference(published, std)
        level = f"{100 * (std.mean() / published.std.mean() - 1):+.0f}"
        by_layer, by_rank = (f"{np.sqrt(np.mean(values**2)):.2f}" for values in (apart.by_layer, apart.by_rank))
        means = f"{published.std.mean():.2f}", f"{std.mean():.2f}"
        cells.append((run.label, str(own["seed"].nunique()), *means, level, by_layer, by_rank))
    return Table(
        title=data.title,
        columns=("net", "seeds", "paper, mean", "ours, mean", "level (%)", "layer by layer", "sorted"),
        rows=tuple(cells),
        notes=(
            "mean: of the standard deviations over the 3x3 layers; level: how far ours is above the paper's",
            "layer by layer, sorted: root mean square of the differences over the layers, as in Fig. 7 top and bottom",
        ),
    )


def draw(rows: pd.DataFrame, spec: FigureSpec, data: FigureData) -> Figure:
    """Draw the layers in their order above, and sorted below, the largest first; one line per run, its seeds' mean.

    Args:
        rows: one row per layer and seed, as `rows` reads them. Where they have a column `measured`, `std` is taken from
            the weights, and what was measured is drawn as dots.
    """
    figure, grid = panel_grid(data, 2, len(spec.panel), PANEL_INCHES, sharex="col", sharey=True)
    there = [name for name in spec.run_names if name in set(rows["run"])]
    looks = line_looks(data.runs, there)
    drawn: dict[str, Line2D] = {}
    for column, panel in enumerate(spec.panel):
        upper, lower = grid[:, column]
        for axes, order in ((upper, "original order"), (lower, "sorted")):
            axes.xaxis.set_major_locator(MaxNLocator("auto", integer=True))
            axes.set_xlabel(f"layer ({order})")
            axes.tick_params(labelbottom=True)
            if is_leftmost(axes):
                axes.set_ylabel("standard deviation")
        upper.set_title(panel.title)
        for index, name in enumerate(name for name in panel.runs if name in looks):
            _draw_published(upper, lower, data.runs[name])
            drawn[name] = _draw_run(upper, lower, rows[rows["run"] == name], looks[name], index)
        if not upper.has_data():
            upper.set(xticks=[], yticks=[])
    remarks = {grid[1, i]: missing_run_remarks(panel.runs, data) for i, panel in enumerate(spec.panel)}
    add_remarks(figure, remarks, data.look)
    if drawn:
        _scale(grid[0], [y for axes in grid.flat for line in axes.lines for y in np.asarray(line.get_ydata())])
        for name, line in drawn.items():
            line.set_label(_label(rows, name, data))
        handles = [*drawn.values()]
        if "measured" in rows and rows["measured"].notna().any():
            handles.append(Line2D([], [], label="measured on images", color="0.3", **DOTS))
        if any(data.runs[name].published for name in drawn):
            handles.append(Line2D([], [], label="the paper's", **PUBLISHED))
        legend_below(figure, handles, data.look)
    return figure


def _draw_published(upper: Axes, lower: Axes, run: FigureRun) -> None:
    """Draw the paper's own responses as thin gray lines behind ours."""
    found = published_responses(next(iter(run.published.values())).run) if run.published else None
    if found is not None:
        look: Any = {**PUBLISHED, "linestyle": "-" if run.residual else DASHES}
        upper.plot(found.layers, found.std, **look)
        lower.plot(range(1, len(found.std) + 1), sorted(found.std, reverse=True), **look)


def _draw_run(upper: Axes, lower: Axes, own: pd.DataFrame, line_look: dict[str, Any], index: int) -> Line2D:
    """Draw a run's mean over its seeds into both axes. Returns the upper line."""
    std = own.groupby("layer")["std"].mean()
    look = {**line_look, "linewidth": 1.4, "markevery": mark_every(index, len(std))}
    (line,) = upper.plot(std.index, std, **look)
    lower.plot(range(1, len(std) + 1), std.sort_values(ascending=False), **look)
    if "measured" in own and own["measured"].notna().all():
        dots = {**DOTS, "color": line_look["color"]}
        upper.plot(own["layer"], own["measured"], **dots)
        lower.plot(range(1, len(own) + 1), own["measured"].sort_values(ascending=False), **dots)
    return line


def _scale(columns: Iterable[Axes], drawn: list[float]) -> None:
    """Choose the axes: layers from 1; from zero for all, or logarithmic if a few values are far above others."""
    for axes in columns:
        axes.set_xlim(left=0.5)
    if max(drawn) > FAR * float(np.median(drawn)):
        axes.set_yscale("log")
        log_ticks(axes.yaxis, LogLocator(subs=(1, 2, 5)))
    else:
        axes.set_ylim(0, 1.05 * max(drawn))


def _label(rows: pd.DataFrame, name: str, data: FigureData) -> str:
    return data.runs[name].label + seeds_said(rows[rows["run"] == name])
