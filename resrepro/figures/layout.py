"""Lay out what several kinds of figures share: title, colors, remarks, legend."""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import Locator, NullLocator

from resrepro.figures.data import FigureData, FigureRun
from resrepro.figures.look import POINTS_PER_INCH, Look

TEXT = "0.15"  # of what belongs to a line: its color would be too pale for letters
DASHES: Any = (0, (3, 1.5))
MARKERS = {False: "^v<>d*", True: "osDPXp"}  # of plain nets, and of residual ones: they tell lines apart in gray, too
MARKS_PER_LINE = 8  # about
# The paper's own curves: above the grid, behind our lines.
PUBLISHED: dict[str, Any] = {"color": "0.55", "linewidth": 0.7, "zorder": 1.5}
Share = Literal[True, False, "row", "col"]
NARROWEST_INCHES = 2.4  # panel and labels: below it, panels stand below each other
REMARK_CHARACTERS = 60  # fit a panel
BESIDE_CHARACTERS = 8  # have room left of a panel
LINE_SPACING = 1.2
AXIS_WORDS_EM = 3.5  # height of ticks and words below the axes, in letters
LETTER = 0.55  # width of a letter to its height, about


def letters_in(inches: float, letter_pt: float) -> int:
    """Return how many letters of this size fit a line of this length, about."""
    return int(inches * POINTS_PER_INCH / (LETTER * letter_pt))


def new_figure(data: FigureData, width: float, height: float) -> Figure:
    """Make a figure with title and note in as many lines as they need.

    Args:
        width: inches in the style `paper`; so is `height`.
    """
    look = data.look
    inches = look.width_inches or width * look.zoom
    per_line = max(12, letters_in(inches, 1.25 * look.letter_pt))
    lines = [line for text in (data.title, data.note) for line in textwrap.wrap(text, per_line)]
    size = inches, height * look.zoom + 0.25 * look.scale * (len(lines) - 1)
    figure = Figure(figsize=size, layout="constrained")
    figure.suptitle("\n".join(lines))
    return figure


def panel_grid(
    data: FigureData,
    num_rows: int,
    num_columns: int,
    panel_inches: tuple[float, float],
    *,
    beside_inches: tuple[float, float] = (0.0, 0.5),
    narrowest_inches: float = NARROWEST_INCHES,
    most_of_width: float = 0.8,
    sharex: Share = False,
    sharey: Share = False,
) -> tuple[Figure, Any]:
    """Make a figure with a grid of panels; where they would be too narrow, one below the other, column by column.

    Args:
        panel_inches: width and height of a panel with its labels, in the style `paper`.
        beside_inches: what the figure has beside and below them.
        narrowest_inches: the least width of a panel.
        most_of_width: height of a panel that stands below another, to its width, at most.
        sharex, sharey: as in `Figure.subplots`.

    Returns:
        The figure, and its axes as an array (num_rows, num_columns).
    """
    look, (width, height) = data.look, panel_inches
    if look.width_inches is None or look.width_inches >= num_columns * narrowest_inches * look.scale:
        figure = new_figure(data, num_columns * width + beside_inches[0], num_rows * height + beside_inches[1])
        return figure, figure.subplots(num_rows, num_columns, squeeze=False, sharex=sharex, sharey=sharey)
    height = min(height, most_of_width * look.width_inches / look.zoom)
    figure = new_figure(data, width, num_rows * num_columns * height + beside_inches[1])
    grid = figure.subplots(num_rows * num_columns, 1, squeeze=False).reshape(num_columns, num_rows).T
    groups: dict[Share, Any] = {True: [grid.ravel()], "row": grid, "col": grid.T, False: []}
    for first, *others in groups[sharex]:
        for axes in others:
            axes.sharex(first)
    for first, *others in groups[sharey]:
        for axes in others:
            axes.sharey(first)
    return figure, grid


