"""Norms of each layer's gradient and weights (Sec. 4.1: with BN, plain nets' gradients have healthy norms)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from resrepro.models import stage
from resrepro.models.layers import weighted_layers
from resrepro.runtime.device import Compute

NUM_BATCHES = 4  # training mini-batches whose mean loss has its gradient taken: always those of iterations 0 to 3


@dataclass(frozen=True, kw_only=True)
class Norms:
    """Hold the norms of the weights (no biases, no BN parameters) of one weighted layer."""

    layer: int
    name: str
    gradient_norm: float
    weight_norm: float


def gradient_norms(net: nn.Module, batches: Iterable[tuple[Tensor, Tensor]], compute: Compute) -> list[Norms]:
    """Return the norms of the gradient of the mean loss over `batches`, each passed through the net in training mode.

    Leaves net and optimizer as they were to the last bit: `p.grad` is not touched, and BN's moving averages are put
    back. Takes less memory than a training step, for each block keeps its input only.

    Args:
        net: in training mode.
        batches: inputs (N, 3, H, W) and labels (N,), on the net's device.
    """
    layers = [layer for layer in weighted_layers(net) if layer.module.weight.requires_grad]
    weights = [layer.module.weight for layer in layers]
    sums = [torch.zeros_like(w, dtype=torch.float64) for w in weights]
    num_batches = 0
    with stage.restoring([*net.buffers()]), stage.calling_blocks_by(net, stage.activation_checkpointing(stage.plain)):
        for x, y in batches:
            with compute.autocast():
                logits = net(x)
            loss = F.cross_entropy(logits.float(), y)
            gradients = torch.autograd.grad(loss, weights, allow_unused=True, materialize_grads=True)
            for total, gradient in zip(sums, gradients, strict=True):
                total += gradient
            num_batches += 1
    with torch.no_grad():
        gradient_norms = (torch.stack([g.norm() for g in sums]) / num_batches).tolist()
        weight_norms = torch.stack([w.double().norm() for w in weights]).tolist()
    return [
        Norms(layer=layer.number, name=layer.name, gradient_norm=gradient, weight_norm=weight)
        for layer, gradient, weight in zip(layers, gradient_norms, weight_norms, strict=True)
    ]
