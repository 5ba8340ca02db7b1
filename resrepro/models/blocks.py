"""Build the two building blocks (Fig. 5), plain and residual; `models.relatives` has others.

The shortcut is called `downsample`, and the layers `conv1`, `bn1`, ..., so that state dicts have torchvision's
keys. The shortcut is added before the last ReLU.
"""

from __future__ import annotations

from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from resrepro.config.architectures import Architecture
from resrepro.models.kernels.fused import bn_relu, conv3x3
from resrepro.models.shortcuts import shortcut
from resrepro.models.stage import Stage


class Bias(nn.Module):
    """Adds a bias for each channel, zero at the start, in place of BN: (N, C, H, W) -> (N, C, H, W)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.bias.to(x.dtype)[:, None, None]


def batch_norm(channels: int, spec: Architecture) -> nn.Module:
    """Return BN, or the bias in its place: the output is the layer's response in both."""
    return nn.BatchNorm2d(channels) if spec.batch_norm else Bias(channels)


def activation(bn: nn.Module, x: Tensor, shortcut: Tensor | None = None) -> Tensor:
    """Compute relu(bn(x)), or relu(bn(x) + shortcut): (N, C, H, W) each.

    Args:
        bn: what `batch_norm` returned.
    """
    if isinstance(bn, nn.BatchNorm2d):
        return bn_relu(bn, x, shortcut)
    y = bn(x)
    return F.relu_(y if shortcut is None else y.add_(shortcut))


class Block(nn.Module):
    """Computes F and a shortcut: (N, C_in, H, W) -> (N, C_out, H/stride, W/stride), C_out = `expansion` times width."""

    expansion: ClassVar[int] = 1

    def __init__(self, in_channels: int, width: int, stride: int, spec: Architecture) -> None:
        super().__init__()


class BasicBlock(Block):
    """Computes two 3x3 layers (Fig. 5 left)."""

    def __init__(self, in_channels: int, width: int, stride: int, spec: Architecture) -> None:
        super().__init__(in_channels, width, stride, spec)
        self.conv1 = nn.Conv2d(in_channels, width, 3, stride, padding=1, bias=False)
        self.bn1 = batch_norm(width, spec)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn2 = batch_norm(width, spec)
        self.downsample = shortcut(spec.shortcut, in_channels, width, stride)

    def forward(self, x: Tensor) -> Tensor:
        y = activation(self.bn1, conv3x3(self.conv1, x))
        return activation(self.bn2, conv3x3(self.conv2, y), None if self.downsample is None else self.downsample(x))


class Bottleneck(Block):
    """Computes 1x1, 3x3 and 1x1 layers (Fig. 5 right).

    A ResNeXt's 3x3 layer is a grouped convolution: form (c) of Fig. 3 in Xie et al. 2017. It equals the sum of
    `cardinality` bottlenecks side by side (a), because the last 1x1 layer adds the outputs of the groups.
    """

    expansion: ClassVar[int] = 4

    def __init__(self, in_channels: int, width: int, stride: int, spec: Architecture) -> None:
        super().__init__(in_channels, width, stride, spec)
        # The paper's stride is in the first 1x1: only this gives Table 1's multiply-adds.
        first, second = (1, stride) if spec.stride_in_3x3 else (stride, 1)
        inner = spec.cardinality * (width * spec.base_width // 64)  # width itself in a ResNet
        self.conv1 = nn.Conv2d(in_channels, inner, 1, first, bias=False)
        self.bn1 = nn.BatchNorm2d(inner)
        self.conv2 = nn.Conv2d(inner, inner, 3, second, padding=1, groups=spec.cardinality, bias=False)
        self.bn2 = nn.BatchNorm2d(inner)
        self.conv3 = nn.Conv2d(inner, 4 * width, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(4 * width)
        self.downsample = shortcut(spec.shortcut, in_channels, 4 * width, stride)

    def forward(self, x: Tensor) -> Tensor:
        y = bn_relu(self.bn1, self.conv1(x))
        y = bn_relu(self.bn2, conv3x3(self.conv2, y))
        return bn_relu(self.bn3, self.conv3(y), None if self.downsample is None else self.downsample(x))


def stage(block: type[Block], num_blocks: int, in_channels: int, width: int, stride: int, spec: Architecture) -> Stage:
    """Build a stage of `num_blocks` blocks, the first of them with the stride."""
    out_channels = width * block.expansion
    return Stage(
        block(in_channels, width, stride, spec),
        *(block(out_channels, width, 1, spec) for _ in range(num_blocks - 1)),
    )
