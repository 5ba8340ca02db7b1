"""Loss and error on one view of each image (Sec. 4.2's test)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from resrepro.device import Compute

EVALUATION_BATCH = 500  # images at a time; no result depends on it


@dataclass(frozen=True, kw_only=True)
class Measured:
    """Mean cross-entropy, and top-1 error in %."""

    loss: float
    error_pct: float


@torch.inference_mode()
def measure(net: nn.Module, batches: Iterable[tuple[Tensor, Tensor]], compute: Compute) -> Measured:
    """BN in inference mode; the net is left in training mode as it was found."""
    was_training = net.training
    net.eval()
    totals = torch.zeros(2, dtype=torch.float64, device=compute.device)
    num_images = 0
    for x, y in batches:
        with compute.autocast():
            logits = net(x)
        totals += _totals(logits.float(), y)
        num_images += len(y)
    net.train(was_training)
    loss, wrong = totals.tolist()
    return Measured(loss=loss / num_images, error_pct=100 * wrong / num_images)


def _totals(logits: Tensor, labels: Tensor) -> Tensor:
    """(sum of the losses, number of wrong answers)."""
    loss = F.cross_entropy(logits, labels, reduction="sum")
    return torch.stack((loss.double(), (logits.argmax(1) != labels).sum().double()))
