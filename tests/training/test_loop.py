"""The step, the loop, and exact resuming."""

from __future__ import annotations

import math

import pytest
import torch

from resrepro.config.recipe import Warmup
from resrepro.data.in_memory.images import Images
from resrepro.runtime.device import Compute
from resrepro.training.loop import Diverged, Training
from resrepro.training.schedule import GATE_WINDOW_ITERS
from support.recipes import tiny_recipe
from support.trainings import moments, same, training, weights


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


def test_a_warmup_of_some_iterations_ends_after_them_also_when_resumed_in_it(images: Images, fp32: Compute) -> None:
    recipe = tiny_recipe(warmup={"lr": 0.001, "iters": 4})
    whole, first, second = (training(images, fp32, recipe) for _ in range(3))
    rates = []
    for _ in whole.steps():
        rates.append(whole.lr)  # of the next iteration
    assert rates[:6] == [0.001] * 3 + [0.05] * 2 + [0.05 / 10] and whole.warmup_opened_iter == 4
    for _ in first.steps():
        if first.iteration == 2:
            break
    second.load_state_dict(first.state_dict())
    list(second.steps())
    assert second.warmup_opened_iter == 4 and same(weights(second), weights(whole))
    assert (4, "after the warm-up") in moments(whole)


def test_a_warmup_of_a_net_made_from_another_is_counted_from_its_start(images: Images, fp32: Compute) -> None:
    recipe = tiny_recipe(warmup={"lr": 0.001, "iters": 4})
    engine = training(images, fp32, recipe).engine
    made = Training(recipe, engine, first_iter=6)
    list(made.steps())
    assert made.warmup_opened_iter == 10 and (10, "after the warm-up") in moments(made)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_loss_that_is_not_finite_ends_the_run(images: Images, fp32: Compute, bad: float) -> None:
    t = training(images, fp32)
    with torch.no_grad():
        t.engine.net.fc.bias.fill_(bad)
    with pytest.raises(Diverged) as caught:
        list(t.steps())
    assert caught.value.iteration == 5  # the first time that the host looks
