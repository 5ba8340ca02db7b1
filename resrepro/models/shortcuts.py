"""Build the shortcut options A, B, C (Sec. 3.3), and two of He et al. 2016 (arXiv 1603.05027, Table 1)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from resrepro.config.architectures import Shortcut

GATE_BIAS = -6.0  # sigmoid: 0.0025, so a shortcut starts nearly whole


class ZeroPadding(nn.Module):
    """Computes option A where dimensions change: every second pixel, and zero channels, half on each side.

    (N, C_in, H, W) -> (N, C_out, H/2, W/2). It has no parameters.
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        self.stride = stride
        before = (out_channels - in_channels) // 2
        self.padding = (0, 0, 0, 0, before, out_channels - in_channels - before)

    def forward(self, x: Tensor) -> Tensor:
        # A 1x1 average pool only picks pixels. Unlike x[:, :, ::2, ::2] its gradient stays channels-last.
        return F.pad(F.avg_pool2d(x, 1, self.stride), self.padding)


class Scaled(nn.Module):
    """Computes half of option A: (N, C_in, H, W) -> (N, C_out, H/stride, W/stride)."""

    def __init__(self, whole: nn.Module) -> None:
        super().__init__()
        self.whole = whole

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.whole(x)
        return 0.5 * y


class Gated(nn.Module):
    """Computes 1 - g(x) times option A, with g of `gate`: (N, C_in, H, W) -> (N, C_out, H/stride, W/stride)."""

    def __init__(self, whole: nn.Module, gate: nn.Module) -> None:
        super().__init__()
        self.whole, self.gate = whole, gate

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.whole(x)
        return y - torch.sigmoid(self.gate(x)) * y  # so in bf16 a gate near 0 is not lost in 1 - g


def gate(in_channels: int, out_channels: int, stride: int) -> nn.Conv2d:
    """Build what a sigmoid makes a gate: a 1x1 convolution, whose bias starts at the best one of that Table 1."""
    conv = nn.Conv2d(in_channels, out_channels, 1, stride)
    nn.init.constant_(conv.bias, GATE_BIAS)  # type: ignore[arg-type]
    return conv


def projection(in_channels: int, out_channels: int, stride: int) -> nn.Sequential:
    """Build a 1x1 convolution with BN: (N, C_in, H, W) -> (N, C_out, H/stride, W/stride)."""
    return nn.Sequential(nn.Conv2d(in_channels, out_channels, 1, stride, bias=False), nn.BatchNorm2d(out_channels))


def shortcut(option: Shortcut | None, in_channels: int, out_channels: int, stride: int) -> nn.Module | None:
    """Build the shortcut of one block; return None in a plain net, `nn.Identity` where x passes unchanged."""
    if option is None:
        return None
    changes = stride != 1 or in_channels != out_channels
    if option in ("scaled", "gated"):
        whole = ZeroPadding(in_channels, out_channels, stride) if changes else nn.Identity()
        return Scaled(whole) if option == "scaled" else Gated(whole, gate(in_channels, out_channels, stride))
    if option == "C" or (option == "B" and changes):
        return projection(in_channels, out_channels, stride)
    return ZeroPadding(in_channels, out_channels, stride) if changes else nn.Identity()
