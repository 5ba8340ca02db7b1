"""Layer responses, against answers known beforehand."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from resrepro.data.in_memory.images import Images
from resrepro.evaluation.responses import Responses
from resrepro.evaluation.single_view import EVALUATION_BATCH
from resrepro.models import build
from resrepro.runtime.device import Compute
from support.trainings import same, training, weights


def linear(arch: str) -> nn.Module:
    """Each BN gives channel c the constant c; what comes in does not matter."""
    net = build(arch, num_classes=3, seed=0)
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.zeros_(module.weight)
            with torch.no_grad():
                module.bias.copy_(torch.arange(len(module.bias)))
    return net.eval()


@pytest.mark.parametrize("arch", ["plain8", "resnet8"])
def test_responses_of_constant_channels_are_known_and_taken_before_addition_and_relu(arch: str) -> None:
    """The channels 0 ... C-1 have a standard deviation of sqrt((C^2 - 1) / 12)."""
    net = linear(arch)
    with Responses(net, 5) as responses, torch.no_grad():
        net(torch.randn(5, 3, 8, 6))
    rows = responses.rows()
    assert [row.layer for row in rows] == list(range(1, 8)) and {row.num_images for row in rows} == {5}
    widths = [16] * 3 + [32] * 2 + [64] * 2
    assert [row.std for row in rows] == pytest.approx([math.sqrt((c**2 - 1) / 12) for c in widths], rel=1e-6)


def test_responses_of_a_trained_net_are_those_of_bn_s_outputs(
    images: Images, fp32: Compute, monkeypatch: pytest.MonkeyPatch
) -> None:
    """30 images in batches of 7, so that the last is filled up with images that must not count."""
    monkeypatch.setitem(EVALUATION_BATCH, "cpu", 7)
    t = training(images, fp32)
    list(t.steps())
    with Responses(t.engine.net, 30) as responses:
        t.engine.clean_train(lambda: None)
    net = t.engine.net.eval()
    x = t.engine.batches.clean_train(torch.arange(30))[0]
    with torch.no_grad():
        first = net.bn1(net.conv1(x)).double()
        block = net.layer1[0]
        inner = block.bn1(block.conv1(first.clamp(min=0).float())).clamp(min=0)
        third = block.bn2(block.conv2(inner)).double()
    found = {row.name: row.std for row in responses.rows()}
    assert found["conv1"] == pytest.approx(first.std(correction=0).item(), rel=1e-5)
    assert found["layer1.0.conv2"] == pytest.approx(third.std(correction=0).item(), rel=1e-5)


def test_responses_change_no_measurement_and_leave_no_hook(images: Images, fp32: Compute) -> None:
    t = training(images, fp32)
    list(t.steps())
    before = weights(t)
    plainly = t.engine.clean_train(lambda: None)
    with Responses(t.engine.net, 30):
        assert t.engine.clean_train(lambda: None) == plainly
    assert same(before, weights(t)) and t.engine.net.training
    assert not any(m._forward_hooks for m in t.engine.net.modules())


def test_responses_of_too_few_images_are_refused(fp32: Compute) -> None:
    net = build("plain8", num_classes=3, seed=0).eval()
    with Responses(net, 6) as responses, torch.no_grad():
        net(torch.randn(5, 3, 8, 6))
    with pytest.raises(RuntimeError, match="conv1: 1 images were not seen"):
        responses.rows()
