"""Draw nets without some of their blocks, and the gradient by path length (Veit, Wilber, Belongie 2016)."""

from __future__ import annotations

from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from resrepro.config.experiment import FigureSpec
from resrepro.config.run import Run
from resrepro.figures.data import FigureData, FigureRun, seeds_said
from resrepro.figures.layout import add_remarks, draw_range, legend_below, line_looks, missing_run_remarks, panel_grid
from resrepro.results.csv_rows import read_rows
from resrepro.results.laboratory import Lesion, PathGradient
from resrepro.results.paths import RunFiles
from resrepro.results.records import RunRecord

FIELDS = (*dict.fromkeys([*Lesion.model_fields, *PathGradient.model_fields]),)
PANEL_INCHES = (3.6, 2.5)
PATHS: dict[str, Any] = {"color": "0.4", "linewidth": 0.9, "linestyle": "-."}
THIN: dict[str, Any] = {"linewidth": 0.8, "linestyle": ":"}


def rows(files: RunFiles, _run: Run, record: RunRecord | None) -> list[dict[str, object]]:
    """Read one row per lesion, and one row per path; none where the net was not yet measured."""
    if record is None or record.status == "diverged":
        return []
    return [dict(row) for row in (*read_rows(files.lesions, Lesion), *read_rows(files.paths, PathGradient))]


def draw(rows: pd.DataFrame, spec: FigureSpec, data: FigureData) -> Figure:
    """Draw error without one block, without several, with blocks permuted; and the gradient by path length.

    Args:
        rows: one row per lesion or path, as `rows` reads them; seeds of a run are drawn together.
    """
    figure, grid = panel_grid(data, 2, 2, PANEL_INCHES)
    one, several, permuted, paths = grid.flat
    handles: list[Line2D] = []
    names = [name for name in spec.run_names if name in set(rows["run"])]
    for name, marked in line_looks(data.runs, names).items():
        own, run, look = rows[rows["run"] == name], data.runs[name], {**marked, "linewidth": 1.3}
        whole = own[own["kind"] == "whole"]["error_pct"].mean()
        for axes in (one, several, permuted):
            axes.axhline(whole, color=run.color, **THIN)
        _draw_one(one, own[own["kind"] == "one"], look)
        _draw_several(several, own[own["kind"].isin(["whole", "one", "several"])], look)
        shuffled = own[own["kind"].isin(["whole", "permuted"])]
        permuted.plot(shuffled["kendall_tau"], shuffled["error_pct"], **{**look, "linestyle": ""})
        _draw_paths(paths, own[own["length"].notna()], look)
        handles.append(Line2D([], [], label=_label(run, own), **look))
    _name_axes(one, several, permuted, paths)
    add_remarks(figure, {permuted: missing_run_remarks(spec.run_names, data)}, data.look)
    if handles:
        handles.append(Line2D([], [], color="0.3", label="the whole net", **THIN))
        open_marker: Any = {"color": "0.3", "linestyle": "", "marker": "o", "fillstyle": "none", "markersize": 4}
        handles.append(Line2D([], [], label="open: dimensions change in this block", **open_marker))
        if rows["length"].notna().any():
            handles.append(Line2D([], [], label="number of paths, share", **PATHS))
        legend_below(figure, handles, data.look)
    else:
        for axes in (one, several, permuted, paths):
            axes.set(xticks=[], yticks=[])
    return figure


def _draw_one(axes: Axes, own: pd.DataFrame, look: Any) -> None:
    """Draw the error without each block; blocks at which dimensions change have an open marker."""
    by_block = own.groupby("draw").agg(error=("error_pct", "mean"), name=("blocks", "first"))
    changes = by_block["name"].str.fullmatch(r"layer([2-9])\.0")
    axes.plot(by_block.index + 1, by_block["error"], **{**look, "marker": ""})
    for which, fill in ((~changes, "full"), (changes, "none")):
        marks: Any = {**look, "linestyle": "", "fillstyle": fill}
        axes.plot(by_block.index[which] + 1, by_block["error"][which], **marks)


def _draw_several(axes: Axes, own: pd.DataFrame, look: Any) -> None:
    errors = own.groupby("num_blocks")["error_pct"].agg(["mean", "min", "max"])
    draw_range(axes, errors, {**look, "marker": ""})


def _draw_paths(axes: Axes, own: pd.DataFrame, look: Any) -> None:
    """Draw which share of all paths has each length, and which share of the gradient's norm comes through them.

    The band goes from what it were if all paths of a length had the least norm that was drawn, to the largest.
    """
    if own.empty:
        return
    paths = own.groupby("length")["num_paths"].first()
    norms = own.groupby("length")["gradient_norm"].agg(["mean", "min", "max"])
    through = norms.mul(paths, axis="index")
    elsewhere = through["mean"].sum() - through["mean"]
    shares = 100 * (through.T / (elsewhere + through.T)).T
    draw_range(axes, shares, look)
    share = 100 * paths / paths.sum()
    axes.plot(share.index, share, **PATHS | {"color": look["color"]})


def _name_axes(one: Axes, several: Axes, permuted: Axes, paths: Axes) -> None:
    for axes, title, x in (
        (one, "one block removed", "block"),
        (several, "several removed: mean, range", "number of blocks removed"),
        (permuted, "blocks permuted", "Kendall's tau with the trained order"),
        (paths, "gradient by path: mean, range", "blocks on the path"),
    ):
        axes.set_title(title)
        axes.set_xlabel(x)
        axes.set_ylabel("share (%)" if axes is paths else "test error (%)")
        axes.set_ylim(bottom=0)
        if axes is not permuted:
            axes.xaxis.set_major_locator(MaxNLocator("auto", integer=True))
    one.set_xlim(left=0.5)
    permuted.invert_xaxis()


def _label(run: FigureRun, own: pd.DataFrame) -> str:
    num_images = int(own["num_images"][own["kind"] == "whole"].iloc[0])
    return f"{run.label}{seeds_said(own)}, {num_images:,} test images"
