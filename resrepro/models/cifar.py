"""The CIFAR nets of Sec. 4.2."""

from __future__ import annotations

from torch import Tensor, nn

from resrepro.catalog import Shortcut
from resrepro.models.blocks import BasicBlock, stage
from resrepro.models.bn_relu import bn_relu

WIDTHS = (16, 32, 64)


class CifarNet(nn.Module):
    """6n+2 weighted layers: a 3x3 layer, 3 stages of 2n 3x3 layers with 16, 32, 64 filters, fc.

    Option A everywhere, so a residual net has the parameters of its plain counterpart.
    (N, 3, H, W) -> (N, num_classes); the paper's H = W = 32.

    Raises:
        ValueError: depth is not 6n+2 with n >= 1.
    """

    def __init__(self, depth: int, *, residual: bool, num_classes: int = 10) -> None:
        super().__init__()
        n, rest = divmod(depth - 2, 6)
        if rest or n < 1:
            raise ValueError(f"depth {depth}: expected 6n+2")
        option: Shortcut | None = "A" if residual else None
        self.conv1 = nn.Conv2d(3, WIDTHS[0], 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(WIDTHS[0])
        self.layer1 = stage(BasicBlock, n, WIDTHS[0], WIDTHS[0], 1, option)
        self.layer2 = stage(BasicBlock, n, WIDTHS[0], WIDTHS[1], 2, option)
        self.layer3 = stage(BasicBlock, n, WIDTHS[1], WIDTHS[2], 2, option)
        self.fc = nn.Linear(WIDTHS[2], num_classes)

    def forward(self, x: Tensor) -> Tensor:
        x = bn_relu(self.bn1, self.conv1(x))  # (N, 3, 32, 32) -> (N, 16, 32, 32)
        x = self.layer3(self.layer2(self.layer1(x)))  # -> (N, 64, 8, 8)
        logits: Tensor = self.fc(x.mean((2, 3)))  # -> (N, 64) -> (N, num_classes)
        return logits
