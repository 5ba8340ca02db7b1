"""The learning rate (Sec. 4.2), and the gate of the 110-layer warm-up."""

from __future__ import annotations

from resrepro.experiment import Recipe

GATE_WINDOW_ITERS = 100  # the gate looks at the training error of the last 100 iterations, every 100


def learning_rate(recipe: Recipe, iteration: int, *, warmup_open: bool) -> float:
    """The rate of `iteration`, counted from 0; with a warm-up, its rate until the gate has opened."""
    if recipe.warmup is not None and not warmup_open:
        return recipe.warmup.lr
    num_drops = sum(iteration >= drop for drop in recipe.lr_drop_iters)
    return recipe.lr / float(10**num_drops)


def gate_opens(recipe: Recipe, window_error_pct: float) -> bool:
    """Whether the warm-up ends: the measured training error is below the bound."""
    return recipe.warmup is not None and window_error_pct < recipe.warmup.until_train_error_pct
