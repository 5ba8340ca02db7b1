"""Fig. 7 from weights alone."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from resrepro.errors import UserError
from resrepro.evaluation.responses import Responses, layers_3x3
from resrepro.laboratory import bn_responses as bn_responses_module
from resrepro.laboratory.bn_responses import bn_responses, responses_of
from resrepro.models import build
from resrepro.models.stage import mode
from support.drawings import lines
from support.processes import error, run

RUN = Path(__file__).parents[2] / "results/cifar10/resnet20-decay-weights/seed0"


def test_a_known_gamma_and_beta_have_a_known_deviation() -> None:
    net = build("resnet8", num_classes=10, seed=0)
    bn = layers_3x3(net)[1].bn
    with torch.no_grad():
        bn.weight.copy_(torch.tensor([3.0, -1.0] * 8))
        bn.bias.copy_(torch.tensor([2.0, 6.0] * 8))
    found = bn_responses(net)
    assert [row.layer for row in found] == [*range(1, 8)] and found[1].name == "layer1.0.conv1"
    assert found[1].std == pytest.approx(math.sqrt((9 + 1) / 2 + 4)) and found[0].std == 1


def test_it_is_what_is_measured_on_the_images_that_bn_s_statistics_are_of() -> None:
    net = build("plain8", num_classes=10, seed=0)
    draw = torch.Generator().manual_seed(0)
    for layer in layers_3x3(net):
        with torch.no_grad():
            layer.bn.weight.copy_(torch.rand(layer.bn.weight.shape, generator=draw) + 0.5)
            layer.bn.bias.copy_(torch.randn(layer.bn.bias.shape, generator=draw))
    images = torch.randn(16, 3, 16, 16, generator=draw)
    with Responses(net, 16) as measured, mode(net, training=True), torch.no_grad():
        net(images)  # with the statistics of these images
    assert [row.std for row in bn_responses(net)] == pytest.approx([row.std for row in measured.rows()], rel=1e-4)


def test_a_run_is_read_with_what_it_measured_and_torchvision_s_names_load() -> None:
    found = responses_of(RUN, None)
    apart = [ours / theirs - 1 for ours, theirs in zip((x.std for x in found.layers), found.measured, strict=True)]
    assert len(apart) == 19 and abs(sum(apart) / 19) < 0.01 and max(map(abs, apart)) < 0.12
    assert responses_of(RUN / "weights.safetensors", "resnet20").layers == found.layers


def test_a_net_without_bn_or_with_other_names_is_one_line_or_read_in_order(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="expected 3x3 layers, each followed by BN"):
        bn_responses(build("plain8-nobn", num_classes=10))
    state = build("resnet8", num_classes=7, seed=0).state_dict()
    torch.save(
        {f"x.{i}.{key.rpartition('.')[2]}": value for i, (key, value) in enumerate(state.items())}, tmp_path / "w.pt"
    )
    assert "--in-order" in error("responses", tmp_path / "w.pt", "--arch", "resnet8")
    assert "expected --arch" in error("responses", tmp_path / "w.pt")
    assert "responses: there is no file or run '" in error("responses", tmp_path / "v.pt")
    out = run("responses", tmp_path / "w.pt", "--arch", "resnet8", "--in-order", "--output-dir", tmp_path / "out")
    assert "layer3.0.conv2" in out
    assert {file.name for file in (tmp_path / "out").iterdir()} == {"bn-responses.csv", "bn-responses.png"}


def test_the_figure_has_what_the_weights_say_and_what_was_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[Figure] = []
    monkeypatch.setattr(bn_responses_module, "save", lambda draw, _: drawn.append(draw()))
    found = responses_of(RUN, None)
    bn_responses_module.write([found], tmp_path)
    upper, lower = drawn[0].axes
    paper, ours, measured = lines(upper)
    assert ours == ([*range(1, 20)], pytest.approx([layer.std for layer in found.layers]))
    assert measured == ([*range(1, 20)], pytest.approx([*found.measured])) and len(paper[1]) == 19
    assert lines(lower)[1][1] == pytest.approx(sorted(ours[1], reverse=True))


def test_two_nets_have_two_colors_also_if_they_are_one_architecture(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[Figure] = []
    monkeypatch.setattr(bn_responses_module, "save", lambda draw, _: drawn.append(draw()))
    found = responses_of(RUN, None)
    bn_responses_module.write([found, replace(found, name="again"), replace(found, arch="plain20")], tmp_path)
    colors = [handle.get_color() for handle in drawn[0].legends[0].legend_handles if isinstance(handle, Line2D)]
    assert len(set(colors[:3])) == 3
