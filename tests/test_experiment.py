from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

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


def test_two_runs_of_one_architecture_have_labels_of_their_own(toml: Callable[..., Path]) -> None:
    second = '[[run]]\narch = "plain8"\nname = "plain8-lr0.1"\n[[run]]\narch = "resnet8"'
    runs = read_experiment(toml(('[[run]]\narch = "resnet8"', second))).runs
    assert [run.label for run in runs] == ["plain-8", "plain8-lr0.1", "ResNet-8", "ResNet-8"]


def test_a_run_is_the_same_whoever_asks_for_it() -> None:
    """Fig. 1's runs cost nothing after Fig. 6's."""
    asked: dict[Path, object] = {}
    for name in experiment_names():
        for run in find_experiment(name).runs:
            assert asked.setdefault(run.path, run) == run


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('arch = "plain8"', 'arch = "plane8"', r"run 'plane8': unknown architecture 'plane8'; did you mean 'plain"),
        ('arch = "plain8"', 'arch = "vgg16"', r"run 'vgg16': unknown architecture 'vgg16'"),
        ("lr_drop_iters", "lr_drop_iter", r"recipe: unknown key 'lr_drop_iter'; did you mean 'lr_drop_iters'\?"),
        ("lr = 0.05", 'lr = "fast"', r"run 'plain8': recipe: lr: got 'fast': input should be a valid number"),
        ("lr = 0.05", "lr = -1", r"lr: got -1: input should be greater than 0"),
        ("batch_size = 8", "batch_size = 8\nbn_devices = 3", r"recipe: bn_devices 3: expected a divisor of .* \(8\)"),
        ("batch_size = 8", 'batch_size = 8\ndecay = "bn"', r"decay: got 'bn': input should be 'all' or 'weights'"),
        ("batch_size = 8", 'batch_size = 8\nmomentum_form = "nag"', r"momentum_form: got 'nag': input .*'caffe'"),
        ("batch_size = 8", "batch_size = 8\ntrain_images = 0", r"train_images: got 0: input should be greater"),
        ("batch_size = 8", "batch_size = 8.5", r"batch_size: got 8.5: input should be a valid integer"),
        ("[6, 9]", "[9, 6]", r"lr_drop_iters \[9, 6\]: expected increasing"),
        ("[6, 9]", "[6, 12]", r"between 0 and total_iters \(12\)"),
        ('preset = "cifar"', 'preset = "cifr"', r"unknown preset 'cifr'; did you mean 'cifar'\?"),
        ('dataset = "shapes"', 'dataset = "shape"', r"unknown dataset 'shape'; did you mean 'shapes'\?"),
        ('title = "a test"', 'titel = "a test"', r"unknown key 'titel'; did you mean 'title'\?|'title' is missing"),
        ("seeds = [0, 1]", "seeds = [0, 0]", r"run 'resnet8' seed 0 is declared twice"),
        ("seeds = [0, 1]", "seeds = [-1]", r"seeds: got -1"),
        ("seeds = [0, 1]", "seed = [0]", r"run 2: unknown key 'seed'; did you mean 'seeds'\?"),
        ('higher = "plain8"', 'higher = "plain9"', r"claim: unknown run 'plain9'; did you mean 'plain8'\?"),
        ('runs = ["plain8", "resnet8"]', 'runs = ["plan8"]', r"figure 'tiny': unknown run 'plan8'"),
        ('title = "both"', 'tittle = "both"', r"unknown key 'tittle'; did you mean 'title'\?|'title' is missing"),
        ('preset = "cifar"', "preset = {x=1}", r"unknown preset"),
        ('title = "both"', 'title = "both"\nshow = []', r"show: got \(\)"),
        ('name = "tiny"', 'name = "tiny"\nkind = "gradients"', r"panel 'both' has 2 runs; kind 'gradients' has one a"),
        ('name = "tiny"', 'name = "tiny"\nkind = "curve"', r"kind: got 'curve': input should be 'curves', 'eff"),
        ('name = "tiny"', 'name = ".."', r"figure 1: name: got '..'"),
        ("[recipe]", "[recipe", r"cannot be read as TOML"),
    ],
)
def test_a_mistake_is_named_with_place_and_fix(toml: Callable[..., Path], old: str, new: str, message: str) -> None:
    path = toml((old, new))
    with pytest.raises(UserError, match=message) as caught:
        find_experiment(str(path))
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


def test_unknown_experiment_names_the_nearest() -> None:
    with pytest.raises(UserError, match="did you mean 'cifar-plain'"):
        find_experiment("cifar-plane")
    with pytest.raises(UserError, match="no such file"):
        find_experiment("nowhere/mine.toml")


def test_a_run_may_differ_in_its_recipe_and_has_then_its_own_name(toml: Callable[..., Path]) -> None:
    path = toml(
        ('arch = "plain8"\n', 'arch = "plain8"\n[[run]]\narch = "plain8"\nname = "fast"\nrecipe = {lr = 0.2}\n')
    )
    runs = {r.name: r for r in read_experiment(path).runs}
    assert (runs["plain8"].recipe.lr, runs["fast"].recipe.lr) == (0.05, 0.2)


def test_variants(toml: Callable[..., Path]) -> None:
    experiment = read_experiment(toml())
    other = experiment.variant(dataset="cifar100", seeds=(3, 4), only=("plain8",))
    assert [str(r.path) for r in other.runs] == ["cifar100/plain8/seed3", "cifar100/plain8/seed4"]
    with pytest.raises(UserError, match="has no run 'plain9'; did you mean 'plain8'"):
        experiment.variant(only=("plain9",))
    assert str(experiment.variant(dataset="folder:/x/birds").runs[0].path) == "folder-birds/plain8/seed0"
