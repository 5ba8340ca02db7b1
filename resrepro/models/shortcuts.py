"""Build the shortcut options A, B, C (Sec. 3.3)."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from resrepro.config.architectures import Shortcut


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


def projection(in_channels: int, out_channels: int, stride: int) -> nn.Sequential:
    """Build a 1x1 convolution with BN: (N, C_in, H, W) -> (N, C_out, H/stride, W/stride)."""
    return nn.Sequential(nn.Conv2d(in_channels, out_channels, 1, stride, bias=False), nn.BatchNorm2d(out_channels))


def shortcut(option: Shortcut | None, in_channels: int, out_channels: int, stride: int) -> nn.Module | None:
    """Build the shortcut of one block; return None in a plain net, `nn.Identity` where x passes unchanged."""
    if option is None:
        return None
    changes = stride != 1 or in_channels != out_channels
    if option == "C" or (option == "B" and changes):
        return projection(in_channels, out_channels, stride)
    return ZeroPadding(in_channels, out_channels, stride) if changes else nn.Identity()
