"""What several kinds of figures share."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from resrepro.config.experiment import FigureSpec
from resrepro.results.records import RunRecord

# Okabe and Ito's palette, told apart by the color-blind; its yellow is too pale for a line on white.
COLORS = ("#E69F00", "#009E73", "#56B4E9", "#D55E00", "#0072B2", "#CC79A7", "#000000")
DEPTHS = ((20, 32, 44, 56, 110, 1202), (18, 34, 50, 101, 152))  # the paper's
FONT_PT = 8.0
TITLE_PT = FONT_PT + 2
REMARK_CHARACTERS = 60  # fit a panel
LINE_SPACING = 1.2


@dataclass(frozen=True, kw_only=True)
class FigureContext:
    """What a figure shows beside its data.

    Args:
        note: departure from the paper's data or schedule, written under the title; empty if there is none.
        labels: run name -> label.
        depths: run name -> weighted layers.
        residual: run name -> whether it has shortcuts.
        paper_error_pct: run name -> the paper's final test error.
        missing: run name -> the command that trains it.
        diverged_iter: run name -> iteration at which one of its seeds diverged.
        records: run name -> the records of its finished and diverged seeds.
        problems: run name -> why a finished seed of it is left out, and what mends that.
    """

    note: str
    labels: Mapping[str, str]
    depths: Mapping[str, int]
    residual: Mapping[str, bool] = field(default_factory=dict)
    paper_error_pct: Mapping[str, float] = field(default_factory=dict)
    missing: Mapping[str, str] = field(default_factory=dict)
    diverged_iter: Mapping[str, int] = field(default_factory=dict)
    records: Mapping[str, tuple[RunRecord, ...]] = field(default_factory=dict)
    problems: Mapping[str, str] = field(default_factory=dict)


def new_figure(spec: FigureSpec, context: FigureContext, width: float, height: float) -> Figure:
    """With title and note, in as many lines as they need; inches."""
    per_line = int(width * 72 / (0.55 * TITLE_PT))  # a letter is about half as wide as high
    lines = [line for text in (spec.title, context.note) for line in textwrap.wrap(text, per_line)]
    figure = Figure(figsize=(width, height + 0.25 * (len(lines) - 1)), layout="constrained")
    figure.suptitle("\n".join(lines), fontsize=TITLE_PT)
    return figure


def depth_colors(depths: Iterable[int]) -> dict[int, str]:
    """A color a depth; the paper's depths have theirs in every figure."""
    shown = sorted(set(depths))
    order = next((family for family in DEPTHS if set(shown) <= set(family)), tuple(shown))
    return {depth: COLORS[order.index(depth) % len(COLORS)] for depth in shown}


def style(axes: Axes) -> None:
    axes.tick_params(which="both", labelsize=FONT_PT)
    axes.grid(color="0.9", linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)


def missing_run_remarks(names: Sequence[str], context: FigureContext) -> list[str]:
    """Lines about what diverged, what is missing and the command that makes it, and what had to be left out."""
    lines = []
    for name in (n for n in names if n in context.diverged_iter):
        lines.append(f"diverged at iteration {context.diverged_iter[name]}: {context.labels[name]}")
    missing: dict[str, list[str]] = {}
    for name in names:
        if name in context.missing:
            missing.setdefault(context.missing[name], []).append(context.labels[name])
    for command, labels in missing.items():
        what = textwrap.fill(f"not run: {', '.join(labels)}", REMARK_CHARACTERS, subsequent_indent="  ")
        lines.append(f"{what}\n  {command}")
    return lines + [f"left out: {context.labels[n]}\n{context.problems[n]}" for n in names if n in context.problems]


def add_remarks(figure: Figure, lines: Mapping[Axes, Sequence[str]]) -> None:
    """Writes the lines under their axes, for which the figure grows, or into them where nothing is drawn."""
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
