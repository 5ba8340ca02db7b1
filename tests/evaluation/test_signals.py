"""Forward and backward signals at each curve point (Sec. 4.1), against answers known beforehand."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from resrepro.config.toml_files import find_experiment
from resrepro.data.in_memory.images import Images
from resrepro.evaluation.gradients import response_stds
from resrepro.models import build
from resrepro.results import csv_rows
from resrepro.results.records import LayerNorms
from resrepro.runtime.device import Compute
from support.drawings import draw
from support.judging import decide
from support.recipes import tiny_recipe
from support.stored_runs import files_of, finish, run_of, stored
from support.trainings import same, training, weights


def test_with_bn_the_deviation_is_what_its_parameters_say(fp32: Compute) -> None:
    net = build("plain8", num_classes=10, seed=0)
    torch.manual_seed(0)
    nn.init.uniform_(net.layer1[0].bn2.weight, 0.5, 2)
    nn.init.normal_(net.layer1[0].bn2.bias)
    state = {k: v.clone() for k, v in net.state_dict().items()}
    found = response_stds(net.train(), [torch.randn(16, 3, 16, 16)], fp32)
    gamma, beta = state["layer1.0.bn2.weight"], state["layer1.0.bn2.bias"]
    assert [*found] == [1, 2, 3, 4, 5, 6, 7]
    assert found[3] == pytest.approx(math.sqrt(gamma.square().mean() + beta.var(correction=0)), rel=1e-3)
    assert [found[i] for i in (1, 2, 4)] == pytest.approx([1.0] * 3, rel=1e-3)
    assert net.training and same(state, net.state_dict())


def test_without_bn_a_signal_dies_with_its_weights(fp32: Compute) -> None:
    net = build("plain8-nobn", num_classes=10, seed=0, recipe=tiny_recipe(init="fan_in"))
    with torch.no_grad():
        net.layer2[0].conv1.weight.mul_(0.01)
    found = response_stds(net, [torch.randn(16, 3, 16, 16) * 64] * 2, fp32)
    assert found[3] > 0.3 and found[4] < 0.02 and found[7] < 0.02


def test_they_are_recorded_at_each_curve_point_and_change_nothing(images: Images, fp32: Compute) -> None:
    few, all_points = (training(images, fp32, tiny_recipe(signals=s)) for s in ("moments", "curve"))
    for t in (few, all_points):
        list(t.steps())
    assert same(weights(few), weights(all_points))
    assert {n.iteration: n.moment for n in all_points.norms} == {
        0: "initialization", 5: "iteration 5", 6: "before drop 1", 9: "before drop 2", 10: "iteration 10", 12: "end",
    }  # fmt: skip
    backward = {"iteration", "layer", "gradient_norm", "weight_norm"}
    kept = [n.model_dump(include=backward) for n in all_points.norms if n.iteration not in (5, 10)]
    assert kept == [n.model_dump(include=backward) for n in few.norms]
    assert all(n.response_std is None for n in few.norms)
    assert all((n.response_std is None) == (n.name == "fc") for n in all_points.norms)


def test_a_stopped_run_has_the_same(images: Images, fp32: Compute) -> None:
    whole, first, second = (training(images, fp32, tiny_recipe(signals="curve")) for _ in range(3))
    for _ in zip(range(7), first.steps(), strict=False):
        pass
    second.load_state_dict(first.state_dict())
    list(whole.steps())
    list(second.steps())
    assert whole.norms == second.norms


def rows(*of_points: tuple[int, list[float]]) -> list[LayerNorms]:
    return [
        LayerNorms(
            iteration=iteration, moment=f"iteration {iteration}", layer=layer, name="conv", gradient_norm=value,
            weight_norm=1.0, response_std=value if layer < len(values) else None,
        )
        for iteration, values in of_points
        for layer, value in enumerate(values, 1)
    ]  # fmt: skip


def test_a_figure_has_layers_over_iterations(tmp_path: Path) -> None:
    files = stored(tmp_path, run_of("plain8"))
    values = [float(i) for i in range(1, 9)]
    csv_rows.write_rows(files.gradients, LayerNorms, rows((0, values), (4, values), (8, [0.0, *values[1:]])))
    figure = draw(tmp_path, "signals", [run_of("plain8")], ("plain8",))
    upper, lower = figure.axes[:2]
    (mesh,), (forward,) = upper.collections, lower.collections
    cells: Any = mesh.get_array()
    assert cells.shape == (8, 3) and cells[:, 0].tolist() == pytest.approx(values) and bool(cells.mask[0, 2])
    assert forward.get_array().shape == (7, 3)
    edges = mesh.get_coordinates()[0, :, 0]
    assert edges[0] < edges[1] < 4 < edges[2] < 8 < edges[3]
    figure.savefig(tmp_path / "f.png")


def test_a_claim_is_about_the_least_of_all_points(tmp_path: Path) -> None:
    run = next(run for run in find_experiment("signals").runs if run.name == "plain56-signals")
    finish(tmp_path, run.name, [9.0], experiment="signals")
    asked = {"column": "signal_least", "run": run.name, "above": 0.1}
    for least, expected in ((0.5, "consistent (one run)"), (0.01, "inconsistent (one run)")):
        points = rows(*((i, [1.0] * 20 + [least] + [2.0] * 35) for i in (0, 500)))
        csv_rows.write_rows(files_of(tmp_path, run).gradients, LayerNorms, points)
        verdict = decide(tmp_path, "signals", **asked)
        assert verdict.values == {run.name: (least,)} and verdict.status == expected
