"""Draw error against iterations: Fig. 1, Fig. 6 and their like."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from resrepro.config.experiment import FigureSpec, PanelSpec
from resrepro.config.run import Run
from resrepro.figures.data import FigureData
from resrepro.figures.layout import (
    DASHES,
    NARROWEST_INCHES,
    PUBLISHED,
    TEXT,
    add_remarks,
    legend_below,
    missing_run_remarks,
    new_figure,
)
from resrepro.figures.look import Look
from resrepro.results.paths import RunFiles
from resrepro.results.records import RunRecord
from resrepro.results.run_store import read_points

STYLES: dict[str, dict[str, Any]] = {
    "dashed": {"linestyle": DASHES, "linewidth": 1.0},  # the paper's training error in Fig. 6
    "thin": {"linestyle": "-", "linewidth": 0.8},  # in Fig. 4
    "test": {"linestyle": "-", "linewidth": 2.0},
}
COLUMNS = {"train": "train_error_pct", "test": "test_error_pct"}
NAMES = {"train": "training", "test": "test"}
PANEL_INCHES = (3.35, 3.3)
LABEL_INCHES = 1.7  # room for the labels at the lines' ends


@dataclass(kw_only=True)
class _End:
    """Hold a label at a line's end."""

    y: float
    text: str
    color: str


def rows(files: RunFiles, _run: Run, _record: RunRecord | None) -> list[dict[str, object]]:
    """Read the curve points of a run, finished or not; test errors with averaged BN statistics where recorded."""
    return [{**dict(point), "test_error_pct": point.shown_test_error_pct} for point in read_points(files)]


