"""Parameters, multiply-adds and output sizes: Table 1's and Table 6's columns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torchvision
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from resrepro.catalog import architecture
from resrepro.models import build

VGG = ("vgg16", "vgg19")  # what the paper compares its nets with: torchvision's, counted here and not trained


@dataclass(frozen=True, kw_only=True)
class Complexity:
    """Of one forward pass of one image.

    Args:
        num_layers: weighted layers, as the paper counts them (shortcut projections are not counted).
        num_multiply_adds: of convolutions and fc (Table 1's "FLOPs").
        image_size: (height, width) of the input.
        output_sizes: stage -> (channels, height, width).
    """

    num_layers: int
    num_parameters: int
    num_multiply_adds: int
    image_size: tuple[int, int]
    output_sizes: dict[str, tuple[int, int, int]]


def complexity(arch: str, *, num_classes: int | None = None, image_size: tuple[int, int] | None = None) -> Complexity:
    """Counts on torch's meta device, without computing anything; the paper's input size by default.

    Raises:
        UserError: neither an architecture nor one of VGG.
    """
    side = 224 if arch in VGG else architecture(arch).image_size
    image_size = image_size or (side, side)
    if num_classes is None:
        num_classes = 10 if side == 32 else 1000
    with torch.device("meta"):
        if arch in VGG:
            net = torchvision.models.get_model(arch, num_classes=num_classes).eval()
            pools = [module for module in net.features if isinstance(module, nn.MaxPool2d)]
            stages: list[tuple[str, nn.Module]] = [(f"pool{i}", pool) for i, pool in enumerate(pools, 1)]
        else:
            net = build(arch, num_classes=num_classes).eval()
            stages = [(n, m) for n, m in net.named_children() if n != "fc" and not n.startswith("bn")]
        sizes: dict[str, tuple[int, int, int]] = {}

        def record(name: str) -> Any:
            def hook(_module: nn.Module, _input: Any, output: torch.Tensor) -> None:
                sizes[name] = (output.shape[1], output.shape[2], output.shape[3])

            return hook

        for name, module in stages:
            module.register_forward_hook(record(name))
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            net(torch.empty(1, 3, *image_size))
    layers = [m for n, m in net.named_modules() if isinstance(m, nn.Conv2d | nn.Linear) and "downsample" not in n]
    return Complexity(
        num_layers=len(layers),
        num_parameters=sum(p.numel() for p in net.parameters()),
        num_multiply_adds=counter.get_total_flops() // 2,  # torch counts a multiply-add as two
        image_size=image_size,
        output_sizes=sizes,
    )
