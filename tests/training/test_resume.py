"""A resumed training ends with the same bits."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from resrepro.config.recipe import Recipe, Warmup
from resrepro.data.in_memory.images import Images
from resrepro.errors import UserError
from resrepro.results.paths import RunFiles
from resrepro.runtime.device import Compute, Precision, choose
from resrepro.runtime.signals import Interrupted
from resrepro.training import checkpoint
from resrepro.training.loop import Training
from support.recipes import tiny_recipe, tiny_run
from support.trainings import SWITCHED, same, training, weights

_WHOLE: dict[tuple[Compute, Recipe], Training] = {}


def whole_training(images: Images, compute: Compute, recipe: Recipe) -> Training:
    """Train without a stop, once for all tests of this file."""
    if (compute, recipe) not in _WHOLE:
        whole = _WHOLE[compute, recipe] = training(images, compute, recipe)
        list(whole.steps())
    return _WHOLE[compute, recipe]


@pytest.mark.parametrize("stop", range(1, 13))  # the rate drops at 6 and at 9
@pytest.mark.parametrize(
    ("precision", "switches"), [("fp32", {}), ("bf16", {}), ("fp32", SWITCHED)], ids=["fp32", "bf16", "switched"]
)
def test_resuming_anywhere_is_bit_identical(
    images: Images, stop: int, precision: Precision, switches: dict[str, Any], tmp_path: Path
) -> None:
    try:
        compute = choose("cpu", precision)
    except UserError:
        pytest.skip(f"this CPU does not compute in {precision}")
    recipe, run = tiny_recipe(**switches), tiny_run(**switches)
    whole = whole_training(images, compute, recipe)
    first, second = (training(images, compute, recipe) for _ in range(2))
    steps = first.steps()
    for _ in range(stop):
        next(steps)
    checkpoint.save(RunFiles(folder=tmp_path), run, first)
    checkpoint.load(RunFiles(folder=tmp_path), run, second)
    assert second.iteration == stop
    list(second.steps())
    assert same(weights(whole), weights(second))
    keep = {"elapsed_s"}
    assert [p.model_dump(exclude=keep) for p in whole.points] == [p.model_dump(exclude=keep) for p in second.points]
    assert second.norms == whole.norms


@pytest.mark.parametrize("num_checks", [1, 3, 8, 9])  # each point asks four times: at a test, two mini-batches, a test
def test_a_training_that_is_stopped_while_it_measures_a_point_goes_on_with_it(
    images: Images, fp32: Compute, num_checks: int, tmp_path: Path
) -> None:
    switches: dict[str, Any] = {"bn_average_batches": 2, "warmup": {"lr": 0.001, "iters": 5}}  # the first point is at 5
    recipe, run = tiny_recipe(**switches), tiny_run(**switches)
    whole = whole_training(images, fp32, recipe)
    assert whole.points[0].lr == 0.001  # that of its last iteration, though the warm-up ends with it
    first, second = (training(images, fp32, recipe) for _ in range(2))
    checks = iter(range(1, num_checks + 1))

    def check_stop() -> None:
        if next(checks) == num_checks:
            raise Interrupted

    with pytest.raises(Interrupted):
        list(first.steps(check_stop))
    assert (first.iteration, len(first.points)) == [(5, 0), (10, 1), (12, 2)][(num_checks - 1) // 4]
    checkpoint.save(RunFiles(folder=tmp_path), run, first)
    checkpoint.load(RunFiles(folder=tmp_path), run, second)
    found = list(filter(None, second.steps()))
    assert same(weights(whole), weights(second)) and second.norms == whole.norms
    keep = {"elapsed_s"}
    assert [p.model_dump(exclude=keep) for p in whole.points] == [p.model_dump(exclude=keep) for p in second.points]
    assert found == second.points[len(first.points) :]


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
    recipe = tiny_recipe(momentum_form="caffe")
    whole = whole_training(images, fp32, recipe)
    first, second = (training(images, fp32, recipe) for _ in range(2))
    steps = first.steps()
    for _ in range(7):
        next(steps)
    state = first.state_dict()
    state["engine"][forgotten] = second.state_dict()["engine"][forgotten]
    second.load_state_dict(state)
    list(second.steps())
    assert not same(weights(whole), weights(second)) or whole.points[1] != second.points[1]


@pytest.mark.parametrize("stop", [60, 110])  # before and after it opens
def test_the_gate_survives_a_resume(images: Images, fp32: Compute, stop: int) -> None:
    recipe = tiny_recipe(total_iters=130, lr_drop_iters=(), curve_every_iters=50).model_copy(
        update={"warmup": Warmup(lr=0.001, until_train_error_pct=100)}
    )
    whole = whole_training(images, fp32, recipe)
    first, second = (training(images, fp32, recipe) for _ in range(2))
    steps = first.steps()
    for _ in range(stop):
        next(steps)
    second.load_state_dict(first.state_dict())
    list(second.steps())
    assert whole.warmup_opened_iter == second.warmup_opened_iter == 100
    assert same(weights(whole), weights(second))
