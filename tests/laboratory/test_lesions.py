"""Nets without some of their blocks."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from resrepro.data.dataset import Split
from resrepro.errors import UserError
from resrepro.evaluation.single_view import SingleView
from resrepro.laboratory.lesions import OnePath, blocks_of, lesions, path_gradients, replaced
from resrepro.models import build
from resrepro.models.stage import Stage, mode
from resrepro.runtime.device import Compute

IMAGES = torch.randn(20, 3, 8, 8, generator=torch.Generator().manual_seed(0))
LABELS = torch.arange(20) % 10
TEST = Split(num_images=20, inputs=lambda numbers: (IMAGES[numbers], LABELS[numbers]))


def net_of(arch: str) -> nn.Module:
    """A net whose moving averages are not those it began with."""
    net = build(arch, num_classes=10, seed=1)
    with torch.no_grad():
        net.train()(IMAGES)
    return net


def test_the_whole_net_has_its_error_and_is_as_before_in_the_end(fp32: Compute) -> None:
    net = net_of("resnet14")
    before, order = {k: v.clone() for k, v in net.state_dict().items()}, [*blocks_of(net).values()]
    found = [*lesions(net, TEST, fp32, draws=2, seed=0)]
    some = lesions(net, TEST, fp32, draws=2, seed=0)
    assert [next(some).kind, next(some).kind] == ["whole", "one"] and [*blocks_of(net).values()] == order
    whole = SingleView(net, TEST, fp32).measure()
    assert (found[0].kind, found[0].error_pct, found[0].loss) == ("whole", whole.error_pct, whole.loss)
    assert [*blocks_of(net).values()] == order
    assert all(torch.equal(before[key], value) for key, value in net.state_dict().items())
    assert [row.blocks for row in found if row.kind == "one"] == [*blocks_of(net)]
    assert [row.num_blocks for row in found if row.kind == "several"] == [2, 2, 3, 3, 4, 4, 5, 5, 6]
    assert any(row.loss != whole.loss for row in found)


@pytest.mark.parametrize(
    ("arch", "last"),
    [("resnet14", "bn2"), ("resnet20-1layer", "bn1"), ("resnet20-3layer", "bn3"), ("preact14", "conv2"),
     ("preact20-bottleneck", "conv3"), ("resnet20-bottleneck", "bn3")],
)  # fmt: skip
def test_a_net_of_identity_blocks_does_not_change_when_they_are_removed(fp32: Compute, arch: str, last: str) -> None:
    net = net_of(arch)
    for block in blocks_of(net).values():
        for parameter in block.get_submodule(last).parameters():
            nn.init.zeros_(parameter)  # F(x) = 0, so that a block is its shortcut
    assert len({row.loss for row in lesions(net, TEST, fp32, draws=1, seed=0)}) == 1


def test_a_plain_block_without_shortcut_passes_on_its_input(fp32: Compute) -> None:
    """Where dimensions change option A stands in: every second pixel, and zero channels on each side."""
    net = net_of("plain8")
    entered: list[Tensor] = []
    handle = net.get_submodule("fc").register_forward_pre_hook(lambda _, inputs: entered.append(inputs[0]))
    removed = next(row for row in lesions(net, TEST, fp32, draws=1, seed=0) if row.num_blocks == 3)
    handle.remove()
    first = net.eval().bn1(net.conv1(IMAGES)).relu()[:, :, ::4, ::4].mean((2, 3))
    assert removed.blocks == "layer1.0 layer2.0 layer3.0"
    assert torch.allclose(entered[-1][:, 24:40], first, atol=1e-6)
    assert not entered[-1][:, :24].any() and not entered[-1][:, 40:].any()


def test_blocks_are_permuted_among_those_of_their_dimensions(fp32: Compute) -> None:
    net = net_of("resnet20")
    found = [row for row in lesions(net, TEST, fp32, draws=3, seed=0) if row.kind == "permuted"]
    assert {row.num_blocks for row in found} == {1, 2, 4, 8} and min(row.kendall_tau for row in found) < 0.9
    for row in found:
        order = row.blocks.split()
        assert [name.split(".")[0] for name in order] == [f"layer{i}" for i in (1, 2, 3) for _ in range(3)]
        assert order[3] == "layer2.0" and order[6] == "layer3.0"


@pytest.mark.parametrize("arch", ["resnet8", "preact8", "preact11-bottleneck", "resnet5-1layer", "resnet11-3layer"])
def test_the_gradients_of_all_paths_add_up_to_the_net_s(fp32: Compute, arch: str) -> None:
    net = net_of(arch).double()
    blocks, stage = [*blocks_of(net).values()], next(m for m in net.modules() if isinstance(m, Stage))

    def gradient() -> Tensor:
        entered: list[Tensor] = []
        enter = lambda _, inputs: entered.append(inputs[0].detach().requires_grad_()) or (entered[0],)  # noqa: E731
        handle = stage.register_forward_pre_hook(enter)
        loss = nn.functional.cross_entropy(net(IMAGES.double()), LABELS)
        handle.remove()
        return torch.autograd.grad(loss, entered)[0]

    with mode(net, training=False):
        whole, total = gradient(), torch.zeros(())
        for path in range(8):
            paths = [OnePath(block, through=bool(path >> i & 1)) for i, block in enumerate(blocks)]
            with replaced(net, paths):
                total = total + gradient()
    assert whole.norm() > 0 and torch.allclose(total, whole, rtol=1e-9, atol=1e-12)


def test_paths_have_each_length_and_a_plain_net_has_none(fp32: Compute) -> None:
    found = [*path_gradients(net_of("resnet8"), TEST, fp32, draws=9, seed=0, num_images=5)]
    assert [row.length for row in found] == [0, 1, 1, 1, 2, 2, 2, 3]
    assert all(row.num_paths == math.comb(3, row.length) and row.gradient_norm > 0 for row in found)
    assert [*path_gradients(net_of("plain8"), TEST, fp32, draws=9, seed=0)] == []


@pytest.mark.parametrize("net", [nn.Linear(1, 1), build("highway8", num_classes=10)])
def test_a_net_of_other_code_or_with_gates_is_refused(net: nn.Module) -> None:
    with pytest.raises(UserError, match="this one has none"):
        blocks_of(net)
