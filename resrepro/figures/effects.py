"""Show what each choice changes in the test error, beside the noise between seeds: a figure, and its table."""

from __future__ import annotations

import textwrap
from dataclasses import dataclass
from statistics import fmean, stdev

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from resrepro.config.experiment import FigureSpec, PanelSpec
from resrepro.figures.data import FigureData, FigureRun
from resrepro.figures.layout import letters_in, new_figure
from resrepro.figures.look import Look
from resrepro.figures.palette import BLUE
from resrepro.results.tables import Table, standard_error

WIDTH_INCHES = 8.0
ROW_INCHES = 0.32
NARROW_INCHES = 5.5  # in a narrower figure a row's words and numbers stand below each other
NOT_RUN = "not run: "
REMARK_LENGTH = 24  # letters of a line, in a narrow figure
COLUMNS = ("choice", "test error (%)", "std", "difference", "standard error", "seeds", "remark")


@dataclass(frozen=True, kw_only=True)
class Effect:
    """Say what one choice does over its finished seeds.

    Args:
        errors_pct: the last iteration's test error of each seed.
        difference: of their mean to the default's, percentage points; None for the default, or without seeds of both.
        standard_error: of the difference; None with fewer than two seeds of either.
        remark: why there is nothing, or what does not make it comparable.
    """

    choice: str
    errors_pct: tuple[float, ...] = ()
    difference: float | None = None
    standard_error: float | None = None
    remark: str = ""


def effects(panel: PanelSpec, data: FigureData) -> list[Effect]:
    """Compare a panel's runs with its first, which is the default.

    Returns:
        The default; its nets with BN's other statistics; the other runs; what cannot be compared here.
    """
    default, *others = [data.runs[name] for name in panel.runs]
    first = Effect(choice=f"{default.label}: the default", errors_pct=_errors(default), remark=_remark(default))
    found = [first, _other_statistics(default), *(_compared(run, default) for run in others)]
    return found + [Effect(choice=choice, remark=why) for choice, why in panel.not_here.items()]


def _compared(run: FigureRun, default: FigureRun) -> Effect:
    """Compare a run with the default: the noise is that of both."""
    errors, base = _errors(run), _errors(default)
    precisions = {record.precision for record in run.records} - {record.precision for record in default.records}
    unlike = f"in {', '.join(sorted(precisions))}, unlike the default" if precisions and base else ""
    return Effect(
        choice=run.label,
        errors_pct=errors,
        difference=fmean(errors) - fmean(base) if errors and base else None,
        standard_error=standard_error(errors, base) if min(len(errors), len(base)) > 1 else None,
        remark=_remark(run) or unlike,
    )


def _other_statistics(default: FigureRun) -> Effect:
    """Compare the default's nets with themselves: the noise is that of each net's own difference."""
    averaged = any(r.averages_bn for r in default.records)
    others = [r.final_test_error_pct if averaged else r.final_test_error_bn_reestimated_pct for r in default.records]
    pairs = zip(others, (r.test_error_pct for r in default.records), strict=True)
    both = [(new, old) for new, old in pairs if new is not None and old is not None]
    changes = [new - old for new, old in both]
    return Effect(
        choice="BN's moving averages (same nets)" if averaged else "BN statistics re-estimated (same nets)",
        errors_pct=tuple(new for new, _ in both),
        difference=fmean(changes) if changes else None,
        standard_error=standard_error(changes) if len(changes) > 1 else None,
        remark="" if both else _remark(default),
    )


def _errors(run: FigureRun) -> tuple[float, ...]:
    return tuple(error for r in run.records if (error := r.test_error_pct) is not None)


def _remark(run: FigureRun) -> str:
    if run.missing:
        return f"{NOT_RUN}{run.command}"
    if run.diverged_iter is not None:
        return f"a seed diverged at iteration {run.diverged_iter}"
    return "" if _errors(run) else "unfinished"


