"""Responses, gradient norms and identity layers, against answers known beforehand."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from resrepro.config.recipe import Warmup
from resrepro.data.in_memory.images import Images
from resrepro.evaluation.gradients import gradient_norms
from resrepro.models.kernels import fused as kernels
from resrepro.models.layers import weighted_layers
from resrepro.results.records import NORMS_BATCHES
from resrepro.runtime.device import Compute, choose
from resrepro.training import loop, step
from resrepro.training.loop import Training
from support.recipes import tiny_recipe
from support.trainings import PAPER, cifar_like, moments, same, training

ARCHS = ["plain8", "resnet8", "plain8-nobn"]


@pytest.fixture
def four_mini_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(step, "NORMS_BATCHES", NORMS_BATCHES)


def test_gradient_norms_of_a_linear_layer_by_hand(fp32: Compute) -> None:
    """fc alone: with all logits zero the gradient is (1/K - one-hot) times the input, averaged over images."""

    class OneLayer(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(2, 2, bias=False)
            nn.init.zeros_(self.fc.weight)

        def forward(self, x: Tensor) -> Tensor:
            return self.fc(x)

    batches = [(torch.tensor([[3.0, 4.0]]), torch.tensor([0])), (torch.tensor([[1.0, 0.0]]), torch.tensor([0]))]
    (row,) = gradient_norms(OneLayer().train(), batches, fp32)
    mean = torch.tensor([[2.0, 2.0]])  # of the inputs, for both have label 0
    assert row.gradient_norm == pytest.approx((torch.tensor([[-0.5], [0.5]]) @ mean).norm().item())
    assert (row.layer, row.name, row.weight_norm) == (1, "fc", 0.0)


def test_gradient_norms_are_of_the_net_that_is_trained_with_bn_in_parts(
    images: Images, fp32: Compute, four_mini_batches: None
) -> None:
    recipe = tiny_recipe(bn_devices=2)
    found = training(images, fp32, recipe).engine.gradient_norms()
    twin = training(images, fp32, recipe).engine
    parts = [part for i in range(4) for part in zip(*(t.chunk(2) for t in twin.mini_batch(i)), strict=True)]
    (sum(F.cross_entropy(twin.net(x), y) for x, y in parts) / 8).backward()
    for row, layer in zip(found, weighted_layers(twin.net), strict=True):
        assert row.gradient_norm == pytest.approx(layer.module.weight.grad.norm().item(), rel=1e-4)


@pytest.mark.parametrize("fused", [True, False])
@pytest.mark.parametrize("arch", ARCHS)
def test_gradient_norms_are_autograd_s(
    arch: str, fused: bool, images: Images, fp32: Compute, four_mini_batches: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of the mean loss over the mini-batches of iterations 0 to 3, each passed on its own in training mode."""
    if fused and kernels.load_kernels():
        pytest.skip("the kernel cannot be built here")
    engine = training(images, fp32, arch=arch).engine
    monkeypatch.setattr(kernels, "_fused", fused)
    found = engine.gradient_norms()
    twin = training(images, fp32, arch=arch).engine
    loss = sum(F.cross_entropy(twin.net(x), y) for x, y in map(twin.mini_batch, range(4))) / 4
    loss.backward()
    for row, layer in zip(found, weighted_layers(twin.net), strict=True):
        assert (row.layer, row.name) == (layer.number, layer.name)
        assert row.gradient_norm == pytest.approx(layer.module.weight.grad.norm().item(), rel=1e-4)
        assert row.weight_norm == pytest.approx(layer.module.weight.norm().item(), rel=1e-6)
    assert len(found) == 8 and found[-1].name == "fc"


