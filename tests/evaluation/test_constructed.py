"""Identity layers, against the shallower net."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from resrepro.data.in_memory.images import Images
from resrepro.evaluation import constructed
from resrepro.models import build
from resrepro.results.records import NORMS_BATCHES
from resrepro.runtime.device import Compute
from resrepro.training.loop import Training
from support.trainings import same, training, weights


def pair(
    images: Images, compute: Compute, precision: str = "fp32"
) -> tuple[Training, nn.Module, constructed.ConstructedComparison]:
    """A trained plain-8, and a plain-20 made of it."""
    t = training(images, compute, arch="plain8")
    list(t.steps())
    deep = build("plain20", num_classes=3, seed=1).to(memory_format=torch.channels_last).train()
    inputs = (t.engine.mini_batch(i)[0] for i in range(20))
    sets: dict[constructed.Name, Any] = {"test": t.engine.batches.test_split}
    (row,) = constructed.construct(deep, t.engine.net, inputs, sets, compute, lambda: None)
    return t, deep, row


def test_a_block_with_known_statistics_is_the_identity_in_inference_and_on_such_a_batch_in_training() -> None:
    block = build("plain20", num_classes=3, seed=0).layer1[1]
    x = torch.rand(64, 16, 8, 8) * torch.arange(16)[:, None, None]  # the first channel is dead
    variance, mean = torch.var_mean(x.double(), dim=(0, 2, 3), correction=0)
    with torch.no_grad():
        constructed._make_identity(block, (mean, variance))
        torch.testing.assert_close(block.eval()(x), x, rtol=1e-5, atol=1e-5)
        other = torch.rand(64, 16, 8, 8) * 5  # of other statistics
        torch.testing.assert_close(block.eval()(other), other, rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(block.train()(x), x, rtol=1e-5, atol=1e-5)


def test_the_deeper_net_computes_what_the_shallower_does(images: Images, fp32: Compute) -> None:
    t, deep, row = pair(images, fp32)
    assert row.error_pct == row.shallower_error_pct == t.points[-1].test_error_pct and row.num_images == 13
    assert 0 < row.largest_difference < 1e-5 * row.largest_output
    x, _ = t.engine.batches.test(torch.arange(13))
    a, b = t.engine.net.eval()(x), deep.eval()(x)
    assert row.largest_difference == pytest.approx((a - b).abs().max().item(), rel=1e-3)
    assert row.largest_output == pytest.approx(max(a.abs().max().item(), b.abs().max().item()))


def test_in_training_mode_it_is_the_identity_nearly(images: Images, fp32: Compute) -> None:
    """On mini-batches that the statistics were not taken from; the untouched net and one with BN 0, 1 are far off."""
    t, deep, _ = pair(images, fp32)
    naive = build("plain20", num_classes=3, seed=1)
    naive.load_state_dict(deep.state_dict())
    for name in ("layer1", "layer2", "layer3"):
        for block in naive.get_submodule(name)[1:]:
            for bn in (block.bn1, block.bn2):
                bn.reset_parameters()

    def difference(net: nn.Module) -> float:
        found = []
        for i in range(100, 110):
            x, _ = t.engine.mini_batch(i)
            with torch.no_grad():
                found.append((net.train()(x) - t.engine.net.train()(x)).abs().mean().item())
        return sum(found) / len(found)

    assert difference(deep) < 0.2 * difference(naive)


def test_the_source_is_left_as_it_was(images: Images, fp32: Compute) -> None:
    t = training(images, fp32, arch="plain8")
    list(t.steps())
    before = weights(t)
    deep = build("plain14", num_classes=3, seed=1)
    constructed.deepen(deep, t.engine.net, [t.engine.mini_batch(0)[0]], fp32)
    assert same(before, weights(t)) and t.engine.net.training
    assert not any(m._forward_hooks for m in t.engine.net.modules())


def test_number_of_mini_batches_is_what_the_docs_say() -> None:
    assert (NORMS_BATCHES, constructed.NUM_BATCHES) == (4, 100)
