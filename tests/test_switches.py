"""The switches of the recipe: each against what it says, in resumed and recorded training, and in old files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from conftest import tiny_recipe, tiny_run
from test_results import record
from test_runner import runner
from test_training import same, training, weights
from torch import nn

from resrepro import results
from resrepro.config.recipe import SWITCHES
from resrepro.config.run import Run
from resrepro.config.toml_files import find_experiment
from resrepro.data.dataset import DataOptions
from resrepro.data.in_memory.dataset import InMemoryDataset
from resrepro.data.in_memory.images import Images
from resrepro.data.in_memory.pipeline import InMemoryPipeline
from resrepro.errors import UserError
from resrepro.models.kernels import fused
from resrepro.runtime.device import Compute
from resrepro.training import checkpoint
from resrepro.training.step import Engine, Execution

ALL = {"bn_devices": 2, "decay": "weights", "momentum_form": "caffe"}
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
    seen = [list(training(images, fp32, tiny_recipe(bn_devices=n)).engine._next_inputs(lambda: None)) for n in (1, 2)]
    assert [x.shape[0] for x in seen[1]] == [4] * 200
    assert torch.equal(torch.cat(seen[0]), torch.cat(seen[1]))


def test_virtual_devices_may_recompute(images: Images, fp32: Compute) -> None:
    """The moving averages must not see a part twice."""
    recipe = tiny_recipe(**ALL)
    kept, again = (
        training(images, fp32, recipe, execution=Execution(activation_checkpointing=r)) for r in (False, True)
    )
    list(kept.steps())
    list(again.steps())
    assert same(weights(kept), weights(again))


@pytest.mark.parametrize("stop", range(5, 11))  # the rate drops at 6 and at 9
def test_resuming_around_a_drop_is_bit_identical(images: Images, fp32: Compute, stop: int, tmp_path: Path) -> None:
    recipe, run = tiny_recipe(**ALL), tiny_run(**ALL)
    whole, first, second = (training(images, fp32, recipe) for _ in range(3))
    list(whole.steps())
    steps = first.steps()
    for _ in range(stop):
        next(steps)
    checkpoint.save(tmp_path / "checkpoint.pt", run, first)
    checkpoint.load(tmp_path / "checkpoint.pt", run, second)
    list(second.steps())
    assert same(weights(whole), weights(second))
    keep = {"elapsed_s"}
    assert [p.model_dump(exclude=keep) for p in whole.points] == [p.model_dump(exclude=keep) for p in second.points]


def test_a_checkpoint_from_before_the_switches_goes_on(images: Images, fp32: Compute, tmp_path: Path) -> None:
    whole, first, second = (training(images, fp32) for _ in range(3))
    list(whole.steps())
    steps = first.steps()
    for _ in range(7):
        next(steps)
    path = tmp_path / "checkpoint.pt"
    checkpoint.save(path, tiny_run(), first)
    state = torch.load(path, weights_only=True)
    state["run"] = {k: v for k, v in state["run"].items() if k.removeprefix("recipe.") not in SWITCHES}
    del state["engine"]["lr"]
    torch.save(state, path)
    with pytest.raises(UserError, match=r"recipe.decay is 'all' there, but the experiment asks for 'weights'"):
        checkpoint.load(path, tiny_run(decay="weights"), training(images, fp32))
    checkpoint.load(path, tiny_run(), second)
    list(second.steps())
    assert same(weights(whole), weights(second))


@pytest.mark.parametrize(
    ("switch", "value", "said"),
    [("bn_devices", 2, "1"), ("decay", "weights", "'all'"), ("momentum_form", "caffe", "'pytorch'"),
     ("train_images", 20, "None")],
)  # fmt: skip
def test_a_record_from_before_the_switches_is_of_their_defaults(
    switch: str, value: object, said: str, tmp_path: Path
) -> None:
    run = tiny_run()
    recipe = json.loads(run.recipe.model_dump_json())
    old = {key: kept for key, kept in recipe.items() if key not in SWITCHES}
    results.write_record(results.run_files(tmp_path, run), record(run, recipe=old))
    assert results.read_finished(tmp_path, run) is not None
    with pytest.raises(UserError, match=rf"recipe.{switch} is {said} there, but the experiment asks for {value!r}"):
        results.read_finished(tmp_path, tiny_run(**{switch: value}))
    new = {**recipe, switch: value}
    results.write_record(results.run_files(tmp_path, run), record(run, recipe=new))
    with pytest.raises(UserError, match=rf"recipe.{switch} is {value!r} there, but the experiment asks for {said}"):
        results.read_finished(tmp_path, run)


def test_fewer_training_images_have_their_own_mean_and_the_same_test_set(images: Images) -> None:
    part = images.first(20, "here")
    assert torch.equal(part.train_images, images.train_images[:20])
    assert torch.equal(part.train_labels, images.train_labels[:20])
    assert torch.equal(part.test_images, images.test_images)
    cpu = torch.device("cpu")
    torch.testing.assert_close(
        InMemoryPipeline(part, padding=0, device=cpu).mean, images.train_images[:20].float().mean(0)
    )
    assert images.first(None, "here") is images
    with pytest.raises(UserError, match=r"^here: train_images 31: expected at most the 30 of the dataset"):
        images.first(31, "here")
    by_class = Images(**{**vars(images), "train_labels": images.train_labels.sort().values})
    with pytest.raises(UserError, match=r"train_images 12: the first 12 are of 2 of the 3 classes only; take more"):
        by_class.first(12, "here")


def few(**changes: Any) -> Run:
    run = tiny_run(train_images=1000, **changes)
    return run.model_copy(update={"name": "few"})


def test_runs_with_and_without_all_images_do_not_share_them(tmp_path: Path) -> None:
    """In one process, as `run ambiguities` has them."""
    assert runner(tmp_path / "both").run_all([tiny_run(), few()]) == []
    assert runner(tmp_path / "alone").run_all([few()]) == []
    both, alone = (results.read_finished(tmp_path / name, few()) for name in ("both", "alone"))
    assert both is not None and alone is not None
    assert both.recipe["train_images"] == 1000
    wrong = (both.final_train_error_clean_pct or 0) * 1000 / 100  # of 1000 images
    assert wrong == pytest.approx(round(wrong))
    assert both.final_test_error_pct == alone.final_test_error_pct
    assert both.final_train_error_clean_pct == alone.final_train_error_clean_pct


def test_too_many_images_are_one_line_and_nothing_is_started(tmp_path: Path) -> None:
    many = tiny_run(train_images=20001)
    with pytest.raises(UserError, match=r"^shapes/resnet8/seed0: train_images 20001: expected at most the 20000"):
        runner(tmp_path).run_all([few(), many])
    assert list(tmp_path.iterdir()) == []


def test_the_45k_are_the_first_of_cifars_files(tmp_path: Path) -> None:
    pixels = torch.arange(50000)[:, None, None, None].expand(-1, 1, 1, 3).to(torch.uint8)
    labels = torch.arange(50000) % 10
    images = Images(
        train_images=pixels, train_labels=labels, test_images=pixels[:10], test_labels=labels[:10], num_classes=10
    )
    run = next(r for r in find_experiment("split-45k").runs if r.name == "resnet20-45k")
    recipe = run.recipe.model_copy(update={"crop_padding": 0})  # so that the pipeline holds the images as they are
    pipeline = InMemoryDataset(images, DataOptions(data_dir=tmp_path)).input_pipeline(recipe)
    assert len(pipeline.train_labels) == 45000 and pipeline.train_images[-1, 0, 0, 0] == 44999 % 256


def test_the_experiments_state_one_difference_each() -> None:
    """Against the default run; a name of its own for each."""
    expected = {
        "resnet20-2devices": {"bn_devices": 2},
        "resnet20-decay-weights": {"decay": "weights"},
        "resnet20-caffe-momentum": {"momentum_form": "caffe"},
        "resnet20-45k": {"train_images": 45000},
    }
    runs = find_experiment("ambiguities").runs
    default = runs[0].recipe
    assert (runs[0].name, default) == ("resnet20", find_experiment("cifar-resnet").runs[0].recipe)
    found = {r.name: {k: v for k, v in r.recipe if v != getattr(default, k)} for r in runs[3:]}
    assert found == expected
    for name in ("resnet20", *expected):
        assert [r.seed for r in runs if r.name == name] == [0, 1, 2]


@pytest.mark.parametrize(("name", "runs"), [("plain-longer", 2), ("plain34-longer", 1)])
def test_three_times_the_iterations_have_their_drops_at_three_times_the_iterations(name: str, runs: int) -> None:
    experiment = find_experiment(name)
    usual = {r.arch: r.recipe for r in experiment.runs if r.name == r.arch}
    longer = [r for r in experiment.runs if r.name.endswith("-3x")]
    assert len(longer) == runs
    for run in longer:
        before = usual[run.arch]
        assert run.recipe == before.model_copy(
            update={
                "total_iters": 3 * before.total_iters,
                "lr_drop_iters": tuple(3 * d for d in before.lr_drop_iters),
                "plateau": before.plateau and before.plateau.scaled(3),
            }
        )
