"""The curves of the paper's Figs. 4, 6 and 7, and how far ours lie from them.

README.md beside this file says how they were read, and how accurately; `tools/read_paper_figures.py` reads them anew.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from resrepro.paper.figure_data import (
    CURVES_CSV,
    RESPONSES_CSV,
    Floats,
    Ints,
    Kind,
    PublishedCurve,
    PublishedResponses,
    read_curves,
    read_responses,
)

SPACING_ITERS = {"imagenet": 5_000, "cifar10": 1_000}  # from one published point to the next
PHASES_ITERS = {"imagenet": (150_000, 300_000, 600_000), "cifar10": (32_000, 48_000, 64_000)}  # two drops, the end


@dataclass(frozen=True, kw_only=True)
class Window:
    """Name a part of the training over which errors are averaged: first_iter <= iteration <= last_iter."""

    name: Literal["plateau", "after the first drop", "end"]
    first_iter: int
    last_iter: int


@dataclass(frozen=True, kw_only=True)
class WindowMean:
    """Hold a window's means over its published points that lie within our run.

    Attributes:
        num_points: how many these are, of `num_published`.
        paper_pct, difference_pct: the paper's mean error, and ours minus it. None without a point.
        paper_scatter_pct: `scatter` of all the window's published points. None with fewer than three.
    """

    window: Window
    num_points: int
    num_published: int
    paper_pct: float | None
    difference_pct: float | None
    paper_scatter_pct: float | None


@dataclass(frozen=True, kw_only=True, eq=False)
class Difference:
    """Ours minus the paper's: (N,) in %, at the (N,) published iterations within our run, and by window."""

    curve: PublishedCurve
    iterations: Ints
    difference_pct: Floats
    windows: tuple[WindowMean, ...]


@dataclass(frozen=True, kw_only=True, eq=False)
class ResponseDifference:
    """Ours minus the paper's: (N,) layer by layer (Fig. 7 top), and with both in descending order (bottom)."""

    by_layer: Floats
    by_rank: Floats


def published_curve(dataset: str, run_name: str, kind: Kind) -> PublishedCurve | None:
    """Find the paper's curve of a run; None where it shows none.

    The points are 1,000 iterations apart in Fig. 6, and 5,000 in Fig. 4. A point on the straight line between its
    neighbors is not in the drawing, so it is put back here. A Fig. 6 curve begins where it falls below 20 %.

    Raises:
        UserError: the CSV is damaged.
    """
    return _curves().get((dataset, run_name, kind))


def published_responses(run_name: str) -> PublishedResponses | None:
    """Find the paper's layer responses of a CIFAR-10 run (Fig. 7 top); None where it shows none.

    Raises:
        UserError: the CSV is damaged.
    """
    return _responses().get(run_name)


def windows(dataset: str) -> tuple[Window, ...]:
    """Give the three windows of a dataset's schedule, as fractions of its phases, the drops themselves left out.

    Plateau: the last 12/32 of the first phase, 20k to 31,999 on CIFAR-10 (Sec. 4.2: drops at 32k and 48k, end at 64k).
    After the first drop: the second phase without its first 1/16, in which the error still falls: 33k to 47,999.
    End: the last 9/16 of the third phase: 55k to 64k. On ImageNet (drops at 15e4 and 30e4 in Fig. 4, end at 60e4):
    93,750 to 149,999; 159,375 to 299,999; 431,250 to 600k, of which Fig. 4 shows 550k.
    """
    first, second, end = PHASES_ITERS[dataset]
    return (
        Window(name="plateau", first_iter=first * 20 // 32, last_iter=first - 1),
        Window(name="after the first drop", first_iter=first + (second - first) // 16, last_iter=second - 1),
        Window(name="end", first_iter=second + (end - second) * 7 // 16, last_iter=end),
    )


def scatter(error_pct: Floats) -> float | None:
    """Estimate the noise of a smooth curve's evenly spaced points, as a standard deviation; None below three points.

    Each point but the outer two is compared with the mean of its two neighbors. Of independent noise of variance v
    that difference has the variance 1.5 v; a straight trend adds nothing (Gasser, Sroka, Jennen-Steinmetz 1986).
    """
    if len(error_pct) < 3:
        return None
    second = error_pct[1:-1] - (error_pct[:-2] + error_pct[2:]) / 2
    return float(np.sqrt(np.mean(second**2) / 1.5))


def difference(curve: PublishedCurve, iterations: ArrayLike, error_pct: ArrayLike) -> Difference:
    """Take ours minus the paper's at every published iteration within our run, ours interpolated linearly.

    Args:
        iterations: (M,) of ours, strictly increasing, on any grid, also between two iterations.
        error_pct: (M,) in %; a point without a finite error is skipped.

    Raises:
        ValueError: not two series of one length, or iterations that do not increase.
    """
    ours, errors = np.asarray(iterations, dtype=np.float64), np.asarray(error_pct, dtype=np.float64)
    if ours.ndim != 1 or ours.shape != errors.shape or (np.diff(ours) <= 0).any():
        raise ValueError("expected increasing iterations, and as many errors")
    ours, errors = ours[np.isfinite(errors)], errors[np.isfinite(errors)]
    shared = (curve.iterations >= ours[0]) & (curve.iterations <= ours[-1]) if len(ours) else slice(0)
    at, paper = curve.iterations[shared], curve.error_pct[shared]
    apart = np.interp(at, ours, errors) - paper if len(ours) else paper
    means = []
    for window in windows(curve.dataset):
        published, inside = _within(curve.iterations, window), _within(at, window)
        means.append(
            WindowMean(
                window=window,
                num_points=int(inside.sum()),
                num_published=int(published.sum()),
                paper_pct=float(paper[inside].mean()) if inside.any() else None,
                difference_pct=float(apart[inside].mean()) if inside.any() else None,
                paper_scatter_pct=scatter(curve.error_pct[published]),
            )
        )
    return Difference(curve=curve, iterations=at, difference_pct=apart, windows=tuple(means))


def response_difference(published: PublishedResponses, std: ArrayLike) -> ResponseDifference:
    """Take our layer responses minus the paper's.

    Args:
        std: (N,), of each 3x3 layer in the net's order.

    Raises:
        ValueError: another number of layers.
    """
    ours = np.asarray(std, dtype=np.float64)
    if ours.shape != published.std.shape:
        raise ValueError(f"expected {len(published.std)} layers of {published.run}, got {ours.shape}")
    ranked = np.sort(ours)[::-1] - np.sort(published.std)[::-1]
    return ResponseDifference(by_layer=ours - published.std, by_rank=ranked)


@cache
def _curves() -> dict[tuple[str, str, str], PublishedCurve]:
    found: dict[tuple[str, str, str], PublishedCurve] = {}
    for stored in read_curves(CURVES_CSV):
        first, last, step = stored.iterations[0], stored.iterations[-1], SPACING_ITERS[stored.dataset]
        iterations = np.arange(first, last + 1, step)
        errors = np.interp(iterations, stored.iterations, stored.error_pct)
        iterations.flags.writeable = errors.flags.writeable = False  # shared by all callers
        whole = replace(stored, iterations=iterations, error_pct=errors)
        # ResNet-110 is in Fig. 6 middle, and from 35k on once more in Fig. 6 right: the first is kept.
        found.setdefault((stored.dataset, stored.run, stored.kind), whole)
    return found


@cache
def _responses() -> dict[str, PublishedResponses]:
    return {found.run: found for found in read_responses(RESPONSES_CSV)}


def _within(iterations: Ints, window: Window) -> NDArray[np.bool_]:
    return (iterations >= window.first_iter) & (iterations <= window.last_iter)
