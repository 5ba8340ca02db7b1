"""Gradients of nets that were never trained: how they shatter (Balduzzi et al. 2017), and grow (Yang et al. 2019)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import pandas as pd
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from resrepro.config.presets import PRESETS
from resrepro.config.recipe import Recipe
from resrepro.evaluation.batch_norm import reestimated
from resrepro.figures import initialization as figure
from resrepro.figures.data import FigureData
from resrepro.figures.files import save
from resrepro.laboratory.lesions import blocks_of
from resrepro.models import build
from resrepro.models.stage import mode, restoring
from resrepro.results.csv_rows import write_rows
from resrepro.results.laboratory import GRADIENT_KINDS, BlockGradient, GradientCorrelation, laboratory_file
from resrepro.results.paths import figure_file
from resrepro.results.tables import Table
from resrepro.runtime.device import Compute

TITLE = "Gradients of untrained nets"
NUM_POINTS = 64  # of a line


def untrained(kind: str, depth: int, seed: int, *, num_classes: int) -> nn.Module:
    """Build a net of a kind, initialized by fan_in, which keeps the scale of the signal also without BN."""
    family, _, rest = kind.partition("-")
    recipe = Recipe.model_validate({**PRESETS["cifar"], "init": "fan_in", "fc_init": "he"})
    name = f"cifar-{family}{depth}{rest and f'-{rest}'}"
    return build(name, num_classes=num_classes, seed=seed, recipe=recipe)


def line(first: Tensor, last: Tensor) -> Tensor:
    """Return the points of the straight line between two inputs (3, H, W), evenly spread: (NUM_POINTS, 3, H, W)."""
    t = torch.linspace(0, 1, NUM_POINTS, device=first.device)[:, None, None, None]
    return (1 - t) * first + t * last


def correlations(net: nn.Module, points: Tensor, compute: Compute) -> list[float]:
    """Return how alike the gradients of an output are at points k steps apart, for k = 0, 1, ..., from -1 to 1.

    It is the sum of the inner products of the gradients at all such pairs of points, over the root of the product of
    the sums of their squared norms. BN has the statistics of all points, and is a fixed function of each.

    Args:
        points: (N, 3, H, W), along a line.
    """
    x = points.clone().requires_grad_()
    with reestimated(net, [points], compute), mode(net, training=False):
        with compute.autocast():
            output = net(x)[:, 0]
        (gradient,) = torch.autograd.grad(output.float().sum(), x)
    g = gradient.flatten(1).double()
    products, squares = g @ g.T, g.square().sum(1)
    found = []
    for lag in range(len(g) - 1):
        first, second = squares[: len(g) - lag], squares[lag:]
        found.append(float(products.diagonal(lag).sum() / (first.sum() * second.sum()).sqrt()))
    return found


def block_gradients(net: nn.Module, x: Tensor, y: Tensor, compute: Compute) -> list[float]:
    """Return the norm of the loss's gradient for each block's output, BN in training mode; leave the net as it was."""
    outputs: list[Tensor] = []
    hooks = [block.register_forward_hook(lambda _, __, y: outputs.append(y)) for block in blocks_of(net).values()]
    try:
        with restoring([*net.buffers()]), mode(net, training=True):
            with compute.autocast():
                logits = net(x)
            gradients = torch.autograd.grad(F.cross_entropy(logits.float(), y), outputs)
    finally:
        for hook in hooks:
            hook.remove()
    return [float(gradient.double().norm()) for gradient in gradients]


@dataclass(frozen=True, kw_only=True)
class Measured:
    """Hold what is measured of one net."""

    correlations: list[GradientCorrelation]
    gradients: list[BlockGradient]


def measure(
    x: Tensor, y: Tensor, compute: Compute, *, depths: tuple[int, ...], seeds: tuple[int, ...], num_classes: int
) -> Iterator[Measured]:
    """Yield what is measured of an untrained net of each kind, depth and seed.

    Args:
        x, y: inputs (N, 3, H, W) and labels (N,); a seed has the line between two of these inputs.
    """
    for depth, seed, kind in product(depths, seeds, GRADIENT_KINDS):
        net = untrained(kind, depth, seed, num_classes=num_classes)
        net = compute.move(net)
        points = line(x[2 * seed % len(x)], x[(2 * seed + 1) % len(x)])
        of_blocks = zip(blocks_of(net), block_gradients(net, x, y, compute), strict=True)
        yield Measured(
            correlations=[
                GradientCorrelation(kind=kind, depth=depth, seed=seed, lag=lag, correlation=correlation)
                for lag, correlation in enumerate(correlations(net, points, compute))
            ],
            gradients=[
                BlockGradient(kind=kind, depth=depth, seed=seed, block=name, gradient_norm=norm)
                for name, norm in of_blocks
            ],
        )


def tabulate(nets: Sequence[Measured]) -> Table:
    """Tabulate how alike the gradients of each kind and depth are near each other, and how they grow."""
    along, of_blocks = _frames(nets)
    near: dict[Any, float] = (
        along[along["lag"] == figure.NEAR].groupby(["kind", "depth"])["correlation"].mean().to_dict()
    )
    factors = figure.growth(of_blocks).groupby(["kind", "depth"]).mean().to_dict()
    rows = [
        (net[0], str(net[1]), f"{correlation:.3f}", f"{factors[net]:.3f}" if net in factors else "")
        for net, correlation in near.items()
    ]
    return Table(title=TITLE, columns=("net", "layers", "correlation", "growth a layer"), rows=tuple(rows))


def write(nets: Sequence[Measured], results_dir: Path) -> list[Path]:
    """Write the two CSVs of all nets, and draw them."""
    written = [laboratory_file(results_dir, name) for name in ("correlations.csv", "block-gradients.csv")]
    write_rows(written[0], GradientCorrelation, [row for net in nets for row in net.correlations])
    write_rows(written[1], BlockGradient, [row for net in nets for row in net.gradients])
    along, of_blocks = _frames(nets)
    note = f"{along['seed'].nunique()} seeds, initialized by fan_in"
    data = FigureData(title=TITLE, note=note, runs={})
    path = figure_file(results_dir, "initialization", "png")
    save(lambda: figure.draw(along, of_blocks, data), path)
    return [*written, path]


def _frames(nets: Sequence[Measured]) -> tuple[pd.DataFrame, pd.DataFrame]:
    correlations = [dict(row) for net in nets for row in net.correlations]
    return pd.DataFrame(correlations), pd.DataFrame([dict(row) for net in nets for row in net.gradients])
