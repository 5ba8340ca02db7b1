"""The paper's recipe, and shortened schedules."""

from __future__ import annotations

import pytest

from resrepro.config.recipe import SWITCHES, Plateau, Warmup
from resrepro.config.run import Variation
from resrepro.config.toml_files import find_experiment
from resrepro.errors import UserError


def test_the_papers_recipe() -> None:
    for name in ("plain20-vs-plain56", "cifar-plain", "cifar-resnet", "cifar-1202"):
        for run in find_experiment(name).runs:
            r = run.recipe
            assert (r.total_iters, r.batch_size, r.lr, r.lr_drop_iters) == (64000, 128, 0.1, (32000, 48000))
            assert (r.momentum, r.weight_decay, r.crop_padding) == (0.9, 1e-4, 4)
            deep_residual = run.arch in ("resnet110", "resnet1202")
            warmup = Warmup(lr=0.01, until_train_error_pct=80) if deep_residual else None
            by_the_curves = {"decay": "weights", "fc_init": "gaussian", "bn_average_batches": 100}
            expected = {**SWITCHES, **by_the_curves, "warmup": warmup}
            assert {name: getattr(r, name) for name in SWITCHES} == expected and r.curve_every_iters == 1000
    seeds = [r.seed for r in find_experiment("cifar-resnet").runs if r.arch == "resnet110"]
    assert seeds == [0, 1, 2, 3, 4]


def test_scaling_shortens_in_proportion_under_its_own_name() -> None:
    run = find_experiment("plain20-vs-plain56").variant(Variation(schedule_scale=0.05)).runs[0]
    assert (run.recipe.total_iters, run.recipe.lr_drop_iters) == (3200, (1600, 2400))
    assert (run.recipe.lr, run.recipe.batch_size) == (0.1, 128)
    assert str(run.path) == "cifar10/plain20-x0.05/seed0"


@pytest.mark.parametrize(
    ("scale", "every", "batches"), [(1, 1000, 100), (0.5, 500, 50), (0.1, 100, 10), (0.02, 100, 10)]
)
def test_in_a_shortened_schedule_bn_is_averaged_over_a_tenth_of_the_iterations(
    scale: float, every: int, batches: int
) -> None:
    recipe = find_experiment("cifar-plain").variant(Variation(schedule_scale=scale)).runs[0].recipe
    assert (recipe.curve_every_iters, recipe.bn_average_batches) == (every, batches)
    few = recipe.model_copy(update={"bn_average_batches": 3})
    assert few.scaled(0.5).bn_average_batches == 3


def test_without_averages_none_come_with_a_shortened_schedule() -> None:
    recipe = find_experiment("cifar-decay-all").variant(Variation(schedule_scale=0.1)).runs[0].recipe
    assert (recipe.curve_every_iters, recipe.bn_average_batches) == (50, None)


@pytest.mark.parametrize(("scale", "iters"), [(0.5, 50), (0.1, 10), (0.00125, None)])
def test_a_warmup_by_iterations_is_shortened_with_the_schedule(scale: float, iters: int | None) -> None:
    experiment = find_experiment("phase-diagram").variant(Variation(schedule_scale=scale))
    (warmup,) = {r.recipe.warmup for r in experiment.runs if r.name.startswith("plain14-lr0.03-warmup100")}
    assert (warmup and warmup.iters) == iters


@pytest.mark.parametrize("scale", [0, -1, 1.5])
def test_a_scale_outside_0_to_1_is_refused(scale: float) -> None:
    with pytest.raises(UserError, match="--schedule-scale"):
        find_experiment("cifar-plain").variant(Variation(schedule_scale=scale))


def test_imagenets_rate_is_divided_where_fig_4_drops() -> None:
    for name in ("plain34-vs-res34", "plain18-vs-res18", "bottleneck"):
        for run in find_experiment(name).runs:
            assert (run.recipe.lr_drop_iters, run.recipe.plateau) == ((150_000, 300_000), None)
    assert find_experiment("plain34-plateau").runs[0].recipe.plateau == Plateau(patience_iters=30_000, min_fall_pct=0.1)
