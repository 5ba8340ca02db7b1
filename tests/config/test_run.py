"""Runs: their labels and what makes two of them one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from resrepro.config.toml_files import experiment_names, find_experiment, read_experiment


def test_a_run_is_the_same_whoever_asks_for_it() -> None:
    """Fig. 1's runs cost nothing after Fig. 6's; each experiment may call a run as its figures do."""
    asked: dict[Path, object] = {}
    for name in experiment_names():
        for run in find_experiment(name).runs:
            unnamed = run.model_copy(update={"label": ""})
            assert asked.setdefault(run.path, unnamed) == unnamed


def test_two_runs_of_one_architecture_have_labels_of_their_own(toml: Callable[..., Path]) -> None:
    second = '[[run]]\narch = "plain8"\nname = "plain8-lr0.1"\n[[run]]\narch = "resnet8"'
    runs = read_experiment(toml(('[[run]]\narch = "resnet8"', second))).runs
    assert [run.label for run in runs] == ["plain-8", "plain8-lr0.1", "ResNet-8", "ResNet-8"]
