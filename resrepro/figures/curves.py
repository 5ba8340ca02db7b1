"""Draw error against iterations: Fig. 1, Fig. 6 and their like."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
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
from resrepro.figures.data import FigureData, counted
from resrepro.figures.end_labels import End, arrange, height_below, wrapped, write_below, write_beside
from resrepro.figures.layout import DASHES, PUBLISHED, add_remarks, legend_below, missing_run_remarks, new_figure
from resrepro.figures.look import POINTS_PER_INCH
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

_Curve = tuple["pd.Series[float]", "pd.Series[float] | None"]  # mean, standard deviation


@dataclass(frozen=True, kw_only=True)
class _Line:
    """Hold what is drawn of a run: by kind of error its mean and standard deviation; its last value, and the label."""

    name: str
    curves: Mapping[str, _Curve]
    value: float
    text: str
    diverged: bool


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
    of_panels = [_lines(rows, panel, data) for panel in spec.panel]
    labels = [line.text for lines in of_panels for line in lines]
    natural = PANEL_INCHES[0] * look.zoom + LABEL_INCHES * look.scale
    num_columns, inches, beside = arrange(num_panels, labels, look, natural)
    width = inches / look.zoom
    height = min(PANEL_INCHES[1], 0.9 * width)
    below = 0.0
    if not beside:
        fitting = {label: wrapped(label, inches, look) for label in labels}
        of_panels = [[replace(line, text=fitting[line.text]) for line in lines] for lines in of_panels]
        below = max(height_below([line.text for line in lines], look) for lines in of_panels)
    num_rows = -(-num_panels // num_columns)
    rows_inches = num_rows * (height + below / POINTS_PER_INCH / look.zoom)
    figure = new_figure(data, num_columns * width, rows_inches)
    shown = rows[rows["run"].isin(spec.run_names)]
    axis = _error_axis(shown, spec, data)
    kinds = {which for panel in spec.panel for which in panel.show}
    only = f"{NAMES[kinds.pop()]} " if len(kinds) == 1 else ""
    remarks = {}
    for index, (panel, lines) in enumerate(zip(spec.panel, of_panels, strict=True)):
        axes = figure.add_subplot(num_rows, num_columns, index + 1)
        ends, outside = _draw_panel(axes, lines, panel, data, axis, spec.train_line)
        if beside:
            write_beside(axes, ends, axis, height, look)
        elif ends:
            write_below(axes, ends, look)
        remarks[axes] = [f"outside the axis: {text}" for text in outside] + missing_run_remarks(panel.runs, data)
        if index % num_columns == 0:
            axes.set_ylabel(f"{only}error (%)")
    add_remarks(figure, remarks, look, below_points=below)
    if not shown.empty:
        _legend(figure, spec, data, shown)
    return figure


def _lines(rows: pd.DataFrame, panel: PanelSpec, data: FigureData) -> list[_Line]:
    """Take what a panel shows of each of its runs: the mean over the seeds and their standard deviation."""
    lines = []
    for name in panel.runs:
        own = counted(rows[rows["run"] == name])
        if own.empty:
            continue
        num_seeds, curves = own["seed"].nunique(), dict[str, _Curve]()
        for which in panel.show:
            by_iteration = own.groupby("iteration")[COLUMNS[which]]
            complete = by_iteration.count() == num_seeds
            std = by_iteration.std()[complete] if num_seeds > 1 else None
            curves[which] = by_iteration.mean()[complete], std
        value = float(curves[panel.show[-1]][0].iloc[-1])
        text = _end_text(own, data.runs[name].label, value, _paper_tick(panel, name, data))
        diverged = bool((own["status"] == "diverged").any())
        lines.append(_Line(name=name, curves=curves, value=value, text=text, diverged=diverged))
    return lines


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
    axes: Axes, lines: list[_Line], panel: PanelSpec, data: FigureData, axis: tuple[float, float], train_line: str
) -> tuple[list[End], list[str]]:
    """Draw the curves of one panel. Returns the labels at their ends, and those of lines that end outside the axis."""
    axes.set_title(panel.title)
    last = max((float(mean.index[-1]) for line in lines for mean, _ in line.curves.values()), default=64000.0)
    unit = 1e4 if last >= 1e4 else 1.0
    axes.set_xlabel("iter. (1e4)" if unit > 1 else "iter.")
    axes.set_xlim(0, last / unit)
    axes.set_ylim(*axis)
    axes.yaxis.set_major_locator(MaxNLocator(nbins=6, steps=[1, 2, 5, 10]))
    if not lines:
        axes.set(xticks=[], yticks=[])
    _draw_published(axes, panel, data, {line.name for line in lines}, train_line, unit)
    ends, outside = [], []
    for line in lines:
        run, paper = data.runs[line.name], _paper_tick(panel, line.name, data)
        for which, (mean, std) in line.curves.items():
            style = STYLES[train_line if which == "train" else which]
            _draw_curve(axes, mean, std, unit, {"color": run.color, **style})
            if line.diverged:
                x = mean.index[-1] / unit
                axes.plot(x, mean.iloc[-1], marker="x", markersize=7, color=run.color, clip_on=False)
        if axis[0] <= line.value <= axis[1]:
            ends.append(End(y=line.value, text=line.text, color=run.color))
        else:
            outside.append(line.text)
        if paper is not None and not run.published:  # else its curve says more
            axes.plot(
                last / unit, paper, marker="<", markersize=5, color=run.color,
                markeredgecolor="white", markeredgewidth=0.5, clip_on=False, zorder=5,
            )  # fmt: skip
    return ends, outside


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


def _draw_curve(axes: Axes, mean: pd.Series[float], std: pd.Series[float] | None, unit: float, look: Any) -> None:
    """Draw a mean, and a band of one standard deviation on each side; `unit`: iterations to one on the axis."""
    x = mean.index.to_numpy() / unit
    axes.plot(x, mean, marker="o" if len(mean) == 1 else None, markersize=4, clip_on=len(mean) > 1, **look)
    if std is not None:
        axes.fill_between(x, mean - std, mean + std, color=look["color"], alpha=0.2, linewidth=0)


def _end_text(own: pd.DataFrame, label: str, value: float, paper: float | None) -> str:
    num_seeds = own["seed"].nunique()
    remarks = ([f"n = {num_seeds}"] if num_seeds > 1 else []) + ([] if paper is None else [f"paper {paper:.2f}"])
    text = f"{label}  {value:.2f}" + (f" ({', '.join(remarks)})" if remarks else "")
    statuses = set(own["status"])
    if "diverged" in statuses:
        return f"{text}, diverged"
    return f"{text}, unfinished" if "unfinished" in statuses else text


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
