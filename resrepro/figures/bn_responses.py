"""Draw Fig. 7 from weights alone: one line per net, what its run measured as dots, the paper's behind them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from resrepro.figures.data import FigureData
from resrepro.figures.layout import LINE_COLORS, PUBLISHED, legend_below, new_figure
from resrepro.paper.curves import published_responses

PANEL_INCHES = (5.5, 2.4)


@dataclass(frozen=True, kw_only=True)
class NetLine:
    """Hold what is drawn of a net; `measured` is as long as `layers`, or empty."""

    label: str
    arch: str
    layers: Sequence[int]
    std: Sequence[float]
    measured: Sequence[float] = ()


def draw(nets: Sequence[NetLine], data: FigureData) -> Figure:
    """Draw the layers in their order above, and sorted below, the largest first."""
    figure = new_figure(data, PANEL_INCHES[0], 2 * PANEL_INCHES[1] + 0.5)
    upper, lower = figure.subplots(2, 1, sharex=True, sharey=True)
    handles = []
    for index, net in enumerate(nets):
        look: Any = {"color": LINE_COLORS[index % len(LINE_COLORS)], "linewidth": 1.4}
        handles += upper.plot(net.layers, net.std, label=f"{net.label}, from its weights", **look)
        lower.plot(range(1, len(net.std) + 1), sorted(net.std, reverse=True), **look)
        if net.measured:
            dots: Any = {**look, "linestyle": "", "marker": "o", "markersize": 3, "fillstyle": "none"}
            handles += upper.plot(net.layers, net.measured, label=f"{net.label}, measured on images", **dots)
            lower.plot(range(1, len(net.measured) + 1), sorted(net.measured, reverse=True), **dots)
    published = [published_responses(arch) for arch in dict.fromkeys(net.arch for net in nets)]
    theirs = [found for found in published if found is not None and data.look.with_paper]
    for found in theirs:
        upper.plot(found.layers, found.std, **PUBLISHED)
        lower.plot(range(1, len(found.std) + 1), np.sort(found.std)[::-1], **PUBLISHED)
    if theirs:
        handles.append(Line2D([], [], label="the paper's", **PUBLISHED))
    for axes, order in ((upper, "original order"), (lower, "sorted")):
        axes.xaxis.set_major_locator(MaxNLocator("auto", integer=True))
        axes.set(xlabel=f"layer ({order})", ylabel="standard deviation")
        axes.tick_params(labelbottom=True)
    upper.set_xlim(left=0.5)
    upper.set_ylim(bottom=0)
    legend_below(figure, handles, data.look)
    return figure
