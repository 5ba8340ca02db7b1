"""BN's statistics for the test as plain averages over many training mini-batches (docs/recipe.md has the evidence)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from resrepro.config.recipe import Recipe
from resrepro.config.run import Run
from resrepro.data.dataset import InputPipeline, TrainingViews, mini_batch
from resrepro.models.stage import mode
from resrepro.runtime.device import Compute

NUM_MINI_BATCHES = 100


def num_mini_batches(recipe: Recipe) -> int:
    """Return over how many mini-batches, which would have come next, a net's statistics are averaged in the end."""
    return recipe.bn_average_batches or NUM_MINI_BATCHES


def training_inputs(
    pipeline: InputPipeline,
    views: TrainingViews,
    iterations: range,
    device: torch.device,
    *,
    num_parts: int,
    check_stop: Callable[[], None] = lambda: None,
) -> Iterator[Tensor]:
    """Yield the inputs (N, 3, H, W) that a run trains on in these iterations, in the parts that BN sees alone.

    Args:
        num_parts: of a mini-batch.
        check_stop: is called before each mini-batch, and may raise to stop.
    """
    for iteration in iterations:
        check_stop()
        views.load(iteration)
        x, _ = mini_batch(pipeline, views, torch.tensor(iteration, device=device))
        yield from x.chunk(num_parts)


def next_inputs(
    pipeline: InputPipeline, run: Run, device: torch.device, num_batches: int | None = None
) -> Iterator[Tensor]:
    """Yield the inputs that a finished run would have trained on next, as the end of its own record has them.

    Args:
        num_batches: of mini-batches; None: as many as the run itself takes in the end.
    """
    recipe, first = run.recipe, run.recipe.total_iters
    iterations = range(first, first + (num_mini_batches(recipe) if num_batches is None else num_batches))
    views = pipeline.views(recipe, run.seed)
    return training_inputs(pipeline, views, iterations, device, num_parts=recipe.bn_devices)


@contextmanager
def reestimated(
    net: nn.Module, batches: Iterable[Tensor], compute: Compute, forward: Callable[[Tensor], object] | None = None
) -> Iterator[None]:
    """Set BN's means and variances to averages over `batches` inside a `with`; put the moving ones back after it.

    Args:
        forward: on CUDA, what to call in place of the net, such as a captured graph of the call, with momentum 1.
    """
    on_cuda = compute.device.type == "cuda"
    with bn_momentum(net, 1.0 if on_cuda else None) as layers:  # None: torch's word for the plain average
        for m in layers:
            m.reset_running_stats()
        with mode(net, training=True), torch.no_grad():
            inputs = _then_averaged(batches, layers) if on_cuda else batches
            for x in inputs:
                with compute.autocast():
                    (forward or net)(x)
        yield


@contextmanager
def bn_momentum(net: nn.Module, momentum: float | None) -> Iterator[list[nn.BatchNorm2d]]:
    """Give BN's layers a momentum inside a `with`, and afterwards their own one, and the statistics they had."""
    layers = [m for m in net.modules() if isinstance(m, nn.BatchNorm2d)]
    kept = [(m.momentum, {k: v.clone() for k, v in m.state_dict().items()}) for m in layers]
    for m in layers:
        m.momentum = momentum
    try:
        yield layers
    finally:
        for m, (before, state) in zip(layers, kept, strict=True):
            m.momentum = before
            m.load_state_dict(state)


def _then_averaged(batches: Iterable[Tensor], layers: list[nn.BatchNorm2d]) -> Iterator[Tensor]:
    """Yield the mini-batches, and in the end set BN's statistics to the averages of what each of them left.

    The host never waits: torch's own plain average reads a counter from the device in each layer.
    """
    statistics = [s for m in layers for s in (m.running_mean, m.running_var) if s is not None]
    if not statistics:  # torch's functions for lists take no empty one
        yield from batches
        return
    sums, count = [torch.zeros_like(s) for s in statistics], 0
    for count, x in enumerate(batches, 1):  # noqa: B007
        yield x
        torch._foreach_add_(sums, statistics)
    if count:
        torch._foreach_copy_(statistics, torch._foreach_div(sums, count))
