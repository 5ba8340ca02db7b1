"""Norms of each layer's gradient and weights, and the forward signal (Sec. 4.1: both are healthy in nets with BN)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from resrepro.evaluation.batch_norm import reestimated
from resrepro.evaluation.responses import Responses
from resrepro.models import stage
from resrepro.models.layers import weighted_layers
from resrepro.runtime.device import Compute


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


@torch.no_grad()
def response_stds(net: nn.Module, inputs: Sequence[Tensor], compute: Compute) -> dict[int, float]:
    """Return the standard deviation of each 3x3 layer's response, by the layer's number; leave the net as it was.

    It is taken over images, positions and channels, before the shortcut's addition and ReLU, with BN's statistics
    averaged over `inputs`.

    Args:
        inputs: mini-batches (N, 3, H, W) on the net's device.
    """
    with reestimated(net, inputs, compute), stage.mode(net, training=False):
        with Responses(net, sum(map(len, inputs))) as responses:
            for x in inputs:
                with compute.autocast():
                    net(x)
        return {row.layer: row.std for row in responses.rows()}
