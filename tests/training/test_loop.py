"""The step, the loop, and exact resuming."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from conftest import tiny_recipe, tiny_run

from resrepro.config.recipe import Recipe, Warmup
from resrepro.data.in_memory.images import Images
from resrepro.data.in_memory.pipeline import InMemoryPipeline
from resrepro.errors import UserError
from resrepro.evaluation.single_view import EVALUATION_BATCH, SingleView
from resrepro.models import build
from resrepro.runtime.device import Compute, choose
from resrepro.training import checkpoint
from resrepro.training.loop import Diverged, Training
from resrepro.training.schedule import GATE_WINDOW_ITERS
from resrepro.training.step import Engine, Execution


def training(
    images: Images,
    compute: Compute,
    recipe: Recipe | None = None,
    arch: str = "resnet8",
    execution: Execution | None = None,
) -> Training:
    recipe = recipe or tiny_recipe()
    engine = Engine(
        build(arch, num_classes=images.num_classes, seed=0),
        InMemoryPipeline(images, padding=recipe.crop_padding, device=compute.device),
        recipe,
        seed=0,
        compute=compute,
        execution=execution or Execution(),
    )
    return Training(recipe, engine)


def weights(t: Training) -> dict[str, Any]:
    return {k: v.clone() for k, v in t.engine.net.state_dict().items()}


def same(a: dict[str, Any], b: dict[str, Any]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


def test_a_step_is_sgd_with_momentum_and_weight_decay_on_all_parameters(images: Images, fp32: Compute) -> None:
    """Two steps against the formula v = m v + (g + wd w), w = w - lr v, written out; no Nesterov."""
    recipe = tiny_recipe(weight_decay=1e-2)
    ours = training(images, fp32, recipe).engine
    twin = training(images, fp32, recipe).engine
    velocity = [torch.zeros_like(p) for p in twin.net.parameters()]
    twin.views.load(0)
    for i, lr in enumerate((0.1, 0.01, 0.01)):
        ours.step(i, lr)
        x, y = twin.batches.train(twin.views.at(torch.tensor(i)))
        grads = torch.autograd.grad(F.cross_entropy(twin.net(x), y), list(twin.net.parameters()))
        with torch.no_grad():
            for p, v, g in zip(twin.net.parameters(), velocity, grads, strict=True):
                v.mul_(0.9).add_(g + 1e-2 * p)
                p.sub_(lr * v)
    for p, q in zip(ours.net.parameters(), twin.net.parameters(), strict=True):
        torch.testing.assert_close(p, q, rtol=1e-4, atol=1e-5)


def test_curve_points_are_at_multiples_and_at_the_end_with_their_rate(images: Images, fp32: Compute) -> None:
    t = training(images, fp32)
    assert [point for point in t.steps() if point] == t.points
    assert [(p.iteration, p.lr) for p in t.points] == [(5, 0.05), (10, 0.05 / 100), (12, 0.05 / 100)]


def test_training_error_is_the_mean_over_the_mini_batches_since_the_last_point(images: Images, fp32: Compute) -> None:
    t = training(images, fp32)
    totals = []
    for point in t.steps():
        totals.append(t.engine.totals())
        if point and point.iteration == 10:
            wrong = totals[9].num_wrong - totals[4].num_wrong
            assert point.train_error_pct == pytest.approx(100 * wrong / 40)
            assert point.train_loss == pytest.approx((totals[9].loss - totals[4].loss) / 40)


@pytest.mark.parametrize("stop", range(1, 13))
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_resuming_anywhere_is_bit_identical(images: Images, stop: int, precision: str, tmp_path: Path) -> None:
    if precision == "bf16":
        try:
            compute = choose("cpu", "bf16")
        except UserError:
            pytest.skip("this CPU does not compute in bf16")
    else:
        compute = choose("cpu", "fp32")
    recipe, run = tiny_recipe(), tiny_run()
    whole = training(images, compute, recipe)
    list(whole.steps())
    first = training(images, compute, recipe)
    steps = first.steps()
    for _ in range(stop):
        next(steps)
    checkpoint.save(tmp_path / "checkpoint.pt", run, first)
    second = training(images, compute, recipe)
    checkpoint.load(tmp_path / "checkpoint.pt", run, second)
    assert second.iteration == stop
    list(second.steps())
    assert same(weights(whole), weights(second))
    keep = {"elapsed_s"}
    assert [p.model_dump(exclude=keep) for p in whole.points] == [p.model_dump(exclude=keep) for p in second.points]


def test_what_computed_which_part_is_kept(images: Images, fp32: Compute) -> None:
    """One thread, two after iteration 4, and a resume at 7 that changes nothing."""
    before, state = torch.get_num_threads(), None
    try:
        for threads, stop in ((1, 4), (2, 7), (2, 12)):
            torch.set_num_threads(threads)
            t = training(images, fp32)
            if state is not None:
                t.load_state_dict(state)
            for _ in t.steps():
                if t.iteration == stop:
                    break
            state = t.state_dict()
    finally:
        torch.set_num_threads(before)
    assert [(share.from_iter, share.num_threads) for share in t.sessions] == [(0, 1), (4, 2)]


@pytest.mark.parametrize("forgotten", ["momentum", "totals", "lr"])
def test_that_check_sees_what_a_checkpoint_forgets(images: Images, fp32: Compute, forgotten: str) -> None:
    whole, first, second = (training(images, fp32, tiny_recipe(momentum_form="caffe")) for _ in range(3))
    list(whole.steps())
    steps = first.steps()
    for _ in range(7):
        next(steps)
    state = first.state_dict()
    state["engine"][forgotten] = second.state_dict()["engine"][forgotten]
    second.load_state_dict(state)
    list(second.steps())
    assert not same(weights(whole), weights(second)) or whole.points[1] != second.points[1]


def test_the_warmup_gate_opens_on_the_measured_error_and_is_recorded(
    images: Images, fp32: Compute, monkeypatch: pytest.MonkeyPatch
) -> None:
    warmup = Warmup(lr=0.001, until_train_error_pct=80)
    recipe = tiny_recipe(total_iters=4 * GATE_WINDOW_ITERS, lr_drop_iters=(390,), curve_every_iters=50).model_copy(
        update={"warmup": warmup}
    )
    t = training(images, fp32, recipe)
    rates: list[float] = []

    def step(iteration: int, lr: float) -> None:  # 90 % wrong for two windows, 75 % from then on
        rates.append(lr)
        wrong = 18.0 if iteration < 2 * GATE_WINDOW_ITERS else 15.0
        t.engine._totals += torch.tensor([1.0, wrong, 20.0], dtype=torch.float64)

    monkeypatch.setattr(t.engine, "step", step)
    list(t.steps())
    assert t.warmup_opened_iter == 3 * GATE_WINDOW_ITERS
    assert set(rates[:300]) == {0.001}
    assert set(rates[300:390]) == {0.05} and set(rates[390:]) == {0.05 / 10}


@pytest.mark.parametrize("stop", [60, 110])  # before and after it opens
def test_the_gate_survives_a_resume(images: Images, fp32: Compute, stop: int) -> None:
    recipe = tiny_recipe(total_iters=130, lr_drop_iters=(), curve_every_iters=50).model_copy(
        update={"warmup": Warmup(lr=0.001, until_train_error_pct=100)}
    )
    whole, first, second = (training(images, fp32, recipe) for _ in range(3))
    list(whole.steps())
    steps = first.steps()
    for _ in range(stop):
        next(steps)
    second.load_state_dict(first.state_dict())
    list(second.steps())
    assert whole.warmup_opened_iter == second.warmup_opened_iter == 100
    assert same(weights(whole), weights(second))


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_loss_that_is_not_finite_ends_the_run(images: Images, fp32: Compute, bad: float) -> None:
    t = training(images, fp32)
    with torch.no_grad():
        t.engine.net.fc.bias.fill_(bad)
    with pytest.raises(Diverged) as caught:
        list(t.steps())
    assert caught.value.iteration == 5  # the first time that the host looks


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


def test_evaluation_does_not_change_training(images: Images, fp32: Compute) -> None:
    often = training(images, fp32, tiny_recipe(curve_every_iters=1))
    seldom = training(images, fp32, tiny_recipe(curve_every_iters=12))
    list(often.steps())
    list(seldom.steps())
    assert same(weights(often), weights(seldom))


def test_error_counts_every_image_of_a_partial_last_batch(
    images: Images, fp32: Compute, monkeypatch: pytest.MonkeyPatch
) -> None:
    t = training(images, fp32)
    parts = []
    for size in (1, 5, 13, 500):
        monkeypatch.setitem(EVALUATION_BATCH, "cpu", size)
        parts.append(SingleView(t.engine.net, t.engine.batches.test_split, fp32).measure())
    logits = t.engine.net.eval()(t.engine.batches.test(torch.arange(13))[0])
    labels = images.test_labels
    for part in parts:
        assert part.error_pct == pytest.approx(100 * (logits.argmax(1) != labels).double().mean().item())
        assert part.loss == pytest.approx(F.cross_entropy(logits, labels).item(), rel=1e-5)
