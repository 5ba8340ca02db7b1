"""Which runs the words of a command choose."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from resrepro.config.run import Variation
from resrepro.config.selection import Selection, select_runs
from resrepro.errors import UserError


def selected(
    *names: str, seeds: list[int] | None = None, only: list[str] | None = None, lacking: str = ""
) -> Selection:
    return select_runs(names, Variation(), seeds=seeds, only=only, at_hand=lambda dataset: dataset != lacking)


def test_runs_are_chosen_by_name_and_seed_and_each_once() -> None:
    found = selected("cifar-plain", "plain20-vs-plain56", seeds=[7], only=["plain20", "plain56"])
    assert [str(run) for run in found.runs] == ["cifar10/plain20/seed7", "cifar10/plain56/seed7"]
    assert [len(runs) for _, runs in found.experiments] == [2, 2]


@pytest.mark.parametrize(("name", "is_left_out"), [("all", True), ("plain18-vs-res18", False)])
def test_only_all_leaves_out_what_has_no_data(name: str, is_left_out: bool) -> None:
    found = selected(name, lacking="imagenet")
    assert any(experiment.dataset == "imagenet" for experiment in found.left_out) == is_left_out
    assert any(run.dataset == "imagenet" for run in found.runs) != is_left_out


@pytest.mark.parametrize("only", [["plain8"], ["deeper-one", "deeper-other"]])
def test_two_files_that_store_different_runs_in_one_folder_are_one_line(
    toml: Callable[..., Path], only: list[str]
) -> None:
    """Also where both only start from its weights."""

    def written(name: str, lr: str) -> str:
        deeper = f'[[run]]\nname = "deeper-{name}"\narch = "plain14"\nstart_from = "plain8"\n[[claim]]'
        return str(toml(("[[claim]]", deeper), ("lr = 0.05", lr), name=name))

    one, other = written("one", "lr = 0.05"), written("other", "lr = 0.1")
    with pytest.raises(UserError) as error:
        selected(one, other, only=only)
    assert str(error.value) == (
        f"shapes/plain8/seed0: {one} and {other} declare different runs of this name; give one of them another 'name'"
    )


def test_a_run_may_have_another_label_in_another_experiment() -> None:
    assert len(selected("shortcut-kinds", "cifar-resnet", only=["resnet110"]).runs) == 5
    select_runs([], Variation(), seeds=None, only=None, at_hand=lambda _: True)  # of all shipped experiments
