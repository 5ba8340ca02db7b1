"""Lesions of a trained net: blocks removed or permuted, and the gradient by path length (Veit, Wilber, Belongie 2016).

Of a removed block its shortcut is left: the identity, or where dimensions change, its projection or option A. A plain
net has no shortcuts, so that option A stands in there too.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from scipy.stats import kendalltau
from torch import Tensor, nn

from resrepro.data.dataset import Split
from resrepro.errors import UserError
from resrepro.evaluation.single_view import SingleView
from resrepro.laboratory.stored_net import evenly_spread, inputs_of
from resrepro.models.blocks import BasicBlock, Bottleneck
from resrepro.models.relatives import MixingBlock, PreactivationBlock, SingleLayerBlock
from resrepro.models.shortcuts import shortcut
from resrepro.models.stage import Stage, mode
from resrepro.results.laboratory import Lesion, PathGradient
from resrepro.results.tables import Table
from resrepro.runtime.device import Compute

Block = BasicBlock | Bottleneck | SingleLayerBlock | PreactivationBlock


def blocks_of(net: nn.Module) -> dict[str, Block]:
    """Return the net's blocks by their names, such as `layer1.0`, in the order of the forward pass.

    Raises:
        UserError: it has none that is the sum of F and a shortcut, or F alone: it is of other code, or has gates.
    """
    found = {
        name: module
        for name, module in net.named_modules()
        if isinstance(module, Block) and not isinstance(module, MixingBlock)
    }
    if not found:
        raise UserError(
            "lesions need a net of this package whose blocks are F(x) + x, or F(x) alone; this one has none"
        )
    return found


def _convolutions(block: Block) -> list[nn.Conv2d]:
    return [layer for name, layer in block.named_children() if isinstance(layer, nn.Conv2d) and name != "downsample"]


def _shortcut(block: Block, x: Tensor) -> Tensor:
    """Compute what goes past the block's layers; in a plain net option A stands in."""
    if block.downsample is None:
        layers = _convolutions(block)
        stride = math.prod(layer.stride[0] for layer in layers)
        bare = shortcut("A", layers[0].in_channels, layers[-1].out_channels, stride)
        return x if bare is None else bare(x)
    if isinstance(block, PreactivationBlock) and block.activates_both:
        x = F.relu(block.get_submodule("norm1")(x))
    return block.downsample(x)  # type: ignore[no-any-return]


def _residual(block: Block, x: Tensor) -> Tensor:
    """Compute F(x), up to the sum."""
    layers = _convolutions(block)
    for number, convolution in enumerate(layers, 1):
        if isinstance(block, PreactivationBlock):
            x = convolution(F.relu(block.get_submodule(f"norm{number}")(x)))
        else:
            x = block.get_submodule(f"bn{number}")(convolution(x))
            x = x if number == len(layers) else F.relu(x)
    return x


def _after_sum(block: Block, y: Tensor) -> Tensor:
    return y if isinstance(block, PreactivationBlock) else F.relu(y)


class Removed(nn.Module):
    """Computes what is left of a block: relu(shortcut(x)), (N, C_in, H, W) -> (N, C_out, H/stride, W/stride).

    Without the ReLU in a pre-activation net.
    """

    def __init__(self, block: Block) -> None:
        super().__init__()
        self.block = block

    def forward(self, x: Tensor) -> Tensor:
        return _after_sum(self.block, _shortcut(self.block, x))


class OnePath(nn.Module):
    """Computes what a residual block does, and lets the gradient back through the block alone or the shortcut alone."""

    def __init__(self, block: Block, *, through: bool) -> None:
        super().__init__()
        self.block, self.through = block, through

    def forward(self, x: Tensor) -> Tensor:
        y, beside = _residual(self.block, x), _shortcut(self.block, x)
        return _after_sum(self.block, y + beside.detach() if self.through else y.detach() + beside)


@contextmanager
def replaced(net: nn.Module, blocks: Sequence[nn.Module]) -> Iterator[None]:
    """Put these in the places of the net's blocks, in order, inside a `with`; put the blocks back after it."""
    places = [(stage, index) for stage in net.modules() if isinstance(stage, Stage) for index in range(len(stage))]
    kept = [stage[index] for stage, index in places]
    try:
        for (stage, index), block in zip(places, blocks, strict=True):
            stage[index] = block
        yield
    finally:
        for (stage, index), block in zip(places, kept, strict=True):
            stage[index] = block


class _Lesioned(NamedTuple):
    """Say what is tested: the blocks that are left, and what its row says of them."""

    kind: str
    left: Sequence[nn.Module]
    draw: int
    blocks: str
    num_blocks: int
    kendall_tau: float


