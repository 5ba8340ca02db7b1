"""Standard deviation of layer responses: Fig. 7."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator, NullLocator

from resrepro.config.architectures import architecture
from resrepro.config.experiment import FigureSpec
from resrepro.config.run import Run
from resrepro.errors import UserError
from resrepro.figures.layout import (
    FONT_PT,
    FigureContext,
    add_remarks,
    depth_colors,
    missing_run_remarks,
    new_figure,
    style,
)
from resrepro.results.csv_rows import MEND, read_rows
from resrepro.results.paths import RunFiles
from resrepro.results.records import Response, RunRecord

PANEL_INCHES = (5.5, 2.4)
FAR = 5  # times the median: the rest would be flat on a linear axis


def rows(files: RunFiles, run: Run, record: RunRecord | None) -> list[dict[str, object]]:
    """A row a 3x3 layer of a finished run."""
    if record is None or record.status == "diverged":
        return []
    found = read_rows(files.responses, Response)
    if not found:
        raise UserError(f"{files.responses}: not there (finished by an older version); {MEND}")
    if found[-1].layer < architecture(run.arch).depth - 2:  # what follows the last 3x3 layer: a 1x1 at most, and fc
        raise UserError(f"{files.responses}: cut short after layer {found[-1].layer}; {MEND}")
    return [dict(row) for row in found]


def draw(table: pd.DataFrame, spec: FigureSpec, context: FigureContext) -> Figure:
    """Above the layers in their order, below sorted, the largest first; a line a run, the mean over its seeds."""
    num_panels = len(spec.panel)
    figure = new_figure(spec, context, num_panels * PANEL_INCHES[0], 2 * PANEL_INCHES[1] + 0.5)
    grid = figure.subplots(2, num_panels, squeeze=False, sharex=True, sharey=True)
    shown = [name for name in spec.run_names if name in set(table["run"])]
    colors = depth_colors(context.depths[name] for name in spec.run_names)
    drawn = {}
    for column, panel in enumerate(spec.panel):
        upper, lower = grid[:, column]
        for axes, order in ((upper, "original order"), (lower, "sorted")):
            style(axes)
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
            axes.set_xlabel(f"layer ({order})", fontsize=FONT_PT)
            axes.tick_params(labelbottom=True)
            if column == 0:
                axes.set_ylabel("standard deviation", fontsize=FONT_PT)
        upper.set_title(panel.title, fontsize=FONT_PT + 1)
        for name in (name for name in panel.runs if name in shown):
            std = table[table["run"] == name].groupby("layer")["std"].mean()
            line = {
                "color": colors[context.depths[name]],
                "linestyle": "-" if context.residual[name] else (0, (3, 1.5)),
                "linewidth": 1.4,
            }
            (drawn[name],) = upper.plot(std.index, std, **line)
            ordered = std.sort_values(ascending=False)
            lower.plot(range(1, len(ordered) + 1), ordered, **line)
        if not upper.has_data():
            upper.set(xticks=[], yticks=[])
    add_remarks(figure, {grid[1, i]: missing_run_remarks(panel.runs, context) for i, panel in enumerate(spec.panel)})
    if drawn:
        if table["std"].max() > FAR * table["std"].median():
            grid[0, 0].set_yscale("log")
            grid[0, 0].yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            grid[0, 0].yaxis.set_minor_locator(NullLocator())
            grid[0, 0].yaxis.set_major_formatter("{x:g}")
        else:
            grid[0, 0].set_ylim(0, 1.05 * float(table["std"].max()))
        labels = [_label(table, name, context) for name in drawn]
        figure.legend(
            drawn.values(), labels, fontsize=FONT_PT, frameon=False, loc="outside lower center",
            ncols=min(len(labels), 3 * num_panels), handlelength=3,
        )  # fmt: skip
    return figure


def _label(table: pd.DataFrame, name: str, context: FigureContext) -> str:
    num_seeds = table[table["run"] == name]["seed"].nunique()
    return context.labels[name] + (f" (mean of {num_seeds} seeds)" if num_seeds > 1 else "")
