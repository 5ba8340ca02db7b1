"""Count parameters, multiply-adds and output sizes: the columns of Table 1 and Table 6."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
import torchvision
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from resrepro.config.architectures import VGG_LABELS, Architecture, Counts, architecture
from resrepro.models import build
from resrepro.models.layers import weighted_layers
from resrepro.models.own import check_output
from resrepro.models.stage import Stage


@dataclass(frozen=True, kw_only=True)
class Complexity(Counts):
    """Holds the counts of one forward pass of one image, with what training keeps of it.

    Args:
        num_activations: elements that training keeps for the gradient: inputs and outputs of convolutions.
        num_activations_checkpointed: the same where each block keeps its input only (activation checkpointing).
        num_activations_largest: elements of the largest input or output of a convolution.
    """

    num_activations: int
    num_activations_checkpointed: int
    num_activations_largest: int


def complexity(arch: str, *, num_classes: int | None = None, image_size: tuple[int, int] | None = None) -> Complexity:
    """Count on torch's meta device, without computing anything; nets of other code on the CPU, with one image.

    Args:
        image_size: (height, width) of the input, pixels; None: the paper's.

    Raises:
        UserError: neither an architecture nor a VGG, or a net of other code that does not do what one must.
    """
    spec = Architecture(family="imagenet") if arch in VGG_LABELS else architecture(arch)  # a VGG takes its images
    image_size = image_size or (spec.image_size, spec.image_size)
    num_classes = spec.num_classes if num_classes is None else num_classes
    with torch.device("cpu" if spec.own else "meta"):  # other code may look into its tensors
        if arch in VGG_LABELS:
            net = torchvision.models.get_model(arch, num_classes=num_classes).eval()
            pools = [module for module in net.features if isinstance(module, nn.MaxPool2d)]
            stages: list[tuple[str, nn.Module]] = [(f"pool{i}", pool) for i, pool in enumerate(pools, 1)]
        else:
            net = build(arch, num_classes=num_classes).eval()
            stages = [(n, m) for n, m in net.named_children() if n != "fc" and not n.startswith("bn")]
        if spec.own:
            check_output(net, arch, num_classes=num_classes, image_size=image_size)
        sizes: dict[str, tuple[int, int, int]] = {}

        def record(name: str, _module: nn.Module, _input: Any, output: Any) -> None:
            if isinstance(output, torch.Tensor) and output.ndim == 4:  # of our own nets, each
                sizes[name] = (output.shape[1], output.shape[2], output.shape[3])

        for name, module in stages:
            module.register_forward_hook(partial(record, name))
        kept = _Kept(net)
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            net(torch.empty(1, 3, *image_size))
    return Complexity(
        num_layers=len(weighted_layers(net)),
        num_parameters=sum(p.numel() for p in net.parameters()),
        num_multiply_adds=counter.get_total_flops() // 2,  # torch counts a multiply-add as two
        num_activations=kept.total(),
        num_activations_checkpointed=kept.total_recomputed(),
        num_activations_largest=kept.largest(),
        num_blocks=tuple(len(stage) for stage in net.children() if isinstance(stage, Stage)),
        output_sizes=sizes,
    )


class _Kept:
    """Notes the tensors that go into and come out of each convolution, and into each block, in a forward pass."""

    def __init__(self, net: nn.Module) -> None:
        self.block_inputs: dict[int, torch.Tensor] = {}
        self.inside: list[dict[int, torch.Tensor]] = [{}]  # first of what is in no block, then of each block
        blocks = [block for stage in net.modules() if isinstance(stage, Stage) for block in stage]
        for module in net.modules():
            if isinstance(module, nn.Conv2d):
                module.register_forward_hook(self._convolution)
        for block in blocks:
            block.register_forward_pre_hook(self._block)

    def _convolution(self, _module: nn.Module, inputs: Any, output: torch.Tensor) -> None:
        for x in (inputs[0], output):
            self.inside[-1][id(x)] = x  # held, so that no other tensor takes its identity

    def _block(self, _module: nn.Module, inputs: Any) -> None:
        self.block_inputs[id(inputs[0])] = inputs[0]
        self.inside.append({})

    def total(self) -> int:
        return _num_elements({key: x for part in self.inside for key, x in part.items()})

    def total_recomputed(self) -> int:
        stem, *blocks = self.inside
        return _num_elements({**stem, **self.block_inputs}) + max(map(_num_elements, blocks), default=0)

    def largest(self) -> int:
        return max((x.numel() for part in self.inside for x in part.values()), default=0)


def _num_elements(tensors: dict[int, torch.Tensor]) -> int:
    return sum(x.numel() for x in tensors.values())
