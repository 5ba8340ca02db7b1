from __future__ import annotations

import csv
from dataclasses import asdict
from functools import partial

import pytest
import torch
from torchvision.models import ResNet, get_model
from torchvision.models.resnet import Bottleneck

from resrepro.config.architectures import ARCHITECTURES, NETWORKS_CSV, architecture, counted_nets, multiply_adds
from resrepro.errors import UserError
from resrepro.models import build
from resrepro.models.complexity import complexity
from resrepro.models.shortcuts import ZeroPadding, shortcut

GOLDEN = list(csv.DictReader(NETWORKS_CSV.read_text().splitlines()))


@pytest.mark.parametrize("row", GOLDEN, ids=[r["arch"] for r in GOLDEN])
def test_layers_parameters_and_multiply_adds_are_the_papers(row: dict[str, str]) -> None:
    counts = complexity(row["arch"])
    kept = asdict(counted_nets()[row["arch"]])
    assert {name: getattr(counts, name) for name in kept} == kept
    assert counts.num_multiply_adds == int(row["num_multiply_adds"]) == multiply_adds(row["arch"])
    if row["paper_e9"]:  # Table 1 gives two digits, and 3.8 for 3.858; VGG-19: Fig. 3; ResNeXt-50: its Table 1
        assert counts.num_multiply_adds / 1e9 == pytest.approx(float(row["paper_e9"]), rel=0.02)


def test_each_net_is_counted() -> None:
    assert [*counted_nets()][: len(ARCHITECTURES)] == [*ARCHITECTURES]


def test_output_sizes_are_those_of_table_1() -> None:
    sides = [h for _, h, _ in complexity("resnet50").output_sizes.values()]
    assert sides == [112, 56, 56, 28, 14, 7]
    assert complexity("resnet20").output_sizes["layer3"] == (64, 8, 8)


def test_any_6n_plus_2_is_a_cifar_net() -> None:
    assert complexity("resnet26").num_layers == 26
    assert complexity("cifar-resnet50").num_layers == 50
    assert architecture("resnet50").family == "imagenet"
    assert architecture("cifar-resnet50").family == "cifar"


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("resnet34", "resnet34-"),
        ("resnet21", "resnet20 and resnet26"),
        ("rasnet20", "resnet20"),
        ("plain7", "plain8"),
        ("resnext29", "resnext29-8x64d"),
        ("vgg16", "unknown architecture 'vgg16'"),  # counted, not trained
    ],
)
def test_unknown_architecture_names_the_nearest(name: str, hint: str) -> None:
    with pytest.raises(UserError, match=hint):
        architecture(name)


TORCHVISION = {
    **{f"resnet{d}-B": partial(get_model, f"resnet{d}") for d in (18, 34)},
    **{f"resnet{d}-3x3stride": partial(get_model, f"resnet{d}") for d in (50, 101, 152)},
    "resnext50-32x4d": partial(get_model, "resnext50_32x4d"),
    "resnext101-32x4d": partial(ResNet, Bottleneck, [3, 4, 23, 3], groups=32, width_per_group=4),
}


@pytest.mark.parametrize("arch", TORCHVISION)
def test_weights_go_both_ways_with_torchvision(arch: str) -> None:
    torch.manual_seed(0)
    theirs, ours = TORCHVISION[arch]().eval(), build(arch, num_classes=1000).eval()
    x = torch.randn(1, 3, 64, 96)  # any size: torchvision's nets are fully convolutional as ours are
    with torch.inference_mode():
        for source, target in ((ours, theirs), (theirs, ours)):
            torch.nn.init.normal_(source.conv1.weight)
            target.load_state_dict(source.state_dict())
            torch.testing.assert_close(ours(x), theirs(x))


def test_the_papers_bottleneck_has_its_stride_in_the_first_1x1() -> None:
    block = build("resnet50", num_classes=10).layer2[0]
    assert (block.conv1.stride, block.conv2.stride) == ((2, 2), (1, 1))
    block = build("resnet50-3x3stride", num_classes=10).layer2[0]
    assert (block.conv1.stride, block.conv2.stride) == ((1, 1), (2, 2))


def test_option_a_takes_every_second_pixel_and_pads_half_the_zeros_on_each_side() -> None:
    x = torch.randn(2, 4, 6, 6)
    y = ZeroPadding(4, 8, 2)(x)
    assert torch.equal(y[:, 2:6], x[:, :, ::2, ::2])
    assert not y[:, :2].any() and not y[:, 6:].any()


def test_shortcut_options_differ_where_the_paper_says() -> None:
    assert shortcut(None, 16, 16, 1) is None
    same = {option: sum(p.numel() for p in shortcut(option, 16, 16, 1).parameters()) for option in "ABC"}
    changed = {option: sum(p.numel() for p in shortcut(option, 16, 32, 2).parameters()) for option in "ABC"}
    assert (same["A"], same["B"]) == (0, 0) and same["C"] == 16 * 16 + 2 * 16
    assert changed["A"] == 0 and changed["B"] == changed["C"] == 16 * 32 + 2 * 32


def test_block_adds_the_shortcut_before_the_last_relu() -> None:
    """y = relu(F(x) + x): written out with the block's own layers."""
    torch.manual_seed(0)
    plain, residual = (build(name, num_classes=10).layer1[0].eval() for name in ("plain8", "resnet8"))
    residual.load_state_dict(plain.state_dict())
    x = torch.rand(1, 16, 8, 8)
    f = plain.bn2(plain.conv2(plain.bn1(plain.conv1(x)).clamp(min=0)))
    torch.testing.assert_close(plain(x.clone()), f.clamp(min=0))
    torch.testing.assert_close(residual(x.clone()), (f + x).clamp(min=0))


def test_no_conv_has_a_bias_and_he_initialization_is_fan_out() -> None:
    net = build("plain56", num_classes=10, seed=0)
    convs = [m for m in net.modules() if isinstance(m, torch.nn.Conv2d)]
    assert all(m.bias is None for m in convs)
    widest = convs[-1].weight
    assert widest.std().item() == pytest.approx((2 / (64 * 9)) ** 0.5, rel=0.02)
    stem = torch.cat([build("plain8", num_classes=10, seed=s).conv1.weight.flatten() for s in range(20)])
    assert stem.std().item() == pytest.approx((2 / (16 * 9)) ** 0.5, rel=0.03)  # fan_in would give (2/27)**.5


def test_initialization_is_a_function_of_the_seed_alone() -> None:
    torch.manual_seed(1)
    a = build("resnet8", num_classes=10, seed=5)
    torch.manual_seed(2)
    before = torch.random.get_rng_state()
    b = build("resnet8", num_classes=10, seed=5)
    assert torch.equal(before, torch.random.get_rng_state())
    assert all(torch.equal(p, q) for p, q in zip(a.parameters(), b.parameters(), strict=True))
    c = build("resnet8", num_classes=10, seed=6)
    assert not torch.equal(a.conv1.weight, c.conv1.weight)


def test_plain_and_residual_start_from_the_same_weights() -> None:
    plain, residual = (build(n, num_classes=10, seed=0).state_dict() for n in ("plain20", "resnet20"))
    assert plain.keys() == residual.keys()
    assert all(torch.equal(plain[k], residual[k]) for k in plain)
