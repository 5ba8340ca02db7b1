"""BN statistics as in the author's repository, not the paper: plain averages over many training mini-batches."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from resrepro.config.recipe import Recipe
from resrepro.models.stage import mode
from resrepro.runtime.device import Compute

NUM_MINI_BATCHES = 100


def num_mini_batches(recipe: Recipe) -> int:
    """Return over how many mini-batches, which would have come next, a net's statistics are averaged in the end."""
    return recipe.bn_average_batches or NUM_MINI_BATCHES


@contextmanager
def reestimated(net: nn.Module, batches: Iterable[Tensor], compute: Compute) -> Iterator[None]:
    """Set BN's means and variances to averages over `batches` inside a `with`; put the moving ones back after it."""
    layers = [m for m in net.modules() if isinstance(m, nn.BatchNorm2d)]
    kept = [(m.momentum, {k: v.clone() for k, v in m.state_dict().items()}) for m in layers]
    for m in layers:
        m.reset_running_stats()
        m.momentum = None  # torch's word for the plain average
    try:
        with mode(net, training=True), torch.no_grad():
            for x in batches:
                with compute.autocast():
                    net(x)
        yield
    finally:
        for m, (momentum, state) in zip(layers, kept, strict=True):
            m.momentum = momentum
            m.load_state_dict(state)
