"""The paper's nearest relatives, and F of one and three layers: against formulas written out here."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from resrepro.config.architectures import architecture, counted_nets
from resrepro.data.in_memory.images import Images
from resrepro.errors import UserError
from resrepro.evaluation.responses import Responses
from resrepro.models import build
from resrepro.models.kernels import fused
from resrepro.models.stage import Stage
from resrepro.runtime.device import Compute
from support.trainings import training

KINDS = (
    "preact8", "preact11-bottleneck", "highway8", "resnet8-gates", "resnet8-gated", "resnet8-scaled", "resnet8-halves",
    "resnet8-C", "resnet5-1layer", "resnet11-3layer", "resnet11-bottleneck", "plain11-bottleneck",
)  # fmt: skip


@pytest.fixture(autouse=True)
def torch_alone() -> None:
    fused.use_torch()


def net(name: str) -> nn.Module:
    """A net in fp64 whose BN is no identity."""
    torch.manual_seed(0)
    made = build(name, num_classes=10).double()
    for parameter, value in [*made.named_parameters(), *made.named_buffers()]:
        if value.ndim == 1 and value.is_floating_point() and "gate" not in parameter:
            nn.init.uniform_(value, 0.5, 1.5)
    return made


def images(side: int = 8, channels: int = 3) -> Tensor:
    return torch.randn(4, channels, side, side, dtype=torch.float64)


def test_preactivation_nets_have_the_parameters_that_their_paper_says() -> None:
    """1.7M for 110 and 164 layers (He et al. 2016, Table 4; 10.2M for 1001), and each layer by itself."""
    layers = [3 * 16 * 9, *[16 * 16 * 9] * 36, 16 * 32 * 9, *[32 * 32 * 9] * 35, 32 * 64 * 9, *[64 * 64 * 9] * 35]
    norms = [16] * 36 + [16, *[32] * 35] + [32, *[64] * 35] + [64]  # before each layer but the first, and the last
    assert counted_nets()["preact110"].num_parameters == sum(layers) + 2 * sum(norms) + 650
    expected, channels = 3 * 16 * 9, 16
    for width in (16, 32, 64):
        for block in range(18):
            expected += channels * width + width * width * 9 + width * 4 * width + 2 * (channels + 2 * width)
            expected += channels * 4 * width if block == 0 else 0
            channels = 4 * width
    assert counted_nets()["preact164-bottleneck"].num_parameters == expected + 2 * 256 + 2570
    found = [counted_nets()[name].num_parameters for name in ("preact110", "preact164-bottleneck")]
    assert [round(count / 1e6, 1) for count in found] == [1.7, 1.7]


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("name", ["preact14", "preact20-bottleneck"])
def test_a_preactivation_net_is_its_formula(name: str, training: bool) -> None:
    made = net(name).train(training)

    def normal(x: Tensor, key: str) -> Tensor:
        bn = made.get_submodule(key)
        mean, var = (
            (x.mean((0, 2, 3)), x.var((0, 2, 3), correction=0)) if training else (bn.running_mean, bn.running_var)
        )
        scale = bn.weight / (var + bn.eps).sqrt()
        return ((x - mean[:, None, None]) * scale[:, None, None] + bn.bias[:, None, None]).clamp(min=0)

    x = images()
    expected = F.conv2d(x, made.conv1.weight, padding=1)
    for stage in ("layer1", "layer2", "layer3"):
        for index in range(2):
            block, stride = f"{stage}.{index}", 2 if stage != "layer1" and index == 0 else 1
            both = normal(expected, f"{block}.norm1")
            y, beside = both, expected
            weights = [v for k, v in made.named_parameters() if k.startswith(block) and v.ndim == 4]
            if "bottleneck" in name and index == 0:
                beside = F.conv2d(both, weights.pop(), stride=stride)
            elif stage == "layer1" and index == 0:
                beside = both
            elif stride == 2:
                beside = F.pad(expected[:, :, ::2, ::2], (0, 0, 0, 0, *[expected.shape[1] // 2] * 2))
            for number, weight in enumerate(weights, 1):
                y = y if number == 1 else normal(y, f"{block}.norm{number}")
                y = F.conv2d(y, weight, stride=stride if number == 1 else 1, padding=weight.shape[2] // 2)
            expected = y + beside
    expected = made.fc(normal(expected, "bn_last").mean((2, 3)))
    torch.testing.assert_close(made(x), expected, rtol=1e-10, atol=1e-10)


def last_layers_are_zero(made: nn.Module) -> None:
    """F is zero in all blocks."""
    for stage in made.children():
        for block in stage if isinstance(stage, Stage) else ():
            convolutions = [m for m in block.children() if isinstance(m, nn.Conv2d)]
            nn.init.zeros_(convolutions[-1].weight)


@pytest.mark.parametrize(
    ("name", "coefficient"), [("preact20", 1.0), ("resnet20-scaled", 0.5**8), ("resnet20-halves", 0.5**8)]
)
def test_the_identity_path_carries_the_gradient(name: str, coefficient: float) -> None:
    """d/dx of the sum of what leaves the last block, past F: 1, and with half the shortcut 0.5 a block."""
    made = net(name)
    last_layers_are_zero(made)
    for module in made.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.zeros_(module.bias)  # so F is zero also where BN comes last
    x = images(8, 16).abs().requires_grad_()
    y = made.layer3(made.layer2(made.layer1[1:](x)))
    (gradient,) = torch.autograd.grad(y.sum(), x)
    assert torch.equal(gradient[:, :, ::4, ::4], torch.full_like(x, coefficient)[:, :, ::4, ::4])
    gradient[:, :, ::4, ::4] = 0  # option A takes every second pixel, twice
    assert not gradient.any()


@pytest.mark.parametrize("stride", [1, 2])
def test_gates_open_as_their_bias_says(stride: int) -> None:
    """With no weights a gate is sigmoid(-6) everywhere."""
    g = 1 / (1 + math.exp(6))
    x = images(8, 16).abs()
    stage = 0 if stride == 1 else 1
    exclusive, shortcut_only, usual = (
        net(name).get_submodule(f"layer{stage + 1}.0") for name in ("resnet8-gates", "resnet8-gated", "resnet8")
    )
    nn.init.zeros_(exclusive.gate.weight)
    nn.init.zeros_(shortcut_only.downsample.gate.weight)
    for block in (exclusive, shortcut_only):
        usual.load_state_dict({k: v for k, v in block.state_dict().items() if "gate" not in k})
        f = usual.bn2(usual.conv2(usual.bn1(usual.conv1(x)).clamp(min=0)))
        whole = usual.downsample(x)
        own = g * f if block is exclusive else f
        torch.testing.assert_close(block(x), (own + (1 - g) * whole).clamp(min=0), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("stride", [1, 2])
def test_half_of_both_is_half_of_the_sum(stride: int) -> None:
    x = images(8, 16).abs()
    halves, usual = (net(name).get_submodule(f"layer{stride}.0") for name in ("resnet8-halves", "resnet8"))
    usual.load_state_dict(halves.state_dict())
    torch.testing.assert_close(halves(x), usual(x) / 2, rtol=1e-12, atol=1e-12)  # the ReLU of a half is its half


def test_a_highway_layer_goes_from_identity_to_plain_layer_by_its_transform_gate() -> None:
    made = net("highway8")
    x = images(8, 16)
    block = made.layer1[1]
    assert block.gate.kernel_size == (3, 3) and torch.equal(block.gate.bias, torch.full_like(block.gate.bias, -2.0))
    h = block.bn1(block.conv1(x)).clamp(min=0)
    t = 1 / (1 + (-F.conv2d(x, block.gate.weight, block.gate.bias, padding=1)).exp())
    torch.testing.assert_close(block(x), h * t + x * (1 - t), rtol=1e-10, atol=1e-12)
    for bias, expected in ((-1e3, x), (1e3, h)):
        nn.init.constant_(block.gate.bias, bias)
        torch.testing.assert_close(block(x), expected)
    assert [b.gate is None for stage in (made.layer1, made.layer2, made.layer3) for b in stage] == [
        *(False, False), *(True, False), *(True, False)
    ]  # fmt: skip


def test_f_of_one_and_of_three_layers() -> None:
    x = images(8, 16)
    block = net("resnet8-1layer").layer1[0]
    torch.testing.assert_close(block(x), (block.bn1(block.conv1(x)) + x).clamp(min=0))
    block = net("resnet11-3layer").layer1[0]
    y = block.bn2(block.conv2(block.bn1(block.conv1(x)).clamp(min=0))).clamp(min=0)
    torch.testing.assert_close(block(x), (block.bn3(block.conv3(y)) + x).clamp(min=0))


@pytest.mark.parametrize("depth", [20, 56])
def test_nets_that_are_compared_have_the_same_parameters(depth: int) -> None:
    counts = counted_nets()
    for names in (("plain", "resnet", "resnet-1layer", "resnet-3layer"), ("plain-bottleneck", "resnet-bottleneck")):
        found = [counts[name.replace("-", f"{depth}-") if "-" in name else f"{name}{depth}"] for name in names]
        assert len({(c.num_layers, c.num_parameters, c.num_multiply_adds) for c in found}) == 1


@pytest.mark.parametrize("arch", KINDS)
def test_each_trains_and_is_measured(arch: str, images: Images, fp32: Compute) -> None:
    trained = training(images, fp32, arch=arch)
    assert trained.engine.notes == [] or "our own kernels cannot be used" in trained.engine.notes[0]
    list(trained.steps())
    depth = architecture(arch).depth
    assert len(trained.norms) % depth == 0 and all(norms.gradient_norm > 0 for norms in trained.norms)
    with Responses(trained.engine.net, trained.engine.clean_view.num_here) as responses:
        trained.engine.clean_train(lambda: None)
    found = responses.rows()
    assert all(row.std > 0 for row in found) and found[-1].layer >= depth - 2
    if "bottleneck" not in arch:
        assert [row.layer for row in found] == [*range(2 if "preact" in arch else 1, depth)]


@pytest.mark.parametrize("arch", KINDS)
def test_our_kernels_compute_the_same(arch: str) -> None:
    if reason := fused.load_kernels():
        pytest.skip(f"no fused kernel here: {reason}")
    torch.manual_seed(0)
    made = build(arch, num_classes=10, seed=0).to(memory_format=torch.channels_last)
    x = torch.randn(4, 3, 16, 16).contiguous(memory_format=torch.channels_last)
    found = []
    for use in (fused.load_kernels, fused.use_torch):
        use()
        made.zero_grad()
        y = made(x)
        y.square().sum().backward()
        with torch.autocast("cpu", torch.bfloat16):  # in which 3x3 layers have a kernel, too
            half = made(x).detach().float()
        found.append((y.detach(), made.conv1.weight.grad.clone(), half))
    for ours, torchs in zip(*found, strict=True):
        assert (ours - torchs).norm() < 0.04 * torchs.norm()  # BN makes much of roundings


@pytest.mark.parametrize(
    ("name", "label"),
    [
        ("preact110", "pre-activation ResNet-110"),
        ("highway32", "Highway-32"),
        ("plain56-bottleneck", "plain-56 (bottlenecks)"),
        ("resnet110-C", "ResNet-110 C"),
        ("resnet110-gates", "ResNet-110 (exclusive gates)"),
        ("resnet50", "ResNet-50"),
    ],
)
def test_labels(name: str, label: str) -> None:
    assert architecture(name).label == label


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("preact111", "6n.2 layers .8, 14, 20, .*the nearest are preact110 and preact116"),
        ("plain21-bottleneck", "9n.2 layers .*plain20-bottleneck and plain29-bottleneck"),
        ("highway19", "3n.2 layers .*highway17 and highway20"),
        ("plain20-1layer", "unknown architecture"),
        ("preact20-nobn", "unknown architecture"),
    ],
)
def test_unknown_names(name: str, hint: str) -> None:
    with pytest.raises(UserError, match=hint):
        architecture(name)