def table(_rows: pd.DataFrame, spec: FigureSpec, data: FigureData) -> Table:
    """Return all panels' effects, COLUMNS: mean and standard deviation over seeds, difference to the default."""
    rows = []
    for effect in (effect for panel in spec.panel for effect in effects(panel, data)):
        errors = effect.errors_pct
        numbers = (
            f"{fmean(errors):.2f}" if errors else "",
            f"{stdev(errors):.2f}" if len(errors) > 1 else "",
            "" if effect.difference is None else f"{effect.difference:+.2f}",
            "" if effect.standard_error is None else f"{effect.standard_error:.2f}",
            str(len(errors)) if errors else "",
        )
        remark = "; ".join(filter(None, (effect.remark, data.note if errors else "")))
        rows.append((effect.choice, *numbers, remark))
    return Table(title=data.title, columns=COLUMNS, rows=tuple(rows))


def draw(_: pd.DataFrame, spec: FigureSpec, data: FigureData) -> Figure:
    """Draw one row per choice: each seed, their mean, and the standard error of its difference to the default."""
    panels = [effects(panel, data) for panel in spec.panel]
    look = data.look
    shown = [[e for e in of_panel if look.show_missing or not e.remark.startswith(NOT_RUN)] for of_panel in panels]
    narrow = look.width_inches is not None and look.width_inches < NARROW_INCHES * look.scale
    heights = [(1.5 if narrow else 1) * ROW_INCHES * max(1, len(rows)) + 0.4 for rows in shown]
    figure = new_figure(data, WIDTH_INCHES, (sum(heights) + 1.1) * look.scale / look.zoom)
    grid = figure.add_gridspec(len(panels), 1, height_ratios=heights)
    axes: Axes | None = None
    for index, (panel, rows) in enumerate(zip(spec.panel, shown, strict=True)):
        axes = figure.add_subplot(grid[index], sharex=axes)
        axes.set_title(panel.title)
        _draw_rows(axes, rows, panels[index][0], look, narrow=narrow)
    assert axes is not None  # a figure has a panel
    if not any(rows[0].errors_pct for rows in panels):
        axes.set_xticks([])
    said = (
        "difference to the default in test error (percentage points)",
        "small: each seed; large: mean, with the standard error of the difference",
    )
    per_line = min(36, letters_in(figure.get_figwidth(), look.letter_pt)) if narrow else 90
    text = "\n".join(textwrap.fill(line, per_line) for line in said)
    if narrow:  # the axes are narrower than the words
        figure.supxlabel(text, fontsize=look.letter_pt)
    else:
        axes.set_xlabel(text)
    return figure


def _draw_rows(axes: Axes, rows: list[Effect], default: Effect, look: Look, *, narrow: bool) -> None:
    axes.spines["left"].set_visible(False)
    axes.grid(visible=False, axis="y")
    axes.set_yticks(
        range(len(rows)), [textwrap.fill(look.said(effect.choice), 18 if narrow else 30) for effect in rows]
    )
    axes.tick_params(axis="y", length=0)
    axes.set_ylim(max(1, len(rows)) - 0.5, -0.5)
    axes.axvline(0, color="0.5", linewidth=0.8)
    for y, effect in enumerate(rows):
        difference = 0.0 if effect is default and default.errors_pct else effect.difference
        if difference is not None:
            color = "0.3" if effect is default else BLUE
            shifted = [error - fmean(default.errors_pct) for error in effect.errors_pct]
            axes.plot(shifted, [y] * len(shifted), "o", color=color, alpha=0.35, markersize=3.5)
            axes.errorbar(difference, y, xerr=effect.standard_error, fmt="o", color=color, markersize=6, capsize=3)
        x, background = (1.02, "none") if effect.errors_pct else (0.03, "white")  # where there is nothing, in its place
        axes.text(
            x, y, _text(effect, "\n" if narrow else "   "), transform=axes.get_yaxis_transform(), va="center",
            color="0.2" if effect.errors_pct else "0.45", backgroundcolor=background,
        )  # fmt: skip


def _text(effect: Effect, between: str) -> str:
    """Return what stands on the right of the row."""
    parts = []
    if effect.errors_pct:
        parts.append(f"{fmean(effect.errors_pct):.2f} %")
    if effect.difference is not None:
        noise = "" if effect.standard_error is None else f" ± {effect.standard_error:.2f}"
        parts.append(f"{effect.difference:+.2f}{noise}")
    if effect.errors_pct:
        parts.append(f"n = {len(effect.errors_pct)}")
    remark = textwrap.fill(effect.remark, REMARK_LENGTH) if between == "\n" else effect.remark
    return between.join([*parts, remark] if remark else parts)
