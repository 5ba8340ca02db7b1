"""Compute the learning rate (Sec. 3.4, 4.2), and decide when a warm-up ends."""

from __future__ import annotations

from collections.abc import Sequence

from resrepro.config.recipe import Plateau, Recipe, Warmup
from resrepro.results.records import CurvePoint

GATE_WINDOW_ITERS = 100  # the gate looks at the training error of the last 100 iterations, every 100


def learning_rate(recipe: Recipe, num_drops: int, *, warmup_open: bool) -> float:
    """Return the rate after `num_drops` divisions by 10; with a warm-up that is not over, the warm-up's rate."""
    if recipe.warmup is not None and not warmup_open:
        return recipe.warmup.lr
    return recipe.lr / float(10**num_drops)


def drop_due(recipe: Recipe, iteration: int, drops: Sequence[int], points: Sequence[CurvePoint]) -> int | None:
    """Return the iteration from which on the rate is divided by 10 once more, or None if `iteration` is before it.

    Args:
        iteration: the next one, counted from 0.
        drops: iterations at which the rate was divided before.
        points: curve points up to now.
    """
    if len(drops) == len(recipe.lr_drop_iters):
        return None
    latest = recipe.lr_drop_iters[len(drops)]
    if iteration >= latest:
        return latest
    stopped = recipe.plateau is not None and _stopped_falling(recipe.plateau, max(drops, default=0), points)
    return iteration if stopped else None


def _stopped_falling(plateau: Plateau, since: int, points: Sequence[CurvePoint]) -> bool:
    """Tell whether no late point is lower than the lowest of the early ones, among the points after `since`."""
    after = [point for point in points if point.iteration > since]
    bound = after[-1].iteration - plateau.patience_iters if after else 0
    early = [point.train_error_pct for point in after if point.iteration <= bound]
    late = [point.train_error_pct for point in after if point.iteration > bound]
    return bool(early) and min(late) > min(early) - plateau.min_fall_pct


def gate_opens(warmup: Warmup, window_error_pct: float) -> bool:
    """Tell whether a warm-up ends by its bound: the measured training error is below it."""
    return warmup.until_train_error_pct is not None and window_error_pct < warmup.until_train_error_pct
