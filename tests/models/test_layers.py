"""Weighted layers, and nets without BN."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from resrepro.models import build
from resrepro.models.layers import weighted_layers


def test_layers_are_counted_as_the_paper_does() -> None:
    for arch, depth in (("resnet20", 20), ("plain20-nobn", 20), ("resnet50", 50), ("resnet18-C", 18)):
        layers = weighted_layers(build(arch, num_classes=10))
        assert [layer.number for layer in layers] == list(range(1, depth + 1))
        assert layers[-1].name == "fc" and layers[-1].bn is None and all(layer.bn for layer in layers[:-1])
    net = build("resnet8", num_classes=10)
    assert [layer.name for layer in weighted_layers(net)][:4] == [
        "conv1",
        "layer1.0.conv1",
        "layer1.0.conv2",
        "layer2.0.conv1",
    ]
    assert weighted_layers(net)[2].bn is net.layer1[0].bn2


def test_a_net_without_bn_has_biases_and_computes_what_its_layers_do() -> None:
    net = build("plain8-nobn", num_classes=10, seed=0).eval()
    assert not any(isinstance(m, nn.BatchNorm2d) for m in net.modules())
    twin = dict(build("plain8", num_classes=10, seed=0).named_parameters())  # starts from the same weights
    for name, p in net.named_parameters():
        assert not p.any() if "bn" in name else torch.equal(p, twin[name])
    nn.init.normal_(net.layer1[0].bn2.bias)
    pixels = 64 * torch.randn(2, 3, 8, 8)
    seen: list[torch.Tensor] = []
    net.bn1.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    net(pixels)
    torch.testing.assert_close(seen[0], F.conv2d(pixels / 64, net.conv1.weight, padding=1))  # of unit scale
    x = torch.rand(2, 16, 8, 8)
    block = net.layer1[0]
    y = F.conv2d(x, block.conv1.weight, padding=1).clamp(min=0)
    y = (F.conv2d(y, block.conv2.weight, padding=1) + block.bn2.bias[:, None, None]).clamp(min=0)
    torch.testing.assert_close(block(x), y)
