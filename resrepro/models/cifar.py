"""Build the CIFAR nets of Sec. 4.2, and the ResNeXts for CIFAR."""

from __future__ import annotations

from torch import Tensor, nn

from resrepro.config.architectures import Architecture
from resrepro.models.blocks import BasicBlock, Bottleneck, activation, batch_norm, stage

INPUT_DEVIATION = 64.0  # of CIFAR-10's pixels about the per-pixel mean it is 63; a power of two rounds nothing


class CifarNet(nn.Module):
    """Computes 6n+2 weighted layers: a 3x3 layer, 3 stages of 2n 3x3 layers with 16, 32, 64 filters, fc.

    It uses option A everywhere, so a residual net has the parameters of its plain counterpart. A ResNeXt (Xie et al.
    2017, appendix A) has 9n+2 layers: 64 filters, 3 stages of n bottlenecks with 256, 512, 1024 filters at their end.
    Without BN the input is divided by its deviation, for nothing else gives it a unit scale.
    (N, 3, H, W) -> (N, num_classes); the paper's H = W = 32.

    Raises:
        ValueError: depth is not 6n+2, or 9n+2, with n >= 1.
    """

    def __init__(self, spec: Architecture, *, num_classes: int = 10) -> None:
        super().__init__()
        block: type[BasicBlock] | type[Bottleneck]
        block, widths, num_layers = (
            (BasicBlock, (16, 32, 64), 2) if spec.cardinality == 1 else (Bottleneck, (64, 128, 256), 3)
        )
        n, rest = divmod(spec.depth - 2, 3 * num_layers)
        if rest or n < 1:
            raise ValueError(f"depth {spec.depth}: expected {3 * num_layers}n+2")
        self.batch_norm = spec.batch_norm
        self.conv1 = nn.Conv2d(3, widths[0], 3, padding=1, bias=False)
        self.bn1 = batch_norm(widths[0], spec)
        self.layer1 = stage(block, n, widths[0], widths[0], 1, spec)
        self.layer2 = stage(block, n, widths[0] * block.expansion, widths[1], 2, spec)
        self.layer3 = stage(block, n, widths[1] * block.expansion, widths[2], 2, spec)
        self.fc = nn.Linear(widths[2] * block.expansion, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        if not self.batch_norm:
            x = x / INPUT_DEVIATION
        x = activation(self.bn1, self.conv1(x))  # (N, 3, 32, 32) -> (N, 16, 32, 32); a ResNeXt: (N, 64, 32, 32)
        x = self.layer3(self.layer2(self.layer1(x)))  # -> (N, 64, 8, 8); a ResNeXt: (N, 1024, 8, 8)
        logits: Tensor = self.fc(x.mean((2, 3)))  # -> (N, num_classes)
        return logits
