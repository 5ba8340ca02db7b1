"""Draw error against depth for plain nets: from scratch, made deeper by identity layers, and trained on (Sec. 1)."""

from __future__ import annotations

from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from resrepro.config.architectures import architecture
from resrepro.config.experiment import FigureSpec, PanelSpec
from resrepro.config.run import Run
from resrepro.errors import UserError
from resrepro.figures.data import FigureData, seeds_said
from resrepro.figures.layout import (
    DASHES,
    TEXT,
    add_remarks,
    is_leftmost,
    legend_below,
    missing_run_remarks,
    panel_grid,
)
from resrepro.figures.palette import BLUE, GREEN, VERMILION
from resrepro.results.csv_rows import mend, read_rows
from resrepro.results.paths import RunFiles
from resrepro.results.records import ConstructedComparison, RunRecord

PANEL_INCHES = (4.4, 3.6)
STATES: dict[str, dict[str, Any]] = {  # how a net came to be -> its line
    "trained from scratch": {"color": VERMILION, "marker": "o", "linestyle": "-"},
    "made of the shallower net and identity layers": {"color": BLUE, "marker": "s", "linestyle": DASHES},
    "made so, and trained on": {"color": GREEN, "marker": "^", "linestyle": "-"},
}
SCRATCH, MADE, TRAINED_ON = STATES
ABOVE = {SCRATCH: 6, MADE: 6, TRAINED_ON: -12}  # where a value is written, points from its marker
COLUMNS = {"train": "train_error_pct", "test": "test_error_pct"}
FIELDS = ("state", "depth", *COLUMNS.values(), "largest_difference", "largest_output", "precision")


def rows(files: RunFiles, run: Run, record: RunRecord | None) -> list[dict[str, object]]:
    """Read one row per state of the net: as made, with the shallower net where that line begins; and as trained."""
    depth, found = architecture(run.arch).depth, []
    if not depth:
        raise UserError(f"{run.arch}: its number of layers is not known; kind 'identity' shows plain nets of CIFAR")
    if run.start_from is not None:
        parts = {row.part: row for row in read_rows(files.identity, ConstructedComparison)}
        if record is not None and len(parts) < 2:
            raise UserError(f"{files.identity}: not there, or cut short; {mend(files.identity)}")
        if len(parts) == 2:
            common = {
                "largest_difference": max(row.largest_difference for row in parts.values()),
                "largest_output": max(row.largest_output for row in parts.values()),
                "precision": record.precision if record else "",
            }
            shallower = architecture(run.start_from.arch).depth
            made = {COLUMNS[part]: row.error_pct for part, row in parts.items()}
            source = {COLUMNS[part]: row.shallower_error_pct for part, row in parts.items()}
            found = [{"state": MADE, "depth": shallower, **source}, {"state": MADE, "depth": depth, **made, **common}]
    if record is not None and record.status == "finished":
        found.append(
            {
                "state": TRAINED_ON if run.start_from else SCRATCH,
                "depth": depth,
                "train_error_pct": record.final_train_error_clean_pct,
                "test_error_pct": record.test_error_pct,
            }
        )
    return found


def draw(rows: pd.DataFrame, spec: FigureSpec, data: FigureData) -> Figure:
    """Draw one panel per error, the mean over the seeds.

    Args:
        rows: one row per state of a net and seed, as `rows` reads them.
    """
    figure, (all_axes,) = panel_grid(data, 1, len(spec.panel), PANEL_INCHES, beside_inches=(0.0, 0.0))
    lines = {}
    for axes, panel in zip(all_axes, spec.panel, strict=True):
        own = rows[rows["run"].isin(panel.runs)]
        _draw_panel(axes, own, panel)
        first = _difference(own) if axes is all_axes[0] else []
        lines[axes] = first + missing_run_remarks(panel.runs, data) + _unfinished(own, data)
    add_remarks(figure, lines, data.look)
    for axes in filter(is_leftmost, all_axes):
        axes.set_ylabel("error (%)")
    if not rows.empty:
        by_state = {state: rows[rows["state"] == state] for state in STATES}
        handles = [
            Line2D([], [], label=state + seeds_said(own), markersize=5, **STATES[state])
            for state, own in by_state.items()
            if len(own)
        ]
        legend_below(figure, handles, data.look)
    return figure


def _draw_panel(axes: Axes, own: pd.DataFrame, panel: PanelSpec) -> None:
    axes.set_title(panel.title)
    axes.set_xlabel("layers")
    axes.set_xticks(sorted(own["depth"].unique()))
    axes.margins(x=0.1, y=0.2)
    column = COLUMNS[panel.show[0]]
    for state, of_state in own.groupby("state", sort=False):
        errors = of_state.groupby("depth")[column].mean()
        axes.plot(errors.index, errors, markersize=5, linewidth=1.4, **STATES[str(state)])
        for depth, error in errors.items() if state != MADE else list(errors.items())[1:]:
            axes.annotate(
                f"{error:.2f}", (depth, error), xytext=(0, ABOVE[str(state)]), textcoords="offset points", ha="center",
                fontsize="small", color=TEXT,
            )  # fmt: skip
    if own[column].isna().all():
        axes.set(xticks=[], yticks=[])
    else:
        axes.set_ylim(0, 1.15 * own[column].max())  # with room for the highest value's words
        axes.yaxis.set_major_locator(MaxNLocator(nbins=6, steps=[1, 2, 5, 10]))


def _difference(own: pd.DataFrame) -> list[str]:
    made = own.dropna(subset=["largest_difference"])
    if made.empty:
        return []
    where = ", ".join(sorted({precision for precision in made["precision"] if precision}))
    return [
        f"as made, outputs differ by at most {made['largest_difference'].max():.2g}{where and f' ({where})'}\n"
        f"from the shallower net's, which go up to {made['largest_output'].max():.3g}"
    ]


def _unfinished(own: pd.DataFrame, data: FigureData) -> list[str]:
    names = own[own["status"] == "unfinished"]["run"].unique()
    return [f"not yet trained on: {', '.join(data.runs[name].label for name in names)}"] if len(names) else []
