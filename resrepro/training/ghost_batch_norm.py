"""Normalize parts of a mini-batch alone (ghost batch norm), as several devices would."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class GhostBatchNorm(nn.Module):
    """Calls the net so that BN sees each of `count` equal parts of the mini-batch alone.

    All parts enter BN's moving averages with equal weight, r <- (1 - m) r + m mean(s). That is linear, so it is also
    the mean of the averages of processes that see their own parts. (Data-parallel frameworks keep the first device's
    averages, of one part of each mini-batch.)

    Args:
        net: in training mode, on its device; its buffers are never replaced.
        count: number of parts; it divides the mini-batch.
    """

    def __init__(self, net: nn.Module, count: int) -> None:
        super().__init__()
        self.net, self.count = net, count
        # .data: autograd keeps these tensors, though no gradient needs them, and would refuse to see them written
        self.averages = [b.data for b in net.buffers() if b.is_floating_point()]
        self.counters = [b.data for b in net.buffers() if not b.is_floating_point()]

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits: (N, C, H, W) -> (N, num_classes)."""
        if self.count == 1 or not self.averages:  # or a net without BN
            y: Tensor = self.net(x)
            return y
        before = [a.clone() for a in self.averages]
        sums = [torch.zeros_like(a) for a in self.averages]
        logits = []
        for part in x.chunk(self.count):
            torch._foreach_copy_(self.averages, before)
            logits.append(self.net(part))
            torch._foreach_add_(sums, self.averages)
        torch._foreach_copy_(self.averages, torch._foreach_div(sums, self.count))
        torch._foreach_sub_(self.counters, self.count - 1)  # they count mini-batches
        return torch.cat(logits)
