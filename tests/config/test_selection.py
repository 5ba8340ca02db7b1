"""Which runs the words of a command choose."""

from __future__ import annotations

import pytest

from resrepro.config.run import Variation
from resrepro.config.selection import Selection, select_runs


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
