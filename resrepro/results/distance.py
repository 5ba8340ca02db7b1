"""Measure how far stored curves lie from the paper's own (Fig. 4 and 6). Imports no torch."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from resrepro.config.architectures import architecture
from resrepro.config.presets import PRESETS
from resrepro.config.run import Run
from resrepro.paper.curves import Difference, difference, published_curve
from resrepro.paper.figure_data import Kind, PublishedCurve
from resrepro.results.records import CurvePoint, RunRecord
from resrepro.results.tables import Table

STATED = ("batch_size", "lr", "momentum", "weight_decay", "crop_padding")  # in Sec. 3.4 and 4.2, as numbers
SPLIT_45K = 45_000  # the other training set of Sec. 4.2
WHICH: tuple[Kind, ...] = ("test", "train")
WINDOWS = ("plateau", "drop", "end")  # short for those of `resrepro.paper.curves.windows`


@dataclass(frozen=True, kw_only=True)
class Distance:
    """Hold one curve of a run, the mean over its seeds, beside the paper's curve of the same net."""

    label: str
    num_seeds: int
    difference: Difference


def published(run: Run, record: RunRecord | None = None) -> dict[Kind, PublishedCurve]:
    """Find the paper's curves of the run's net; none if data or schedule of the run are not the paper's.

    Another choice that the paper leaves open does not matter, nor does an earlier end: the curves are compared by
    iteration.

    Args:
        record: of the run, where the run itself does not say what it started from.
    """
    preset = PRESETS[architecture(run.arch).recipe_family(crops=run.recipe.scale_crop is not None)]
    recipe = run.recipe
    drops = tuple(drop for drop in preset["lr_drop_iters"] if drop < recipe.total_iters)
    same = recipe.lr_drop_iters == drops and all(getattr(recipe, name) == preset[name] for name in STATED)
    same = same and recipe.train_images in (None, SPLIT_45K) and recipe.resize is None
    from_weights = run.start_from is not None or (record is not None and record.start_from is not None)
    if not same or run.schedule_scale != 1 or run.image_size is not None or from_weights:
        return {}
    found = {which: published_curve(run.dataset, run.arch, which) for which in WHICH}
    return {which: curve for which, curve in found.items() if curve is not None}


def distances(
    label: str, curves: Mapping[Kind, PublishedCurve], seeds: Sequence[Iterable[CurvePoint]]
) -> dict[Kind, Distance]:
    """Take ours, the mean over the seeds at the paper's iterations that all have reached, if any, minus the paper's.

    A training error is a mean over the iterations since the point before, so it stands in their middle. The paper's
    are of about ten mini-batches each. Test errors are as recorded.

    Args:
        curves: as `published` finds them.
        seeds: the curve points of each, from its first on.
    """
    whole = [list(points) for points in seeds]
    found: dict[Kind, Distance] = {}
    for which, curve in curves.items() if whole and all(whole) else ():
        series = [_series(which, points) for points in whole]
        first, last = max(iterations[0] for iterations, _ in series), min(iterations[-1] for iterations, _ in series)
        at = curve.iterations[(curve.iterations >= first) & (curve.iterations <= last)]
        if not len(at):  # the run ends before the published curve begins
            continue
        ours = np.mean([np.interp(at, *of_seed) for of_seed in series], axis=0)
        found[which] = Distance(label=label, num_seeds=len(whole), difference=difference(curve, at, ours))
    return found


def _series(which: Kind, points: Sequence[CurvePoint]) -> tuple[list[float], list[float]]:
    """Return where the errors of a seed's curve stand, and the errors."""
    iterations = [point.iteration for point in points]
    if which == "test":
        return [*map(float, iterations)], [point.shown_test_error_pct for point in points]
    middles = [(before + iteration) / 2 for before, iteration in pairwise([0, *iterations])]
    return middles, [point.train_error_pct for point in points]


def not_whole(found: Iterable[Distance]) -> str:
    """Name the windows whose means are of a part of their points, as of a run in progress; empty if there are none."""
    parts = []
    for distance in found:
        curve = distance.difference.curve
        for name, mean in zip(WINDOWS, distance.difference.windows, strict=True):
            due = mean.num_published - (curve.kind == "train")  # ours has no counterpart of the last training error
            if 0 < mean.num_points < due:
                parts.append(
                    f"{distance.label}, {curve.kind}, {name}: {mean.num_points} of {mean.num_published} points"
                )
    return "; ".join(parts)


def distance_table(title: str, found: Iterable[Distance]) -> Table:
    """Tabulate the distances, one row per curve and three windows; the paper's scatter beside them, to compare with."""
    rows, found = [], list(found)
    for distance in found:
        cells: list[str] = []
        for mean in distance.difference.windows:
            scatter = "" if mean.paper_scatter_pct is None else f"±{mean.paper_scatter_pct:.2f}"
            cells += ["–" if mean.paper_pct is None else f"{mean.paper_pct:.2f}{scatter}"]
            cells += ["–" if mean.difference_pct is None else f"{mean.difference_pct:+.2f}"]
        rows.append((distance.label, distance.difference.curve.kind, str(distance.num_seeds), *cells))
    notes = [
        "paper (%): mean over the published iterations that our run has reached, ± the scatter of a point about "
        "a smooth curve; ours: minus the paper's, in points of error; a training error of ours stands in the middle of "
        "the iterations that it is a mean over, so that the last published point has none of ours beside it",
        "plateau: before the first drop of the rate, iterations 20,000 to 31,999 on CIFAR-10; drop: after the first, "
        "33,000 to 47,999; end: 55,000 to 64,000 (on ImageNet the same fractions of the schedule)",
    ]
    if parts := not_whole(found):
        notes.append(f"means over a part of a window: {parts}")
    return Table(
        title=title,
        columns=("net", "error", "n", *(f"{name}, {whose}" for name in WINDOWS for whose in ("paper", "ours − paper"))),
        rows=tuple(rows),
        measured=tuple(f"{name}, paper" for name in WINDOWS),
        notes=tuple(notes) if rows else ("no run yet that has a curve in the paper",),
    )
