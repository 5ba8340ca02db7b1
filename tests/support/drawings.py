"""Figures drawn from stored runs, and what is on them."""

from __future__ import annotations

from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from resrepro.config.experiment import Experiment, FigureSpec, PanelSpec
from resrepro.config.run import Run
from resrepro.figures.data import read_figure
from resrepro.figures.kinds import FIGURES
from resrepro.figures.look import USUAL, Look


def draw(results_dir: Path, kind: str, runs: list[Run], *panels: tuple[str, ...], look: Look = USUAL) -> Figure:
    spec = FigureSpec(name="f", kind=kind, title="T", panel=tuple(PanelSpec(title="p", runs=p) for p in panels))
    first = runs[0]
    experiment = Experiment(
        name="e", address="e", title="T", reproduces="", dataset=first.dataset, own_dataset=first.dataset, cost="",
        expect="", beyond_paper=True, runs=tuple(runs),
    )  # fmt: skip
    shown = read_figure(experiment, spec, FIGURES[kind], results_dir, look)
    assert not shown.data.problems
    return FIGURES[kind].draw(shown.rows, shown.spec, shown.data)


def lines(axes: Axes) -> list[tuple[list[float], list[float]]]:
    return [
        ([*map(float, li.get_xdata())], [*map(float, li.get_ydata())]) for li in axes.lines if len(li.get_xdata()) > 2
    ]


def texts(figure: Figure) -> str:
    return "\n".join(t.get_text() for axes in figure.axes for t in axes.texts)
