"""Build blocks that are not in the paper's Fig. 5: of its nearest relatives, and of its own remarks on F (Sec. 3.2).

The relatives are pre-activation ResNets (He et al. 2016, arXiv 1603.05027) and Highway nets (Srivastava et al. 2015,
arXiv 1507.06228). In our own state dicts a BN after `conv1` is `bn1`, and one before it `norm1`.
"""

from __future__ import annotations

from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from resrepro.config.architectures import Architecture
from resrepro.models.blocks import BasicBlock, Block, activation
from resrepro.models.kernels.fused import bn_relu, conv3x3
from resrepro.models.shortcuts import ZeroPadding, gate, shortcut

TRANSFORM_BIAS = -2.0  # of a transform gate at the start; Srivastava et al., Sec. 2.2: negative, "e.g. -1, -3"


class SingleLayerBlock(Block):
    """Computes relu(W x + x): F has one 3x3 layer, whose advantages Sec. 3.2 has "not observed"."""

    def __init__(self, in_channels: int, width: int, stride: int, spec: Architecture) -> None:
        super().__init__(in_channels, width, stride, spec)
        self.conv1 = nn.Conv2d(in_channels, width, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.downsample = shortcut(spec.shortcut, in_channels, width, stride)

    def forward(self, x: Tensor) -> Tensor:
        return bn_relu(self.bn1, conv3x3(self.conv1, x), None if self.downsample is None else self.downsample(x))


class ThreeLayerBlock(BasicBlock):
    """Computes three 3x3 layers. In the paper F has two, or the three of a bottleneck (Sec. 3.2, Fig. 5)."""

    def __init__(self, in_channels: int, width: int, stride: int, spec: Architecture) -> None:
        super().__init__(in_channels, width, stride, spec)
        self.conv3 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn3 = nn.BatchNorm2d(width)

    def forward(self, x: Tensor) -> Tensor:
        y = activation(self.bn1, conv3x3(self.conv1, x))
        y = activation(self.bn2, conv3x3(self.conv2, y))
        return bn_relu(self.bn3, conv3x3(self.conv3, y), None if self.downsample is None else self.downsample(x))


class PreactivationBlock(Block):
    """Computes x + conv2(relu(norm2(conv1(relu(norm1(x)))))): BN and ReLU before the layers, nothing after the sum.

    Args of the class:
        kernels: sides of the kernels of its layers, pixels.

    Attributes:
        activates_both: the shortcut gets relu(norm1(x)), too. So it is in the net's first block, and where the shortcut
            is a projection, which then has no BN; in all others x itself passes.
    """

    kernels: ClassVar[tuple[int, ...]] = (3, 3)

    def __init__(self, in_channels: int, width: int, stride: int, spec: Architecture) -> None:
        super().__init__(in_channels, width, stride, spec)
        out_channels = width * self.expansion
        channels = (in_channels, *[width] * (len(self.kernels) - 1), out_channels)
        for i, kernel in enumerate(self.kernels):
            self.add_module(f"norm{i + 1}", nn.BatchNorm2d(channels[i]))
            step = stride if i == 0 else 1
            conv = nn.Conv2d(channels[i], channels[i + 1], kernel, step, padding=kernel // 2, bias=False)
            self.add_module(f"conv{i + 1}", conv)
        changes = stride != 1 or in_channels != out_channels
        self.activates_both = changes and spec.shortcut == "B"
        self.downsample: nn.Module = nn.Identity()
        if self.activates_both:
            self.downsample = nn.Conv2d(in_channels, out_channels, 1, stride, bias=False)
        elif changes:
            self.downsample = ZeroPadding(in_channels, out_channels, stride)

    def forward(self, x: Tensor) -> Tensor:
        y, shortcut = x, x
        for i, kernel in enumerate(self.kernels):
            norm, conv = self.get_submodule(f"norm{i + 1}"), self.get_submodule(f"conv{i + 1}")
            y = bn_relu(norm, y)  # type: ignore[arg-type]
            if i == 0 and self.activates_both:
                shortcut = y
            y = conv3x3(conv, y) if kernel == 3 else conv(y)  # type: ignore[arg-type]
        return y + self.downsample(shortcut)  # type: ignore[no-any-return]


class PreactivationBottleneck(PreactivationBlock):
    """Computes 1x1, 3x3 and 1x1 layers in the same way."""

    expansion: ClassVar[int] = 4
    kernels: ClassVar[tuple[int, ...]] = (1, 3, 1)


class MixingBlock(BasicBlock):
    """Mixes F(x) of a basic block with its shortcut in another way than by their sum."""

    def parts(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return F(x), up to its last BN, and the shortcut."""
        assert self.downsample is not None
        y: Tensor = self.bn2(conv3x3(self.conv2, activation(self.bn1, conv3x3(self.conv1, x))))
        return y, self.downsample(x)


class HalvesBlock(MixingBlock):
    """Computes relu(0.5 F(x) + 0.5 x) (He et al. 2016, Table 1)."""

    def forward(self, x: Tensor) -> Tensor:
        y, shortcut = self.parts(x)
        return F.relu(0.5 * (y + shortcut))


class ExclusiveGatesBlock(MixingBlock):
    """Computes relu(g(x) F(x) + (1 - g(x)) x), with a gate g of a 1x1 convolution (He et al. 2016, Fig. 2c)."""

    def __init__(self, in_channels: int, width: int, stride: int, spec: Architecture) -> None:
        super().__init__(in_channels, width, stride, spec)
        self.gate = gate(in_channels, width, stride)

    def forward(self, x: Tensor) -> Tensor:
        y, shortcut = self.parts(x)
        return F.relu(shortcut + torch.sigmoid(self.gate(x)) * (y - shortcut))


class HighwayBlock(Block):
    """Computes H(x) T(x) + x (1 - T(x)): one layer H, relu(bn(conv(x))), and its transform gate T, 3x3 as well.

    Where dimensions change it is H alone, as in the source (Sec. 2.1). Differs from the source: there H is a layer and
    its ReLU (Sec. 3); here it has BN, as all nets that it is compared with.
    """

    def __init__(self, in_channels: int, width: int, stride: int, spec: Architecture) -> None:
        super().__init__(in_channels, width, stride, spec)
        self.conv1 = nn.Conv2d(in_channels, width, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.gate: nn.Conv2d | None = None
        if stride == 1 and in_channels == width:
            self.gate = nn.Conv2d(in_channels, width, 3, padding=1)
            nn.init.constant_(self.gate.bias, TRANSFORM_BIAS)  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> Tensor:
        h = bn_relu(self.bn1, conv3x3(self.conv1, x))
        return h if self.gate is None else x + torch.sigmoid(self.gate(x)) * (h - x)
