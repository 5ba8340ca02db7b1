"""Claims on what a run measures of its layers, and of a net that is made of another one, on made records."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from resrepro.config.architectures import architecture
from resrepro.config.toml_files import find_experiment
from resrepro.paper.curves import published_responses
from resrepro.results import csv_rows
from resrepro.results.paths import RunFiles
from resrepro.results.records import ConstructedComparison, LayerNorms
from support.judging import decide, status
from support.stored_runs import files_of, finish, write_responses

FIG_7 = "layer-responses"


def finished(results_dir: Path, experiment: str, name: str, num_seeds: int = 1) -> list[RunFiles]:
    run = next(run for run in find_experiment(experiment).runs if run.name == name)
    shutil.rmtree(results_dir / run.path.parent, ignore_errors=True)  # else the record has the digests of older files
    finish(results_dir, name, [9.0] * num_seeds, experiment=experiment)
    return [files_of(results_dir, run.replace(seed=seed)) for seed in range(num_seeds)]


def respond(results_dir: Path, name: str, *seeds: Sequence[float]) -> None:
    for files, stds in zip(finished(results_dir, FIG_7, name, len(seeds)), seeds, strict=True):
        write_responses(files, list(stds))


def test_two_nets_of_one_depth_are_compared_layer_by_layer(tmp_path: Path) -> None:
    order = {"column": "response_std", "higher": "plain20", "lower": "resnet20"}
    assert status(tmp_path, FIG_7, **order) == "not run"
    respond(tmp_path, "plain20", [1 + i / 10 for i in range(19)])  # 1.9 in the mean
    respond(tmp_path, "resnet20", [0.99 + i / 11 for i in range(19)])  # below in each layer, by a little
    verdict = decide(tmp_path, FIG_7, **order)
    assert verdict.status == "consistent (one run)" and verdict.p_value == pytest.approx(2 / 2**19)
    assert verdict.test == "Wilcoxon's signed-rank test of 19 layers, the first above in 19; corrected p < 0.001"
    backward = {"column": "response_std", "higher": "resnet20", "lower": "plain20"}
    assert status(tmp_path, FIG_7, **backward) == "inconsistent (one run)"
    respond(tmp_path, "resnet20", [1.9] * 19)  # on the mean, which the ranks are about
    assert status(tmp_path, FIG_7, **order) == "inconclusive"


def test_the_mean_s_order_alone_decides_nothing(tmp_path: Path) -> None:
    respond(tmp_path, "plain20", [1.0] * 18 + [9.0])
    respond(tmp_path, "resnet20", [1.1 + i / 100 for i in range(19)])
    verdict = decide(tmp_path, FIG_7, column="response_std", higher="plain20", lower="resnet20")
    assert verdict.status == "inconsistent (one run)" and "the first above in 1;" in verdict.test


def test_nets_of_several_depths_are_compared_by_one_trend_over_all_layers(tmp_path: Path) -> None:
    chain = {"column": "response_std", "higher": "resnet20", "between": ("resnet56",), "lower": "resnet110"}
    for name, level in (("resnet20", 1.6), ("resnet56", 1.1), ("resnet110", 1.0)):
        num_layers = architecture(name).depth - 1
        respond(tmp_path, name, [level + i / num_layers for i in range(num_layers)])
    verdict = decide(tmp_path, FIG_7, **chain)
    assert verdict.status == "consistent (one run)" and verdict.test.startswith(
        "Jonckheere and Terpstra's trend test of 19 and 55 and 109 layers, tau = +0.2"
    )
    backward = chain | {"higher": "resnet110", "lower": "resnet20"}
    assert status(tmp_path, FIG_7, **backward) == "inconsistent (one run)"


def test_ranks_are_those_of_the_mean_over_seeds(tmp_path: Path) -> None:
    respond(tmp_path, "plain20", [1.0 + i / 100 for i in range(19)], [1.2 + i / 100 for i in range(19)])
    respond(tmp_path, "resnet20", [1.15 + i / 99 for i in range(19)], [0.8 + i / 99 for i in range(19)])
    experiment = {"column": "response_std", "higher": "plain20", "lower": "resnet20"}
    only_first = decide(tmp_path, FIG_7, **experiment)
    assert only_first.status == "inconsistent (one run)"  # one seed is declared
    respond(tmp_path, "resnet56", [0.5] * 55, [0.7] * 55)
    respond(tmp_path, "resnet20", [0.9] * 19, [0.3] * 19)
    both = decide(tmp_path, column="response_std", higher="resnet20", lower="resnet56")
    assert both.values == {"resnet20": (pytest.approx(0.9), pytest.approx(0.3)), "resnet56": (0.5, 0.7)}
    assert both.ranks is not None and both.ranks.effect == pytest.approx(0.0) and both.status == "inconclusive"


def test_the_level_of_the_responses_is_the_paper_s_within_the_bounds_of_bioequivalence(tmp_path: Path) -> None:
    theirs = published_responses("resnet20")
    assert theirs is not None
    level = {"column": "response_level", "run": "resnet20", "above": 0.8, "below": 1.25}
    for factors, expected in (
        ((0.99, 1.01), "consistent (one run)"),
        ((1.0, 1.0), "consistent (one run)"),  # no scatter at all
        ((0.45, 0.46), "inconsistent (one run)"),
        ((0.5, 1.12), "inconclusive"),  # 0.8 in the mean
    ):
        respond(tmp_path, "resnet20", [std * factors[i % 2] for i, std in enumerate(theirs.std)])
        verdict = decide(tmp_path, FIG_7, **level)
        assert verdict.status == expected and "scatter over the 19 layers" in verdict.test
    assert decide(tmp_path, FIG_7, **level).values["resnet20"][0] == pytest.approx((10 * 0.5 + 9 * 1.12) / 19)
    respond(tmp_path, "resnet20", *([std * factor for std in theirs.std] for factor in (0.99, 1.0, 1.01)))
    assert decide(tmp_path, **level).status == "supported"


def test_a_file_without_all_layers_is_named(tmp_path: Path) -> None:
    respond(tmp_path, "resnet20", [1.0] * 12)
    verdict = decide(tmp_path, FIG_7, column="response_level", run="resnet20", above=0.8)
    assert verdict.status == "not run" and "responses.csv: cut short after layer 12" in verdict.detail


def test_a_finished_seed_without_the_measure_is_not_left_out(tmp_path: Path) -> None:
    respond(tmp_path, "resnet20", [0.90] * 19, [0.91] * 19)
    files = finished(tmp_path, FIG_7, "resnet56", 2)
    write_responses(files[1], [0.9] * 55)
    assert status(tmp_path, column="response_std", run="resnet20", below=1) == "supported"
    assert status(tmp_path, column="response_std", run="resnet56", below=1) == "not run"


def test_the_first_layer_s_gradient_is_bounded_on_both_sides(tmp_path: Path) -> None:
    def farthest(*firsts: float) -> float:
        (files,) = finished(tmp_path, "gradient-norms", "plain56")
        norms = [[first, *[1.0] * 53, 1.0, 9.0] for first in firsts]  # fc, the last one, does not count
        found = [
            LayerNorms(iteration=i, moment="m", layer=n, name="c", gradient_norm=g, weight_norm=1.0)
            for i, values in enumerate(norms)
            for n, g in enumerate(values, 1)
        ]
        csv_rows.write_rows(files.gradients, LayerNorms, found)
        own = {"column": "gradient_first_to_last", "run": "plain56", "above": -1.0, "below": 1.0}
        return decide(tmp_path, "gradient-norms", **own).values["plain56"][0]

    assert farthest(5.0, 0.1, 2.0) == pytest.approx(-1)
    assert farthest(5.0, 0.3, 1000.0) == pytest.approx(3)
    assert farthest(5.0, 0.0) < -40  # it vanishes


def test_a_net_that_is_made_of_another_one_has_its_error(tmp_path: Path) -> None:
    def constructed(error: float) -> str:
        common: dict[str, Any] = {
            "num_images": 10, "largest_difference": 0.0, "largest_output": 1.0, "shallower_error_pct": 9.0
        }  # fmt: skip
        found = [
            ConstructedComparison(part="train", error_pct=9.0, **common),
            ConstructedComparison(part="test", error_pct=error, **common),
        ]
        (files,) = finished(tmp_path, "constructed-identity", "plain56-from-plain20")
        csv_rows.write_rows(files.identity, ConstructedComparison, found)
        own = {"column": "constructed_difference_pct", "run": "plain56-from-plain20"}
        return status(tmp_path, "constructed-identity", below=0.05, **own)

    assert constructed(9.01) == "consistent (one run)"
    assert constructed(8.7) == "inconsistent (one run)"
