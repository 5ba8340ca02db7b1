"""The switches of the recipe: each against what it says, in resumed and recorded training, and in old files."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from resrepro.data.in_memory.images import Images
from resrepro.models.kernels import fused
from resrepro.runtime.device import Compute
from resrepro.training.execution import Execution
from support.recipes import tiny_recipe
from support.trainings import SWITCHED, same, training, weights


@pytest.mark.parametrize("enabled", [True, False])
def test_virtual_devices_see_their_part_alone_and_average_their_gradients(
    images: Images, fp32: Compute, enabled: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if enabled and fused.load_kernels():
        pytest.skip("the kernel cannot be built here")
    recipe = tiny_recipe(bn_devices=2, momentum=0.0, weight_decay=0.0)
    engine, twin = training(images, fp32, recipe).engine, training(images, fp32, recipe).engine
    monkeypatch.setattr(fused, "_fused", enabled)
    engine.step(0, 0.1)
    twin.views.load(0)
    x, y = twin.batches.train(twin.views.at(torch.tensor(0)))
    parameters = list(twin.net.parameters())
    halves = [
        torch.autograd.grad(F.cross_entropy(twin.net(x[part]), y[part]), parameters)
        for part in (slice(0, 4), slice(4, 8))
    ]
    for p, q, a, b in zip(engine.net.parameters(), parameters, *halves, strict=True):
        torch.testing.assert_close(p, q - 0.1 * (a + b) / 2, rtol=1e-4, atol=1e-6)
    ends = []
    for part in (x[:4], x[4:]):  # the moving averages, had it been the only one
        alone = training(images, fp32, recipe).engine.net
        alone(part)
        ends.append([*alone.buffers()])
    for found, first, second in zip(engine.net.buffers(), *ends, strict=True):
        torch.testing.assert_close(found, (first + second) / 2, check_dtype=False)
    assert engine.totals().num_images == 8


def test_reestimation_sees_what_training_sees(images: Images, fp32: Compute) -> None:
    seen: list[list[torch.Tensor]] = [[], []]
    for its, num_devices in zip(seen, (1, 2), strict=True):
        engine = training(images, fp32, tiny_recipe(bn_devices=num_devices)).engine
        engine.net.register_forward_pre_hook(
            lambda net, inputs, its=its: its.append(inputs[0].clone()) if net.training else None  # type: ignore[misc]
        )
        engine.test_bn_averaged(12, 100)
    assert [x.shape[0] for x in seen[1]] == [4] * 200
    assert torch.equal(torch.cat(seen[0]), torch.cat(seen[1]))


def test_virtual_devices_may_recompute(images: Images, fp32: Compute) -> None:
    """The moving averages must not see a part twice."""
    recipe = tiny_recipe(**SWITCHED)
    kept, again = (
        training(images, fp32, recipe, execution=Execution(activation_checkpointing=r)) for r in (False, True)
    )
    list(kept.steps())
    list(again.steps())
    assert same(weights(kept), weights(again))
