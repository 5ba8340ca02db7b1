"""Build the ImageNet nets of Table 1."""

from __future__ import annotations

from torch import Tensor, nn

from resrepro.config.architectures import Architecture
from resrepro.models.blocks import BasicBlock, Block, Bottleneck, stage
from resrepro.models.kernels.fused import bn_relu

WIDTHS = (64, 128, 256, 512)
BLOCKS: dict[int, tuple[type[Block], tuple[int, int, int, int]]] = {
    18: (BasicBlock, (2, 2, 2, 2)),
    34: (BasicBlock, (3, 4, 6, 3)),
    50: (Bottleneck, (3, 4, 6, 3)),
    101: (Bottleneck, (3, 4, 23, 3)),
    152: (Bottleneck, (3, 8, 36, 3)),
}


class ImageNetNet(nn.Module):
    """Computes the plain and residual nets of Table 1, and ResNeXts; state dicts have torchvision's keys.

    (N, 3, H, W) -> (N, num_classes); the paper's H = W = 224.
    """

    def __init__(self, spec: Architecture, *, num_classes: int = 1000) -> None:
        super().__init__()
        block, num_blocks = BLOCKS[spec.depth]
        self.conv1 = nn.Conv2d(3, WIDTHS[0], 7, 2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(WIDTHS[0])
        self.maxpool = nn.MaxPool2d(3, 2, padding=1)
        stages = []
        in_channels = WIDTHS[0]
        for index, (count, width) in enumerate(zip(num_blocks, WIDTHS, strict=True)):
            stages.append(stage(block, count, in_channels, width, 1 if index == 0 else 2, spec))
            in_channels = width * block.expansion
        self.layer1, self.layer2, self.layer3, self.layer4 = stages
        self.fc = nn.Linear(in_channels, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.maxpool(bn_relu(self.bn1, self.conv1(x)))  # (N, 3, 224, 224) -> (N, 64, 56, 56)
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))  # -> (N, 512 expansion, 7, 7)
        logits: Tensor = self.fc(x.mean((2, 3)))  # -> (N, num_classes)
        return logits
