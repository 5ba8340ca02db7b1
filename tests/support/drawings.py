"""Figures drawn from stored runs, and what is on them."""

from __future__ import annotations

from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from resrepro.config.experiment import FigureSpec, PanelSpec
from resrepro.config.run import Run
from resrepro.figures import FIGURES
from resrepro.figures.data import _read
from resrepro.figures.layout import FigureContext


def draw(results_dir: Path, kind: str, runs: list[Run], *panels: tuple[str, ...], **context: object) -> Figure:
    spec = FigureSpec(name="f", kind=kind, title="T", panel=tuple(PanelSpec(title="p", runs=p) for p in panels))
    table, _, problems = _read(results_dir, runs, FIGURES[kind])
    assert not problems
    names = {name for panel in panels for name in panel}
    given = {
        "labels": {n: n for n in names},
        "depths": {n: int("".join(filter(str.isdigit, n.partition("-")[0]))) for n in names},
        "residual": {n: n.startswith("resnet") for n in names},
        **context,
    }
    return FIGURES[kind].draw(table, spec, FigureContext(note="", **given))


def lines(axes: Axes) -> list[tuple[list[float], list[float]]]:
    return [
        ([*map(float, li.get_xdata())], [*map(float, li.get_ydata())]) for li in axes.lines if len(li.get_xdata()) > 2
    ]


def texts(figure: Figure) -> str:
    return "\n".join(t.get_text() for axes in figure.axes for t in axes.texts)
