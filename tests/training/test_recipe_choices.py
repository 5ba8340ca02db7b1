"""The choices that the paper leaves open: BN's statistics in the test, initialization, what decays."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from resrepro import results
from resrepro.data.in_memory.images import Images
from resrepro.evaluation.batch_norm import reestimated
from resrepro.models import build
from resrepro.runtime.device import Compute
from support.recipes import tiny_recipe, tiny_run
from support.trainings import rows, runner, same, training, weights


def test_the_second_test_leaves_the_training_as_it_is(images: Images, fp32: Compute) -> None:
    plainly, averaged = (training(images, fp32, tiny_recipe(bn_average_batches=n)) for n in (None, 3))
    without, with_it = list(filter(None, plainly.steps())), list(filter(None, averaged.steps()))
    assert same(weights(plainly), weights(averaged))
    common = {"elapsed_s", "test_error_bn_averaged_pct"}
    assert [p.model_dump(exclude=common) for p in without] == [p.model_dump(exclude=common) for p in with_it]
    assert all(p.test_error_bn_averaged_pct is None for p in without)
    assert all(p.test_error_bn_averaged_pct is not None for p in with_it)


def test_it_averages_over_the_mini_batches_that_come_next(images: Images, fp32: Compute) -> None:
    t = training(images, fp32, tiny_recipe(bn_average_batches=3))
    point = next(filter(None, t.steps()))
    inputs = [t.engine.mini_batch(point.iteration + i)[0] for i in range(3)]
    with reestimated(t.engine.net, inputs, fp32):
        assert t.engine.test().error_pct == point.test_error_bn_averaged_pct


@pytest.mark.usefixtures("few_images")
def test_the_record_has_the_last_points_value(tmp_path: Path) -> None:
    run = tiny_run(bn_average_batches=2)
    assert runner(tmp_path).run_all([run]) == []
    record = results.read_finished(tmp_path, run)
    assert record is not None
    last = rows(tmp_path, run)[-1]
    assert record.final_test_error_bn_reestimated_pct == last["test_error_bn_averaged_pct"] is not None
    assert record.test_error_pct == record.error_pct("single view", 1) == last["test_error_bn_averaged_pct"]
    assert record.best_test_error_pct == min(float(row["test_error_bn_averaged_pct"]) for row in rows(tmp_path, run))


@pytest.mark.parametrize(("init", "fan"), [("fan_in", 3 * 9), ("fan_out", 16 * 9)])
def test_convolutions_are_initialized_by_the_fan_that_the_recipe_names(init: str, fan: int) -> None:
    net = build("plain20", num_classes=10, seed=0, recipe=tiny_recipe(init=init))
    first = next(m for m in net.modules() if isinstance(m, nn.Conv2d))
    assert first.weight.std().item() == pytest.approx((2 / fan) ** 0.5, rel=0.1)


def test_seeds_draw_the_same_normals_for_both_fans() -> None:
    nets = [build("plain20", num_classes=10, seed=0, recipe=tiny_recipe(init=init)) for init in ("fan_in", "fan_out")]
    a, b = (next(m for m in net.modules() if isinstance(m, nn.Conv2d)).weight for net in nets)
    torch.testing.assert_close(a / a.std(), b / b.std())


@pytest.mark.parametrize(
    ("fc_init", "init", "std"),
    [("he", "fan_in", (2 / 64) ** 0.5), ("he", "fan_out", 0.2**0.5), ("gaussian", "fan_in", 0.01)],
)
def test_fc_is_initialized_as_the_recipe_says(fc_init: str, init: str, std: float) -> None:
    fc = build("resnet20", num_classes=10, seed=0, recipe=tiny_recipe(fc_init=fc_init, init=init)).fc
    assert fc.weight.std().item() == pytest.approx(std, rel=0.1)
    assert not fc.bias.any()


def test_without_a_recipe_nets_start_as_they_always_did() -> None:
    default, none = (build("resnet20", num_classes=10, seed=0, recipe=r) for r in (tiny_recipe(), None))
    assert all(torch.equal(a, b) for a, b in zip(default.parameters(), none.parameters(), strict=True))
    assert none.fc.bias.any()


@pytest.mark.parametrize(
    ("decay", "kinds"),
    [
        ("all", (nn.Conv2d, nn.Linear, nn.BatchNorm2d)),
        ("weights", (nn.Conv2d, nn.Linear)),
        ("convolutions", (nn.Conv2d,)),
    ],
)
def test_what_decays(images: Images, fp32: Compute, decay: str, kinds: tuple[type[nn.Module], ...]) -> None:
    t = training(images, fp32, tiny_recipe(decay=decay, weight_decay=0.25))
    groups: list[dict[str, Any]] = t.engine.optimizer.param_groups
    decaying = {id(p) for group in groups if group["weight_decay"] == 0.25 for p in group["params"]}
    expected = {id(m.weight) for m in t.engine.net.modules() if isinstance(m, kinds)}
    if decay == "all":
        expected |= {id(m.bias) for m in t.engine.net.modules() if isinstance(m, nn.BatchNorm2d | nn.Linear)}
    assert decaying == expected
    assert sum(len(group["params"]) for group in groups) == len(list(t.engine.net.parameters()))
