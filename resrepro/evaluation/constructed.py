"""The constructed solution of Sec. 1: a deeper net that is a shallower one and identity layers.

An added layer is a 3x3 convolution whose kernel passes each channel on (a one in the middle), BN, and ReLU. What
reaches it has passed a ReLU, so where BN gives back its input, the layer does.

BN has to do so twice. In inference it uses its moving averages: with weight = sqrt(variance + eps) and bias = mean it
is the identity, to rounding, whatever these are. In training it uses those of the mini-batch: so they are set to the
means and variances that the layer's input has over training mini-batches, and it is the identity up to the deviation
of one mini-batch from the others.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Literal

import torch
from torch import Tensor, nn

from resrepro.data.dataset import Split
from resrepro.models.blocks import BasicBlock
from resrepro.models.stage import Stage, mode, restoring
from resrepro.results.records import ConstructedComparison
from resrepro.runtime.device import Compute

NUM_BATCHES = 100  # training mini-batches that means and variances are averaged over
BATCH = 500  # images at a time where outputs are compared

Name = Literal["train", "test"]
Statistics = tuple[Tensor, Tensor]  # mean, variance: (C,) fp64 each


def construct(
    deep: nn.Module,
    shallow: nn.Module,
    mini_batches: Iterable[Tensor],
    splits: Mapping[Name, Split],
    compute: Compute,
    check_stop: Callable[[], None],
) -> list[ConstructedComparison]:
    """Make `deep` compute what `shallow` does, and compare them on these splits.

    Args:
        mini_batches: as `deepen` takes them.
        check_stop: called now and then; may raise to stop.
    """
    deepen(deep, shallow, mini_batches, compute)
    return [compare(deep, shallow, name, images, compute, check_stop) for name, images in splits.items()]


@torch.no_grad()
def deepen(deep: nn.Module, shallow: nn.Module, inputs: Iterable[Tensor], compute: Compute) -> None:
    """Make `deep` compute what `shallow` does: its layers, and identity layers after them in each stage.

    Args:
        deep, shallow: plain nets of CIFAR with BN, on one device; `deep` has at least as many blocks in each stage.
        inputs: training mini-batches, (N, 3, H, W) each.
    """
    statistics = _output_statistics(shallow, inputs, compute)
    for name, module in deep.named_children():
        given = shallow.get_submodule(name)
        if isinstance(module, Stage) and isinstance(given, Stage):
            for index, block in enumerate(module):
                if index < len(given):
                    block.load_state_dict(given[index].state_dict())
                else:
                    _make_identity(block, statistics[name])
        else:
            module.load_state_dict(given.state_dict())


def _make_identity(block: nn.Module, statistics: Statistics) -> None:
    assert isinstance(block, BasicBlock)
    mean, variance = statistics
    for conv, bn in ((block.conv1, block.bn1), (block.conv2, block.bn2)):
        assert isinstance(bn, nn.BatchNorm2d) and bn.running_mean is not None and bn.running_var is not None
        nn.init.dirac_(conv.weight)
        bn.running_mean.copy_(mean)
        bn.running_var.copy_(variance)
        bn.bias.copy_(bn.running_mean)
        bn.weight.copy_((bn.running_var.double() + bn.eps).sqrt())


def _output_statistics(net: nn.Module, inputs: Iterable[Tensor], compute: Compute) -> dict[str, Statistics]:
    """Average mean and variance of each channel that leaves a stage over mini-batches, in training mode."""
    sums: dict[str, Tensor] = {}
    num_batches = 0

    def add(name: str, _stage: nn.Module, _inputs: tuple[Tensor, ...], y: Tensor) -> None:
        variance, mean = torch.var_mean(y.double(), dim=(0, 2, 3), correction=0)  # as BN normalizes
        sums[name] = sums.get(name, 0) + torch.stack((mean, variance))

    hooks = [m.register_forward_hook(partial(add, n)) for n, m in net.named_children() if isinstance(m, Stage)]
    with restoring([*net.buffers()]), mode(net, training=True):
        for x in inputs:
            with compute.autocast():
                net(x)
            num_batches += 1
    for hook in hooks:
        hook.remove()
    return {name: (total[0] / num_batches, total[1] / num_batches) for name, total in sums.items()}


@torch.no_grad()
def compare(
    deep: nn.Module, shallow: nn.Module, name: Name, images: Split, compute: Compute, check_stop: Callable[[], None]
) -> ConstructedComparison:
    """Measure errors of both nets in inference mode, and how far their outputs are apart."""
    nets = (deep, shallow)
    wrong = torch.zeros(2, dtype=torch.int64, device=compute.device)
    largest = torch.zeros(2, device=compute.device)  # difference, output
    with mode(deep, training=False), mode(shallow, training=False):
        for index in torch.split(torch.arange(images.num_images, device=compute.device), BATCH):
            check_stop()
            x, y = images.inputs(index)
            with compute.autocast():
                outputs = torch.stack([net(x) for net in nets]).float()
            wrong += (outputs.argmax(2) != y).sum(1)
            largest = torch.maximum(largest, torch.stack(((outputs[0] - outputs[1]).abs().max(), outputs.abs().max())))
    own_pct, shallower_pct = (100 * wrong.double() / images.num_images).tolist()
    difference, output = largest.tolist()
    return ConstructedComparison(
        part=name,
        num_images=images.num_images,
        shallower_error_pct=shallower_pct,
        error_pct=own_pct,
        largest_difference=difference,
        largest_output=output,
    )
