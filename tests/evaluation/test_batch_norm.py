"""BN's re-estimated averages."""

from __future__ import annotations

import torch

from resrepro.data.in_memory.images import Images
from resrepro.runtime.device import Compute
from support.trainings import same, training, weights


def test_bn_reestimation_is_a_plain_average_and_leaves_the_net_as_it_was(images: Images, fp32: Compute) -> None:
    from resrepro.evaluation.batch_norm import reestimated

    t = training(images, fp32)
    list(t.steps())
    before = weights(t)
    inputs = [torch.randn(4, 3, 8, 6) for _ in range(3)]
    bn = t.engine.net.bn1
    with torch.no_grad():
        expected = torch.stack([t.engine.net.conv1(x).mean((0, 2, 3)) for x in inputs]).mean(0)
    with reestimated(t.engine.net, inputs, fp32):
        torch.testing.assert_close(bn.running_mean, expected)
        assert not torch.equal(bn.running_mean, before["bn1.running_mean"])
    assert same(before, weights(t)) and bn.momentum == 0.1
    assert t.engine.net.training
