"""The step against its formula written out."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from resrepro.data.in_memory.images import Images
from resrepro.runtime.device import Compute
from resrepro.training.step import Engine
from support.recipes import tiny_recipe
from support.trainings import training

RATES = (0.1, 0.1, 0.01, 0.01, 0.1)  # a drop, and a rise as at the end of the warm-up


def gradients(engine: Engine, iteration: int) -> list[torch.Tensor]:
    engine.views.load(iteration)
    x, y = engine.batches.train(engine.views.at(torch.tensor(iteration)))
    return list(torch.autograd.grad(F.cross_entropy(engine.net(x), y), list(engine.net.parameters())))


@pytest.mark.parametrize("momentum_form", ["pytorch", "caffe"])
@pytest.mark.parametrize("decay", ["all", "weights"])
def test_a_step_is_the_formula_written_out(images: Images, fp32: Compute, momentum_form: str, decay: str) -> None:
    """PyTorch: v = m v + g, w -= lr v. Caffe: v = m v + lr g, w -= v. g has the decay; no Nesterov."""
    recipe = tiny_recipe(weight_decay=3e-2, momentum_form=momentum_form, decay=decay)
    ours, twin = training(images, fp32, recipe).engine, training(images, fp32, recipe).engine
    parameters = list(twin.net.parameters())
    decaying = {id(m.weight) for m in twin.net.modules() if isinstance(m, nn.Conv2d | nn.Linear)}
    velocity = [torch.zeros_like(p) for p in parameters]
    for i, lr in enumerate(RATES):
        ours.step(i, lr)
        found = gradients(twin, i)
        with torch.no_grad():
            for p, v, g in zip(parameters, velocity, found, strict=True):
                g = g + 3e-2 * p if decay == "all" or id(p) in decaying else g
                if momentum_form == "caffe":
                    v.mul_(0.9).add_(lr * g)
                    p.sub_(v)
                else:
                    v.mul_(0.9).add_(g)
                    p.sub_(lr * v)
    for p, q in zip(ours.net.parameters(), parameters, strict=True):
        torch.testing.assert_close(p, q, rtol=1e-4, atol=1e-5)


def test_that_formula_tells_the_switches_apart(images: Images, fp32: Compute) -> None:
    ends = []
    for changes in ({}, {"momentum_form": "caffe"}, {"decay": "weights"}, {"bn_devices": 2}):
        engine = training(images, fp32, tiny_recipe(weight_decay=3e-2, **changes)).engine
        for i, lr in enumerate(RATES):
            engine.step(i, lr)
        ends.append(torch.cat([p.detach().flatten() for p in engine.net.parameters()]))
    for i, a in enumerate(ends):
        for b in ends[:i]:
            assert (a - b).abs().max() > 1e-3
