"""The loss around a trained net, along filter-normalized random directions (Li, Xu, Taylor, Studer, Goldstein 2018)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from resrepro.data.dataset import Split
from resrepro.laboratory.stored_net import inputs_of
from resrepro.models.stage import mode, restoring
from resrepro.results.laboratory import BNStatistics, SurfacePoint
from resrepro.runtime.device import Compute


def direction(weights: Sequence[Tensor], draw: torch.Generator) -> list[Tensor]:
    """Draw a normal direction in which each filter (or row of fc) has the norm of the net's own.

    Args:
        weights: (C_out, ...) each.
    """
    found = []
    for weight in weights:
        d = torch.randn(weight.shape, generator=draw).to(weight)
        norms = [t.flatten(1).norm(dim=1).view(-1, *[1] * (weight.ndim - 1)) for t in (weight, d)]
        found.append(d * (norms[0] / norms[1]))
    return found


def surface(
    net: nn.Module, images: Split, compute: Compute, *, num_points: int, plane: bool, seed: int, skip: int = 0
) -> Iterator[SurfacePoint]:
    """Yield the loss at evenly spread points from -1 to 1 of one direction, or of the plane of two; 0 is the net.

    Biases and BN's parameters stay. At each point BN has the statistics of these very images, all as one mini-batch.
    Then the points of the first direction come again, with the trained net's own statistics. Between two points the
    net is as it was.

    Args:
        num_points: in each direction, odd.
        seed: of the directions.
        skip: how many of the points, the first ones, to leave out.
    """
    weights = [p for p in net.parameters() if p.ndim > 1]
    draw = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        along, across = direction(weights, draw), direction(weights, draw)
    x, y = inputs_of(images, compute)
    steps = np.linspace(-1, 1, num_points).tolist()
    grid: list[tuple[BNStatistics, float, float]] = [("anew", a, b) for b in (steps if plane else [0.0]) for a in steps]
    grid += [("stored", a, 0.0) for a in steps]
    for bn, a, b in grid[skip:]:
        with restoring([*net.parameters(), *net.buffers()]), mode(net, training=bn == "anew"), torch.no_grad():
            for weight, d, e in zip(weights, along, across, strict=True):
                weight.add_(a * d + b * e)
            with compute.autocast():
                logits = net(x)
            losses = F.cross_entropy(logits.float(), y, reduction="none").double()
            wrong = (logits.argmax(1) != y).double()
        yield SurfacePoint(
            x=a,
            y=b,
            loss=float(losses.mean()),
            loss_error=float(losses.std() / len(losses) ** 0.5),
            error_pct=100 * float(wrong.mean()),
            num_images=images.num_images,
            bn=bn,
        )