@contextmanager
def unmeasured(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with monkeypatch.context() as patch:
        patch.setattr(Training, "_measure_gradients", lambda _: None)
        yield


def everything(t: Training) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Weights, BN's averages and counters, momenta, totals; and the curve points without their clock."""
    state = t.engine.state_dict()
    tensors = {**state["model"], **{f"{k} v": v for k, v in state["momentum"].items()}, "totals": state["totals"]}
    return tensors, [p.model_dump(exclude={"elapsed_s"}) for p in t.points]


@pytest.mark.parametrize("arch", ARCHS)
def test_measuring_gradients_changes_no_bit_of_the_training(
    arch: str, images: Images, fp32: Compute, monkeypatch: pytest.MonkeyPatch
) -> None:
    measured, plainly = training(images, fp32, arch=arch), training(images, fp32, arch=arch)
    list(measured.steps())
    with unmeasured(monkeypatch):
        list(plainly.steps())
    assert not plainly.norms and measured.norms
    (tensors, points), (other, other_points) = everything(measured), everything(plainly)
    assert same(tensors, other) and points == other_points


@pytest.mark.gpu
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_measuring_gradients_changes_no_bit_on_cuda(precision: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the step is a recorded graph that owns the gradients' memory."""
    compute = choose("cuda", precision)
    with compute.stream():
        measured, plainly = (training(cifar_like(), compute, tiny_recipe(**PAPER), "resnet20") for _ in range(2))
        list(measured.steps())
        with unmeasured(monkeypatch):
            list(plainly.steps())
        assert measured.norms and same(everything(measured)[0], everything(plainly)[0])


def test_measuring_touches_neither_grad_nor_the_way_blocks_are_called(images: Images, fp32: Compute) -> None:
    engine = training(images, fp32).engine
    engine.step(0, 0.1)
    grads = [p.grad for p in engine.net.parameters()]
    kept = [g.clone() for g in grads]
    calls = [stage.call for stage in (engine.net.layer1, engine.net.layer3)]
    engine.gradient_norms()
    assert all(p.grad is g for p, g in zip(engine.net.parameters(), grads, strict=True))
    assert all(torch.equal(a, b) for a, b in zip(grads, kept, strict=True))
    assert calls == [stage.call for stage in (engine.net.layer1, engine.net.layer3)]


def test_norms_are_taken_at_the_start_before_each_drop_and_at_the_end(images: Images, fp32: Compute) -> None:
    t = training(images, fp32)
    fresh = training(images, fp32).engine.gradient_norms()
    list(t.steps())
    assert moments(t) == [(0, "initialization"), (6, "before drop 1"), (9, "before drop 2"), (12, "end")]
    assert len(t.norms) == 4 * 8
    assert [row.gradient_norm for row in t.norms[:8]] == [row.gradient_norm for row in fresh]
    assert [row.gradient_norm for row in t.norms[-8:]] == [row.gradient_norm for row in t.engine.gradient_norms()]


def test_norms_are_taken_early_too_and_change_no_bit(
    images: Images, fp32: Compute, monkeypatch: pytest.MonkeyPatch
) -> None:
    plainly = training(images, fp32)
    list(plainly.steps())
    monkeypatch.setattr(loop, "EARLY_ITERS", (2, 6, 7, 500))  # 6 has a name of its own, 500 is past the end
    early = training(images, fp32)
    list(early.steps())
    assert moments(early)[:4] == [(0, "initialization"), (2, "iteration 2"), (6, "before drop 1"), (7, "iteration 7")]
    (tensors, points), (other, other_points) = everything(early), everything(plainly)
    assert same(tensors, other) and points == other_points
    for stop in (1, 2, 3, 7):
        first, second = training(images, fp32), training(images, fp32)
        steps = first.steps()
        for _ in range(stop):
            next(steps)
        second.load_state_dict(first.state_dict())
        list(second.steps())
        assert second.norms == early.norms
    older = training(images, fp32)  # a checkpoint of an older version, after the early moments
    older.load_state_dict(plainly.state_dict() | {"iteration": 12})
    list(older.steps())
    assert older.norms == plainly.norms


WARM = tiny_recipe(total_iters=130, lr_drop_iters=(110,), curve_every_iters=50).model_copy(
    update={"warmup": Warmup(lr=0.001, until_train_error_pct=100)}
)


def test_a_resume_around_the_end_of_the_warm_up_neither_loses_nor_repeats_norms(images: Images, fp32: Compute) -> None:
    """Around drops: training/test_resume.py."""
    whole = training(images, fp32, WARM)
    list(whole.steps())
    assert moments(whole)[1] == (100, "after the warm-up")
    for stop in (99, 100, 101, 110, 130):
        first, second = training(images, fp32, WARM), training(images, fp32, WARM)
        steps = first.steps()
        for _ in range(stop):
            next(steps)
        second.load_state_dict(first.state_dict())
        list(second.steps())
        assert second.norms == whole.norms
