"""Lay out what several kinds of figures share: title, colors, remarks."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from resrepro.figures.data import FigureData
from resrepro.figures.palette import COLORS

LINE_COLORS = (*COLORS, "#000000")  # black is seen on the figures' white ground
DEPTHS = ((20, 32, 44, 56, 110, 1202), (18, 34, 50, 101, 152))  # the paper's
FONT_PT = 8.0
# The paper's own curves: above the grid, behind our lines.
PUBLISHED: dict[str, Any] = {"color": "0.55", "linewidth": 0.7, "zorder": 1.5}
TITLE_PT = FONT_PT + 2
REMARK_CHARACTERS = 60  # fit a panel
LINE_SPACING = 1.2


def new_figure(data: FigureData, width: float, height: float) -> Figure:
    """Make a figure of this size in inches, with title and note in as many lines as they need."""
    per_line = int(width * 72 / (0.55 * TITLE_PT))  # a letter is about half as wide as high
    lines = [line for text in (data.title, data.note) for line in textwrap.wrap(text, per_line)]
    figure = Figure(figsize=(width, height + 0.25 * (len(lines) - 1)), layout="constrained")
    figure.suptitle("\n".join(lines), fontsize=TITLE_PT)
    return figure


def depth_colors(depths: Iterable[int]) -> dict[int, str]:
    """Choose a color for each depth; the paper's depths have the same ones in every figure."""
    shown = sorted(set(depths))
    order = next((family for family in DEPTHS if set(shown) <= set(family)), tuple(shown))
    return {depth: LINE_COLORS[order.index(depth) % len(LINE_COLORS)] for depth in shown}


def style(axes: Axes) -> None:
    """Give axes the look of all figures: small tick labels, a pale grid, no frame above and on the right."""
    axes.tick_params(which="both", labelsize=FONT_PT)
    axes.grid(color="0.9", linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)


def missing_run_remarks(names: Sequence[str], data: FigureData) -> list[str]:
    """Say which runs diverged, which are missing with the command that trains them, and which had to be left out."""
    runs = [data.runs[name] for name in names]
    lines = [f"diverged at iteration {r.diverged_iter}: {r.label}" for r in runs if r.diverged_iter is not None]
    for command in dict.fromkeys(run.command for run in runs if run.missing):
        labels = ", ".join(run.label for run in runs if run.missing and run.command == command)
        what = textwrap.fill(f"not run: {labels}", REMARK_CHARACTERS, subsequent_indent="  ")
        lines.append(f"{what}\n  {command}")
    return lines + [f"left out: {run.label}\n{run.problem}" for run in runs if run.problem]


def add_remarks(figure: Figure, lines: Mapping[Axes, Sequence[str]]) -> None:
    """Write the lines under their axes, for which the figure grows, or into the axes if nothing is drawn there."""
    style: dict[str, Any] = {"fontsize": FONT_PT - 1, "color": "0.25", "linespacing": LINE_SPACING}
    most = 0
    for axes, of_axes in lines.items():
        text = "\n".join(of_axes)
        if not axes.has_data():
            axes.text(0.03, 0.5, text, transform=axes.transAxes, va="center", in_layout=False, **style)
        elif text:
            under_labels: dict[str, Any] = {"xytext": (0, -3.5 * FONT_PT), "textcoords": "offset points", "va": "top"}
            axes.annotate(text, (0, 0), xycoords="axes fraction", **under_labels, **style)
            most = max(most, len(text.splitlines()))
    figure.set_figheight(figure.get_figheight() + most * LINE_SPACING * FONT_PT / 72)
