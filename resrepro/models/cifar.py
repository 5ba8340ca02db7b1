"""Build the CIFAR nets of Sec. 4.2, and the ResNeXts for CIFAR."""

from __future__ import annotations

from torch import Tensor, nn

from resrepro.config.architectures import LAYERS, Architecture
from resrepro.config.architectures import Block as BlockName
from resrepro.models.blocks import BasicBlock, Block, Bottleneck, activation, batch_norm, stage
from resrepro.models.relatives import (
    ExclusiveGatesBlock,
    HalvesBlock,
    HighwayBlock,
    PreactivationBlock,
    PreactivationBottleneck,
    SingleLayerBlock,
    ThreeLayerBlock,
)

BLOCKS: dict[BlockName, type[Block]] = {
    "basic": BasicBlock,
    "bottleneck": Bottleneck,
    "1layer": SingleLayerBlock,
    "3layer": ThreeLayerBlock,
    "preactivation": PreactivationBlock,
    "preactivation-bottleneck": PreactivationBottleneck,
    "halves": HalvesBlock,
    "gates": ExclusiveGatesBlock,
    "highway": HighwayBlock,
}

INPUT_DEVIATION = 64.0  # of CIFAR-10's pixels about the per-pixel mean it is 63; a power of two rounds nothing


class CifarNet(nn.Module):
    """Computes 6n+2 weighted layers: a 3x3 layer, 3 stages of 2n 3x3 layers with 16, 32, 64 filters, fc.

    The paper's residual nets have option A everywhere, and so the parameters of their plain counterparts; relatives
    have other shortcuts. Blocks of one or three layers make it 3n+2 or 9n+2 layers deep; bottlenecks have four times
    the filters at their end. A ResNeXt (Xie et al. 2017, appendix A) has four times all filters. A pre-activation net
    has no BN after its first layer, but one, and ReLU, after its last block. Without BN the input is divided by its
    deviation, for nothing else gives it a unit scale. (N, 3, H, W) -> (N, num_classes); the paper's H = W = 32.

    Raises:
        ValueError: no number of blocks gives this depth.
    """

    def __init__(self, spec: Architecture, *, num_classes: int = 10) -> None:
        super().__init__()
        block, step = BLOCKS[spec.block], 3 * LAYERS[spec.block]
        widths = (16, 32, 64) if spec.cardinality == 1 else (64, 128, 256)
        n, rest = divmod(spec.depth - 2, step)
        if rest or n < 1:
            raise ValueError(f"depth {spec.depth}: expected {step}n+2")
        preactivation = issubclass(block, PreactivationBlock)
        self.batch_norm = spec.batch_norm
        self.conv1 = nn.Conv2d(3, widths[0], 3, padding=1, bias=False)
        self.bn1 = None if preactivation else batch_norm(widths[0], spec)
        self.layer1 = stage(block, n, widths[0], widths[0], 1, spec)
        self.layer2 = stage(block, n, widths[0] * block.expansion, widths[1], 2, spec)
        self.layer3 = stage(block, n, widths[1] * block.expansion, widths[2], 2, spec)
        self.bn_last = batch_norm(widths[2] * block.expansion, spec) if preactivation else None
        first = self.layer1[0]
        if isinstance(first, PreactivationBlock):
            first.activates_both = True
        self.fc = nn.Linear(widths[2] * block.expansion, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        if not self.batch_norm:
            x = x / INPUT_DEVIATION
        x = self.conv1(x)  # (N, 3, 32, 32) -> (N, 16, 32, 32); a ResNeXt: (N, 64, 32, 32)
        if self.bn1 is not None:
            x = activation(self.bn1, x)
        x = self.layer3(self.layer2(self.layer1(x)))  # -> (N, 64, 8, 8); bottlenecks 256, a ResNeXt 1024
        if self.bn_last is not None:
            x = activation(self.bn_last, x)
        logits: Tensor = self.fc(x.mean((2, 3)))  # -> (N, num_classes)
        return logits