def lesions(
    net: nn.Module, images: Split, compute: Compute, *, draws: int, seed: int, skip: int = 0
) -> Iterator[Lesion]:
    """Yield the net whole; without each block; without 2, 3, ... of them, and with 1, 2, 4, ... pairs swapped.

    Args:
        draws: how many nets of each number of blocks are drawn.
        seed: of these draws.
        skip: how many of the nets, the first ones, to leave out.

    Raises:
        UserError: the net has no blocks.
    """
    view = SingleView(net, images, compute)
    for lesioned in [*_lesioned(blocks_of(net), draws, np.random.default_rng(seed))][skip:]:
        with replaced(net, lesioned.left):
            found = view.measure()
        values = {name: value for name, value in lesioned._asdict().items() if name != "left"}
        yield Lesion.model_validate(
            {**values, "loss": found.loss, "error_pct": found.error_pct, "num_images": images.num_images}
        )


def _lesioned(blocks: dict[str, Block], draws: int, draw: np.random.Generator) -> Iterator[_Lesioned]:
    names, whole = [*blocks], [*blocks.values()]

    def without(kind: str, removed: Sequence[int], number: int) -> _Lesioned:
        left = [Removed(block) if i in removed else block for i, block in enumerate(whole)]
        return _Lesioned(kind, left, number, " ".join(names[i] for i in removed) or "none", len(removed), 1.0)

    yield without("whole", [], 0)
    for index in range(len(whole)):
        yield without("one", [index], index)
    for count in range(2, len(whole) + 1):
        for number, removed in enumerate(_subsets(len(whole), count, draws, draw)):
            yield without("several", removed, number)
    pairs = _exchangeable(whole)
    for count in (2**power for power in range(len(whole).bit_length()) if pairs):
        for number in range(draws):
            order = [*range(len(whole))]
            for index in draw.integers(len(pairs), size=count):
                i, j = pairs[index]
                order[i], order[j] = order[j], order[i]
            tau = float(kendalltau(order, range(len(order))).statistic)
            what = " ".join(names[i] for i in order)
            yield _Lesioned("permuted", [whole[i] for i in order], number, what, count, tau)


def tabulate(found: Sequence[Lesion], net: str) -> Table:
    """Tabulate the errors of a net whole, and without each block."""
    whole, *one = [row for row in found if row.kind in ("whole", "one")]
    rows = [("all", whole.error_pct), *((f"without {row.blocks}", row.error_pct) for row in one)]
    return Table(
        title=f"{net}, {whole.num_images} test images",
        columns=("blocks", "error (%)"),
        rows=tuple((blocks, f"{error:.2f}") for blocks, error in rows),
    )


def _subsets(num: int, count: int, draws: int, draw: np.random.Generator) -> list[tuple[int, ...]]:
    """Draw different subsets of `count` of `num` numbers, as many as asked for, or all there are."""
    found: dict[tuple[int, ...], None] = {}
    while len(found) < min(draws, math.comb(num, count)):
        found[tuple(sorted(draw.choice(num, count, replace=False).tolist()))] = None
    return [*found]


def _exchangeable(blocks: Sequence[Block]) -> list[tuple[int, int]]:
    """Return the pairs of places whose blocks have the same dimensions."""
    shapes = [[tuple(value.shape) for value in block.state_dict().values()] for block in blocks]
    activates = [getattr(block, "activates_both", False) for block in blocks]
    alike = [
        (shape, _convolutions(block)[0].stride, both)
        for shape, block, both in zip(shapes, blocks, activates, strict=True)
    ]
    return [(i, j) for j in range(len(blocks)) for i in range(j) if alike[i] == alike[j]]


def path_gradients(
    net: nn.Module, images: Split, compute: Compute, *, draws: int, seed: int, num_images: int = 100
) -> Iterator[PathGradient]:
    """Yield the norms of the gradient through paths of each length; nothing for a plain net, which has one path.

    A path goes through `length` of the blocks, and past the others by their shortcuts. The forward pass is the net's.

    Raises:
        UserError: the net has no blocks.
    """
    blocks = [*blocks_of(net).values()]
    if any(block.downsample is None for block in blocks):
        return
    some = evenly_spread(images, num_images)
    x, y = inputs_of(some, compute)
    draw = np.random.default_rng(seed)
    first = next(module for module in net.modules() if isinstance(module, Stage))
    for length in range(len(blocks) + 1):
        num_paths = math.comb(len(blocks), length)
        for number, through in enumerate(_subsets(len(blocks), length, draws, draw)):
            paths = [OnePath(block, through=i in through) for i, block in enumerate(blocks)]
            with replaced(net, paths), mode(net, training=False):
                norm = _gradient_norm(net, first, x, y, compute)
            yield PathGradient(
                length=length, num_paths=num_paths, draw=number, gradient_norm=norm, num_images=some.num_images
            )


def _gradient_norm(net: nn.Module, first: Stage, x: Tensor, y: Tensor, compute: Compute) -> float:
    """Return the norm of the gradient of an image's loss for what enters `first`, the mean over the images."""
    entered: list[Tensor] = []

    def enter(_: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor]:
        entered.append(inputs[0].detach().requires_grad_())
        return (entered[0],)

    handle = first.register_forward_pre_hook(enter)
    try:
        with compute.autocast():
            logits = net(x)
    finally:
        handle.remove()
    (gradient,) = torch.autograd.grad(F.cross_entropy(logits.float(), y, reduction="sum"), entered)
    return float(gradient.flatten(1).double().norm(dim=1).mean())
