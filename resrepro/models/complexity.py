"""Parameters, multiply-adds and output sizes: Table 1's and Table 6's columns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from resrepro.catalog import architecture
from resrepro.models import build


@dataclass(frozen=True, kw_only=True)
class Complexity:
    """Of one forward pass of one image.

    Args:
        num_layers: weighted layers, as the paper counts them (shortcut projections are not counted).
        num_multiply_adds: of convolutions and fc (Table 1's "FLOPs").
        num_blocks: of each stage.
        output_sizes: stage -> (channels, height, width).
    """

    num_layers: int
    num_parameters: int
    num_multiply_adds: int
    num_blocks: tuple[int, ...]
    output_sizes: dict[str, tuple[int, int, int]]


def complexity(arch: str, *, num_classes: int | None = None, image_size: tuple[int, int] | None = None) -> Complexity:
    """Counts on torch's meta device, without computing anything; the paper's input size by default."""
    spec = architecture(arch)
    height, width = image_size or (spec.image_size, spec.image_size)
    if num_classes is None:
        num_classes = 10 if spec.family == "cifar" else 1000
    with torch.device("meta"):
        net = build(arch, num_classes=num_classes).eval()
        sizes: dict[str, tuple[int, int, int]] = {}

        def record(name: str) -> Any:
            def hook(_module: nn.Module, _input: Any, output: torch.Tensor) -> None:
                sizes[name] = (output.shape[1], output.shape[2], output.shape[3])

            return hook

        for name, module in net.named_children():
            if name != "fc" and not name.startswith("bn"):
                module.register_forward_hook(record(name))
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            net(torch.empty(1, 3, height, width))
    layers = [m for n, m in net.named_modules() if isinstance(m, nn.Conv2d | nn.Linear) and "downsample" not in n]
    return Complexity(
        num_layers=len(layers),
        num_parameters=sum(p.numel() for p in net.parameters()),
        num_multiply_adds=counter.get_total_flops() // 2,  # torch counts a multiply-add as two
        num_blocks=tuple(len(stage) for stage in net.children() if isinstance(stage, nn.Sequential)),
        output_sizes=sizes,
    )