def draw(rows: pd.DataFrame, spec: FigureSpec, data: FigureData) -> Figure:
    """Draw a panel of curves beside another.

    Args:
        rows: one row per curve point and seed, as `rows` reads them.
    """
    if spec.until_iter is not None:
        rows = rows[rows["iteration"] <= spec.until_iter]
    look, num_panels = data.look, len(spec.panel)
    num_columns, width, height = _panels(num_panels, look)
    num_rows = -(-num_panels // num_columns)
    figure = new_figure(data, num_columns * width, num_rows * height)
    shown = rows[rows["run"].isin(spec.run_names)]
    axis = _error_axis(shown, spec, data)
    kinds = {which for panel in spec.panel for which in panel.show}
    only = f"{NAMES[kinds.pop()]} " if len(kinds) == 1 else ""
    lines = {}
    for index, panel in enumerate(spec.panel):
        axes = figure.add_subplot(num_rows, num_columns, index + 1)
        lines[axes] = _draw_panel(axes, rows, panel, data, axis, spec.train_line, height)
        if index % num_columns == 0:
            axes.set_ylabel(f"{only}error (%)")
    add_remarks(figure, lines, look)
    if not shown.empty:
        _legend(figure, spec, data, shown)
    return figure


def _panels(num_panels: int, look: Look) -> tuple[int, float, float]:
    """Return the number of columns, and each panel's width with its labels and its height in inches of `paper`."""
    natural = PANEL_INCHES[0] + LABEL_INCHES * look.scale / look.zoom
    if look.width_inches is None:
        return num_panels, natural, PANEL_INCHES[1]
    num_columns = min(num_panels, max(1, int(look.width_inches / (NARROWEST_INCHES * look.scale))))
    width = look.width_inches / num_columns / look.zoom
    return num_columns, width, min(PANEL_INCHES[1], 0.8 * width)


def _error_axis(shown: pd.DataFrame, spec: FigureSpec, data: FigureData) -> tuple[float, float]:
    """Return the paper's axis for the paper's runs, otherwise what the later two thirds of the curves need."""
    if spec.error_max_pct is not None and not data.note:
        return spec.error_min_pct, spec.error_max_pct
    if shown.empty:
        return 0.0, 100.0
    late = shown[shown["iteration"] >= shown["iteration"].max() / 3]
    highest = float(late[["train_error_pct", "test_error_pct"]].max(axis=None))
    return 0.0, min(100.0, 1.1 * highest)


def _draw_panel(
    axes: Axes,
    rows: pd.DataFrame,
    panel: PanelSpec,
    data: FigureData,
    axis: tuple[float, float],
    train_line: str,
    height: float,
) -> list[str]:
    """Draw the curves of one panel. Returns the remarks to write under it."""
    axes.set_title(panel.title)
    present = rows[rows["run"].isin(panel.runs)]
    last = float(present["iteration"].max()) if len(present) else 64000.0
    unit = 1e4 if last >= 1e4 else 1.0
    axes.set_xlabel("iter. (1e4)" if unit > 1 else "iter.")
    axes.set_xlim(0, last / unit)
    axes.set_ylim(*axis)
    axes.yaxis.set_major_locator(MaxNLocator(nbins=6, steps=[1, 2, 5, 10]))
    if present.empty:
        axes.set(xticks=[], yticks=[])
    _draw_published(axes, panel, data, set(present["run"]), train_line, unit)
    ends, outside = [], []
    for name in panel.runs:
        own, color = _counted(rows[rows["run"] == name]), data.runs[name].color
        if own.empty:
            continue
        for which in panel.show:
            value = _draw_run(axes, own, which, train_line, unit, color)
        paper = _paper_tick(panel, name, data)
        text = _end_text(own, data.runs[name].label, value, paper)
        if not axis[0] <= value <= axis[1]:
            outside.append(text)
        else:
            ends.append(_End(y=value, text=text, color=color))
        if paper is not None and not data.runs[name].published:  # else its curve says more
            axes.plot(
                last / unit, paper, marker="<", markersize=5, color=color,
                markeredgecolor="white", markeredgewidth=0.5, clip_on=False, zorder=5,
            )  # fmt: skip
    _label_ends(axes, ends, axis, height, data.look)
    return [f"outside the axis: {text}" for text in outside] + missing_run_remarks(panel.runs, data)


def _draw_published(
    axes: Axes, panel: PanelSpec, data: FigureData, present: set[str], train_line: str, unit: float
) -> None:
    """Draw the paper's own curves of the nets that we have run as thin gray lines behind ours."""
    for which in panel.show:
        runs = [data.runs[name] for name in panel.runs if name in present]
        found = [run.published[which] for run in runs if which in run.published]
        for curve in {curve.run: curve for curve in found}.values():  # each net once
            line = STYLES[train_line if which == "train" else which]["linestyle"]
            axes.plot(curve.iterations / unit, curve.error_pct, linestyle=line, **PUBLISHED)


def _counted(own: pd.DataFrame) -> pd.DataFrame:
    """Return a run's finished seeds, or what there is if none is finished."""
    done = own[own["status"] == "finished"]
    return own if done.empty else done


def _draw_run(axes: Axes, own: pd.DataFrame, which: str, train_line: str, unit: float, color: str) -> float:
    """Draw the mean over the seeds and a band of one standard deviation on each side. Returns the line's last value.

    Args:
        which: train or test.
        unit: iterations to one on the axis.
    """
    by_iteration = own.groupby("iteration")[COLUMNS[which]]
    num_seeds = own["seed"].nunique()
    complete = by_iteration.count() == num_seeds
    mean = by_iteration.mean()[complete]
    x = mean.index.to_numpy() / unit
    axes.plot(x, mean, color=color, **STYLES[train_line if which == "train" else which])
    if num_seeds > 1:
        std = by_iteration.std()[complete]
        axes.fill_between(x, mean - std, mean + std, color=color, alpha=0.2, linewidth=0)
    if (own["status"] == "diverged").any():
        axes.plot(x[-1], mean.iloc[-1], marker="x", markersize=7, color=color, clip_on=False)
    return float(mean.iloc[-1])


def _end_text(own: pd.DataFrame, label: str, value: float, paper: float | None) -> str:
    num_seeds = own["seed"].nunique()
    remarks = ([f"n = {num_seeds}"] if num_seeds > 1 else []) + ([] if paper is None else [f"paper {paper:.2f}"])
    text = f"{label}  {value:.2f}" + (f" ({', '.join(remarks)})" if remarks else "")
    statuses = set(own["status"])
    if "diverged" in statuses:
        return f"{text}, diverged"
    return f"{text}, unfinished" if "unfinished" in statuses else text


def _label_ends(axes: Axes, ends: list[_End], axis: tuple[float, float], panel_inches: float, look: Look) -> None:
    """Write labels right of the axes, moved apart so that none covers another, each joined to its line's end."""
    drawn_inches = max(0.5, panel_inches * look.zoom - 0.9 * look.scale)
    height = (axis[1] - axis[0]) * (look.letter_pt * 1.35 / 72) / drawn_inches
    ends.sort(key=lambda end: end.y)
    places = [end.y for end in ends]
    for _ in range(200):  # neighbors push each other apart until all have room
        for i in range(len(places) - 1):
            overlap = height - (places[i + 1] - places[i])
            if overlap > 1e-9:
                places[i] -= overlap / 2
                places[i + 1] += overlap / 2
        shift = max(0.0, axis[0] + height / 2 - places[0]) if places else 0.0
        places = [p + shift for p in places]
    for end, place in zip(ends, places, strict=True):
        axes.annotate(
            end.text, xy=(1.0, end.y), xytext=(1.05, place), xycoords=axes.get_yaxis_transform(),
            textcoords=axes.get_yaxis_transform(), color=TEXT, va="center",
            arrowprops={
                "arrowstyle": "-", "color": end.color, "linewidth": 1.5 * look.scale, "shrinkA": 1, "shrinkB": 3,
                "relpos": (0, 0.5),
            },
            annotation_clip=False,
        )  # fmt: skip


def _legend(figure: Figure, spec: FigureSpec, data: FigureData, rows: pd.DataFrame) -> None:
    """Explain lines and bands below the panels; one error alone is named at the axis or in the panels' titles."""
    drawn = [which for which in NAMES if any(which in panel.show for panel in spec.panel)]
    texts = [f"{NAMES[which]} error" for which in drawn]
    num_seeds = rows.groupby("run")["seed"].nunique()
    texts[-1] += " (last value in the labels)"
    styles = [STYLES[spec.train_line if which == "train" else which] for which in drawn]
    handles: list[Artist] = [
        Line2D([], [], color="0.3", label=text, **look) for text, look in zip(texts, styles, strict=True)
    ]
    shown_ticks = (name for panel in spec.panel for name in panel.runs if _paper_tick(panel, name, data) is not None)
    if any(not data.runs[name].published for name in shown_ticks):
        handles.append(Line2D([], [], color="0.3", marker="<", linestyle="", markersize=5, label="paper's test error"))
    if any(data.runs[name].published for name in num_seeds.index):
        handles.append(Line2D([], [], label="the paper's curves", **PUBLISHED))
    if num_seeds.max() > 1:
        handles.append(Patch(color="0.3", alpha=0.2, linewidth=0, label="±1 standard deviation between n seeds"))
    else:
        handles.append(Line2D([], [], linestyle="", label="one seed each"))
    if len(drawn) < 2 or any(len(panel.show) < 2 for panel in spec.panel):
        handles = handles[len(drawn) :]
    legend_below(figure, handles, data.look)


def _paper_tick(panel: PanelSpec, name: str, data: FigureData) -> float | None:
    return data.runs[name].paper_error_pct if panel.paper_error and "test" in panel.show else None
