"""Draw gradients of untrained nets against depth (Balduzzi et al. 2017, Yang et al. 2019)."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, MaxNLocator

from resrepro.figures.data import FigureData
from resrepro.figures.layout import DASHES, PUBLISHED, draw_range, legend_below, log_ticks, new_figure
from resrepro.figures.palette import BLUE, VERMILION

PANEL_INCHES = (3.6, 2.5)
KINDS: dict[str, tuple[str, dict[str, Any]]] = {  # kind -> its words, its line
    "plain": ("plain", {"color": VERMILION, "linestyle": DASHES, "marker": "o"}),
    "resnet": ("residual", {"color": BLUE, "linestyle": "-", "marker": "o"}),
    "plain-nobn": ("plain without BN", {"color": VERMILION, "linestyle": DASHES, "marker": "^", "fillstyle": "none"}),
    "resnet-nobn": ("residual without BN", {"color": BLUE, "linestyle": "-", "marker": "^", "fillstyle": "none"}),
}
FEW = 4  # depths that are ticks themselves
NEAR = 6  # steps of 63: about a tenth of the way between two images
MEAN_FIELD = math.sqrt(math.pi / (math.pi - 1))  # a layer of a wide plain ReLU net with BN, large mini-batches: 1.21


def growth(gradients: pd.DataFrame) -> pd.Series[float]:
    """Return the factor by which the gradient grows from a layer to the one before it, by kind, depth and seed.

    It is the slope of the norm's logarithm over the blocks of a stage, whose outputs have one shape, all stages
    together; a block has two layers. Nets with one block per stage have none.
    """
    table = gradients.assign(log=np.log(gradients["gradient_norm"]))
    table[["stage", "place"]] = table["block"].str.extract(r"layer(\d+)\.(\d+)").astype(int)
    by = ["kind", "depth", "seed"]
    centered = table[["log", "place"]] - table.groupby([*by, "stage"])[["log", "place"]].transform("mean")
    products = pd.DataFrame({"above": centered["log"] * centered["place"], "below": centered["place"] ** 2})
    sums = pd.concat([table[by], products], axis=1).groupby(by).sum()
    sums = sums[sums["below"] > 0]
    factors: pd.Series[float] = np.exp(-sums["above"] / sums["below"] / 2)
    return factors


def draw(correlations: pd.DataFrame, gradients: pd.DataFrame, data: FigureData) -> Figure:
    """Draw correlation against distance and depth above, gradient against layer and its growth against depth below."""
    figure = new_figure(data, 2 * PANEL_INCHES[0], 2 * PANEL_INCHES[1] + 0.5)
    by_lag, by_depth, by_layer, by_growth = figure.subplots(2, 2).flat
    depth = min(correlations["depth"].unique(), key=lambda depth: abs(depth - 56))
    factors = growth(gradients)
    for kind, (_, look) in KINDS.items():
        its = correlations[correlations["kind"] == kind]
        along = its[its["depth"] == depth].groupby("lag")["correlation"].mean()
        step = along.index.max() + 1
        by_lag.plot(along.index / step, along, **_line(look, len(along)))
        _with_range(by_depth, its[its["lag"] == NEAR].groupby("depth")["correlation"], look)
        _draw_layers(by_layer, gradients[(gradients["kind"] == kind) & (gradients["depth"] == depth)], look)
        if kind in factors.index.get_level_values("kind"):
            _with_range(by_growth, factors.xs(kind, level="kind").groupby("depth"), look)
    by_lag.set(title=f"{depth} layers", xlabel="distance, of that of two images", ylabel="correlation of gradients")
    by_depth.set(title=f"at {NEAR / 63:.1f} of the distance", xlabel="layers", ylabel="correlation of gradients")
    by_layer.set(title=f"{depth} layers", xlabel="layer", ylabel="norm of the gradient, over the last", yscale="log")
    low, high = by_layer.get_ylim()
    log_ticks(by_layer.yaxis, LogLocator(subs=(1,) if high > 100 * low else (1, 2, 5)))
    by_growth.set(title="growth from a layer to the one before", xlabel="layers", ylabel="factor a layer")
    for axes in (by_depth, by_layer, by_growth):
        axes.xaxis.set_major_locator(MaxNLocator("auto", integer=True))
    for axes, depths in ((by_depth, correlations["depth"]), (by_growth, factors.index.get_level_values("depth"))):
        if depths.nunique() <= FEW:
            axes.set_xticks(sorted(depths.unique()))
    handles = [Line2D([], [], label=words, markersize=4, linewidth=1.3, **look) for words, look in KINDS.values()]
    if factors.empty:
        by_growth.text(0.5, 0.5, "none: a stage has one block", transform=by_growth.transAxes, ha="center")
        by_growth.set_yticks([])
    else:
        by_growth.axhline(MEAN_FIELD, **PUBLISHED)
        handles.append(Line2D([], [], label="mean field, wide plain nets with BN (1.21)", **PUBLISHED))
    legend_below(figure, handles, data.look)
    return figure


def _line(look: dict[str, Any], num_points: int) -> dict[str, Any]:
    """Return a line with few markers, which tell nets with BN from those without it."""
    return {**look, "linewidth": 1.3, "markersize": 4, "markevery": -(-num_points // 8)}


def _with_range(axes: Axes, values: Any, look: dict[str, Any]) -> None:
    """Draw the mean over seeds, and their range."""
    draw_range(axes, values.agg(["mean", "min", "max"]), {"markersize": 4, "linewidth": 1.3, **look})


def _draw_layers(axes: Axes, own: pd.DataFrame, look: dict[str, Any]) -> None:
    """Draw the norms over that of the last block, the geometric mean over seeds, at each block's second layer."""
    logs = own.assign(log=np.log(own["gradient_norm"])).groupby("block", sort=False)["log"].mean()
    axes.plot(3 + 2 * np.arange(len(logs)), np.exp(logs - logs.iloc[-1]), **_line(look, len(logs)))
