"""The two building blocks (Fig. 5), plain and residual.

The shortcut is called `downsample`, and the layers `conv1`, `bn1`, ..., so that state dicts have torchvision's
keys. The shortcut is added before the last ReLU.
"""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor, nn

from resrepro.catalog import Shortcut
from resrepro.models.bn_relu import bn_relu
from resrepro.models.calls import Stage
from resrepro.models.shortcuts import shortcut


class BasicBlock(nn.Module):
    """Two 3x3 layers (Fig. 5 left): (N, C_in, H, W) -> (N, C_out, H/stride, W/stride)."""

    expansion: ClassVar[int] = 1

    def __init__(
        self,
        in_channels: int,
        width: int,
        stride: int,
        option: Shortcut | None,
        *,
        stride_in_3x3: bool = False,
    ) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, width, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.downsample = shortcut(option, in_channels, width, stride)

    def forward(self, x: Tensor) -> Tensor:
        y = bn_relu(self.bn1, self.conv1(x))
        return bn_relu(self.bn2, self.conv2(y), None if self.downsample is None else self.downsample(x))


class Bottleneck(nn.Module):
    """1x1, 3x3, 1x1 layers (Fig. 5 right): (N, C_in, H, W) -> (N, 4 width, H/stride, W/stride)."""

    expansion: ClassVar[int] = 4

    def __init__(
        self,
        in_channels: int,
        width: int,
        stride: int,
        option: Shortcut | None,
        *,
        stride_in_3x3: bool = False,
    ) -> None:
        super().__init__()
        # The paper's stride is in the first 1x1: only this gives Table 1's multiply-adds.
        first, second = (1, stride) if stride_in_3x3 else (stride, 1)
        self.conv1 = nn.Conv2d(in_channels, width, 1, first, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, second, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, 4 * width, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(4 * width)
        self.downsample = shortcut(option, in_channels, 4 * width, stride)

    def forward(self, x: Tensor) -> Tensor:
        y = bn_relu(self.bn1, self.conv1(x))
        y = bn_relu(self.bn2, self.conv2(y))
        return bn_relu(self.bn3, self.conv3(y), None if self.downsample is None else self.downsample(x))


def stage(
    block: type[BasicBlock] | type[Bottleneck],
    num_blocks: int,
    in_channels: int,
    width: int,
    stride: int,
    option: Shortcut | None,
    *,
    stride_in_3x3: bool = False,
) -> Stage:
    """`num_blocks` blocks, the first with the stride."""
    out_channels = width * block.expansion
    return Stage(
        *(
            block(
                in_channels if i == 0 else out_channels, width, stride if i == 0 else 1, option,
                stride_in_3x3=stride_in_3x3,
            )
            for i in range(num_blocks)
        )
    )  # fmt: skip
