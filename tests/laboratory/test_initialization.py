"""Gradients of untrained nets."""

from __future__ import annotations

from itertools import product

import pandas as pd
import pytest
import torch
from torch import Tensor, nn

from resrepro.figures.data import FigureData
from resrepro.figures.initialization import MEAN_FIELD, draw, growth
from resrepro.laboratory.initialization import block_gradients, correlations, line, measure, untrained
from resrepro.laboratory.lesions import blocks_of
from resrepro.results.laboratory import GRADIENT_KINDS
from resrepro.runtime.device import Compute
from support.drawings import lines

X = 60 * torch.randn(8, 3, 8, 8, generator=torch.Generator().manual_seed(0))
Y = torch.arange(8)


class Wave(nn.Module):
    """One output, whose gradient turns by a quarter every 8 points of a line of 64."""

    def forward(self, x: Tensor) -> Tensor:
        t = x.mean((1, 2, 3))
        return torch.sin(2 * torch.pi * t * 63 / 32)[:, None]


def test_known_functions_have_known_correlations(fp32: Compute) -> None:
    points = line(torch.zeros(3, 2, 2), torch.ones(3, 2, 2))
    assert len(points) == 64 and torch.equal(points[-1], torch.ones(3, 2, 2))
    linear = nn.Sequential(nn.Flatten(), nn.Linear(12, 2))
    assert correlations(linear, points, fp32) == pytest.approx([1.0] * 63)
    wave = correlations(Wave(), points, fp32)
    assert wave[0] == pytest.approx(1) and abs(wave[8]) < 0.1 and wave[16] == pytest.approx(-1, abs=0.1)


def test_the_gradients_are_those_of_the_blocks_outputs_and_the_net_stays(fp32: Compute) -> None:
    net = untrained("resnet", 14, 0, num_classes=10)
    before = {key: value.clone() for key, value in net.state_dict().items()}
    found = block_gradients(net, X, Y, fp32)
    assert all(torch.equal(before[key], value) for key, value in net.state_dict().items())
    kept: list[Tensor] = []
    last = [*blocks_of(net).values()][-1]
    last.register_forward_hook(lambda _, __, output: kept.append(output))
    loss = nn.functional.cross_entropy(net(X), Y)
    (gradient,) = torch.autograd.grad(loss, kept)
    assert len(found) == 6 and found[-1] == pytest.approx(float(gradient.norm()), rel=1e-5)


def test_bn_makes_the_gradients_independent_of_the_weights_scale(fp32: Compute) -> None:
    """So no initialization avoids their growth (Yang et al. 2019)."""
    net = untrained("plain", 14, 0, num_classes=10)
    found = block_gradients(net, X, Y, fp32)
    with torch.no_grad():
        for module in net.modules():
            if isinstance(module, nn.Conv2d):
                module.weight.mul_(3)
    assert block_gradients(net, X, Y, fp32) == pytest.approx(found, rel=1e-3)


def test_growth_is_the_slope_within_stages() -> None:
    places = [(stage, place) for stage in (1, 2, 3) for place in range(4)]
    norms = [100.0**stage * 1.3 ** (-2 * place) for stage, place in places]
    table = {"kind": "plain", "depth": 26, "seed": 0, "block": [f"layer{s}.{p}" for s, p in places]}
    found = growth(pd.DataFrame({**table, "gradient_norm": norms}))
    assert found.to_dict() == {("plain", 26, 0): pytest.approx(1.3)}
    one_block = pd.DataFrame({**table, "block": [f"layer{s}.0" for s, _ in places], "gradient_norm": norms})
    assert growth(one_block).empty
    assert pytest.approx(1.211, abs=1e-3) == MEAN_FIELD


def test_each_kind_is_measured(fp32: Compute) -> None:
    found = [*measure(X, Y, fp32, depths=(8,), seeds=(1,), num_classes=10)]
    assert [net.gradients[0].kind for net in found] == ["plain", "resnet", "plain-nobn", "resnet-nobn"]
    for net in found:
        assert len(net.correlations) == 63 and net.correlations[0].correlation == pytest.approx(1)
        assert [row.block for row in net.gradients] == ["layer1.0", "layer2.0", "layer3.0"]


def frames(depths: tuple[int, ...], num_blocks: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    along, gradients = [], []
    for kind, depth, seed in product(GRADIENT_KINDS, depths, (0, 1)):
        common = {"kind": kind, "depth": depth, "seed": seed}
        along += [{**common, "lag": lag, "correlation": 1 - lag * (1 + seed) / 100} for lag in range(63)]
        gradients += [
            {**common, "block": f"layer{stage}.{place}", "gradient_norm": 1.2 ** (-2 * place)}
            for stage, place in product((1, 2, 3), range(num_blocks))
        ]
    return pd.DataFrame(along), pd.DataFrame(gradients)


def test_the_figure_has_the_means_over_seeds_and_the_growth() -> None:
    figure = draw(*frames((14, 20, 56), 4), FigureData(title="T", note="", runs={}))
    by_lag, by_depth, by_layer, by_growth = figure.axes
    assert by_lag.get_title() == "56 layers" and lines(by_lag)[0][1][10] == pytest.approx(1 - 10 * 1.5 / 100)
    assert lines(by_depth)[0] == ([14, 20, 56], pytest.approx([1 - 6 * 1.5 / 100] * 3))
    assert lines(by_layer)[0][1][0] == pytest.approx(1.2**6)
    assert lines(by_growth)[0] == ([14, 20, 56], pytest.approx([1.2] * 3))


def test_a_figure_of_one_depth_has_no_odd_ticks_and_says_where_it_is_empty() -> None:
    _, by_depth, by_layer, by_growth = draw(*frames((8,), 1), FigureData(title="T", note="", runs={})).axes
    assert list(by_depth.get_xticks()) == [8]
    assert by_layer.lines[0].get_markevery() == 1
    assert [text.get_text() for text in by_growth.texts] == ["none: a stage has one block"]