def line_looks(runs: Mapping[str, FigureRun], names: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Choose color, dashes and marks of each run's line: plain nets have dashes, and runs of one color other marks."""
    looks, used = {}, Counter[str | tuple[str, str]]()
    for name in names:
        run = runs[name]
        marker = min(MARKERS[run.residual], key=lambda mark: (used[run.color, mark], used[mark]))
        used.update([marker, (run.color, marker)])
        line = "-" if run.residual else DASHES
        looks[name] = {"color": run.color, "linestyle": line, "marker": marker, "markersize": 4}
    return looks


def draw_range(axes: Axes, values: pd.DataFrame, look: dict[str, Any]) -> None:
    """Draw `mean` as a line, and a band from `min` to `max`."""
    axes.plot(values.index, values["mean"], **look)
    axes.fill_between(values.index, values["min"], values["max"], color=look["color"], alpha=0.2, linewidth=0)


def log_ticks(axis: Axis, locator: Locator) -> None:
    """Write few round numbers on a logarithmic axis; letters stay letters, so without powers."""
    axis.set_major_locator(locator)
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter("{x:g}")


def mark_every(index: int, num_points: int) -> tuple[int, int]:
    """Return the first of a line's points that has a mark, and the distance to the next; lines begin at others."""
    step = max(1, num_points // MARKS_PER_LINE)
    return index % step, step


def is_leftmost(axes: Axes) -> bool:
    """Tell whether a panel stands in the first column."""
    place = axes.get_subplotspec()
    return place is None or bool(place.is_first_col())


def legend_below(figure: Figure, handles: Sequence[Artist], look: Look) -> None:
    """Explain lines and marks below the panels, in as many columns as fit."""
    letter, width = LETTER * look.letter_pt / POINTS_PER_INCH, figure.get_figwidth()
    for handle in handles:
        handle.set_label(textwrap.fill(str(handle.get_label()), max(12, letters_in(width, look.letter_pt) - 10)))
    widths = [letter * (max(map(len, str(h.get_label()).split("\n"))) + 11) for h in handles]  # with line and space
    counts = range(len(widths), 1, -1)  # of columns, which matplotlib fills one after the other
    fitting = (count for count in counts if sum(map(max, np.array_split(widths, count))) <= width)
    num_columns = next(fitting, 1)
    figure.legend(handles=handles, loc="outside lower center", ncols=num_columns, handlelength=3)
    lines = -(-len(widths) // num_columns) + max(str(handle.get_label()).count("\n") for handle in handles)
    figure.set_figheight(figure.get_figheight() + (lines - 1) * 1.7 * look.letter_pt / POINTS_PER_INCH)


def missing_run_remarks(names: Sequence[str], data: FigureData) -> list[str]:
    """Say which runs diverged, which are missing with the command that trains them, and which had to be left out."""
    runs = [data.runs[name] for name in names]
    lines = [f"diverged at iteration {r.diverged_iter}: {r.label}" for r in runs if r.diverged_iter is not None]
    missing = [run for run in runs if run.missing and data.look.show_missing]
    for command in dict.fromkeys(run.command for run in missing):
        labels = ", ".join(run.label for run in missing if run.command == command)
        what = textwrap.fill(f"not run: {labels}", REMARK_CHARACTERS, subsequent_indent="  ")
        lines.append(f"{what}\n  {command}")
    return lines + [f"left out: {run.label}\n{run.problem}" for run in runs if run.problem]


def add_remarks(figure: Figure, lines: Mapping[Axes, Sequence[str]], look: Look, *, below_points: float = 0.0) -> None:
    """Write the lines under their axes, for which the figure grows, or into the axes if nothing is drawn there.

    Args:
        below_points: height of what stands between the axes and the lines.
    """
    style: dict[str, Any] = {
        "fontsize": 0.9 * look.letter_pt, "color": "0.25", "linespacing": LINE_SPACING,
    }  # fmt: skip
    per_line = max(12, letters_in(figure.get_figwidth(), 0.9 * look.letter_pt) - BESIDE_CHARACTERS)
    most = 0
    for axes, of_axes in lines.items():
        written = [line for text in of_axes for line in text.split("\n")]
        text = "\n".join(textwrap.fill(line, per_line, subsequent_indent="  ") for line in written)
        if not axes.has_data():
            axes.text(0.03, 0.5, text, transform=axes.transAxes, va="center", in_layout=False, **style)
        elif text:
            offset = 0, -AXIS_WORDS_EM * look.letter_pt - below_points
            below: dict[str, Any] = {"xytext": offset, "textcoords": "offset points", "va": "top"}
            axes.annotate(text, (0, 0), xycoords="axes fraction", **below, **style)
            most = max(most, len(text.splitlines()))
    figure.set_figheight(figure.get_figheight() + most * LINE_SPACING * look.letter_pt / POINTS_PER_INCH)
