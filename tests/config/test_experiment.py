"""The experiments that are shipped, and variants of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from resrepro.config.run import Variation
from resrepro.config.toml_files import experiment_names, find_experiment, read_experiment
from resrepro.errors import UserError
from resrepro.figures.kinds import FIGURES


@pytest.mark.parametrize("name", experiment_names())
def test_shipped_experiments_are_valid(name: str) -> None:
    experiment = find_experiment(name)
    assert experiment.runs and experiment.figures and experiment.expect
    assert all(spec.kind in FIGURES for spec in experiment.figures)


def test_the_issue_s_experiments_are_there() -> None:
    assert set(experiment_names()) >= {
        "plain20-vs-plain56", "cifar-plain", "cifar-resnet", "cifar-1202", "plain34-vs-res34", "plain18-vs-res18",
        "quickstart", "resnext", "warmup-110", "plain-longer", "plain34-longer", "plain110", "split-45k", "ambiguities",
        "plain-warmup",
        "layer-responses", "gradient-norms", "constructed-identity",
    }  # fmt: skip


def test_variants(toml: Callable[..., Path]) -> None:
    experiment = read_experiment(toml())
    other = experiment.variant(Variation(dataset="cifar100")).select(seeds=[3, 4], only=["plain8"])
    with pytest.raises(UserError, match="seed -1: expected an integer from 0 to"):
        experiment.select(seeds=[-1])
    assert [str(r.path) for r in other.runs] == ["cifar100/plain8/seed3", "cifar100/plain8/seed4"]
    assert (other.variation, other.claims) == (Variation(dataset="cifar100"), experiment.claims)
    assert experiment.select(only=["plain9"]).runs == ()
    assert str(experiment.variant(Variation(dataset="folder:/x/birds")).runs[0].path) == "folder-birds/plain8/seed0"


def test_photographs_are_resized_for_a_run_of_another_name(toml: Callable[..., Path]) -> None:
    asked = Variation(dataset="folder:/x/birds", resize=32, schedule_scale=0.5)
    experiment = read_experiment(toml()).variant(asked)
    assert str(experiment.runs[0].path) == "folder-birds/plain8-32px-x0.5/seed0"
    assert experiment.runs[0].recipe.resize == 32 and experiment.variation == asked
    assert asked.options == " --dataset folder:/x/birds --schedule-scale 0.5 --resize 32"
    assert experiment.variant(asked).runs[0].recipe == experiment.runs[0].recipe.scaled(0.5)
    constructed = find_experiment("constructed-identity").variant(Variation(resize=32)).runs
    assert all(run.start_from is None or run.start_from.recipe.resize == 32 for run in constructed)


def test_the_experiments_state_one_difference_each() -> None:
    """Against the default run; a name of its own for each."""
    expected = {
        "resnet20-decay-bn": {"decay": "all"},
        "resnet20-decay-convolutions": {"decay": "convolutions"},
        "resnet20-fc-pytorch": {"fc_init": "pytorch"},
        "resnet20-fan-in": {"init": "fan_in"},
        "resnet20-2devices": {"bn_devices": 2},
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
