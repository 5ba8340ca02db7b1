"""BN's re-estimated averages."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from resrepro.data.in_memory.images import Images
from resrepro.evaluation.batch_norm import reestimated
from resrepro.models import build
from resrepro.runtime.device import Compute
from support.trainings import AsOnCuda, same, training, weights


@pytest.mark.parametrize("compute", [Compute, AsOnCuda])
def test_bn_reestimation_is_a_plain_average_and_leaves_the_net_as_it_was(
    images: Images, fp32: Compute, compute: type[Compute]
) -> None:
    t = training(images, fp32)
    list(t.steps())
    before = weights(t)
    inputs = [torch.randn(4, 3, 8, 6) for _ in range(3)]
    bn = t.engine.net.bn1
    device = torch.device("cuda" if compute is AsOnCuda else "cpu")
    with torch.no_grad():
        maps = [t.engine.net.conv1(x) for x in inputs]
    means, variances = (torch.stack(found).mean(0) for found in zip(*map(moments, maps), strict=True))
    with reestimated(t.engine.net, inputs, compute(device=device, precision="fp32")):
        torch.testing.assert_close(bn.running_mean, means)
        torch.testing.assert_close(bn.running_var, variances)
        assert not torch.equal(bn.running_mean, before["bn1.running_mean"])
    assert same(before, weights(t)) and bn.momentum == 0.1
    assert t.engine.net.training


def moments(maps: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    return maps.mean((0, 2, 3)), maps.var((0, 2, 3))


@pytest.mark.parametrize("compute", [Compute, AsOnCuda])
def test_a_net_without_bn_or_without_its_statistics_is_left_alone(
    images: Images, fp32: Compute, compute: type[Compute]
) -> None:
    device = torch.device("cuda" if compute is AsOnCuda else "cpu")
    for net in (build("plain8-nobn", num_classes=3, seed=0), nn.BatchNorm2d(3, track_running_stats=False)):
        before = {k: v.clone() for k, v in net.state_dict().items()}
        taken = iter([torch.randn(4, 3, 8, 6)] * 2)
        with reestimated(net, taken, compute(device=device, precision="fp32")):
            assert next(taken, None) is None
        assert same(before, net.state_dict())
