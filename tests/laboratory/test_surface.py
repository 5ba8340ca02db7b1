"""The loss around a trained net."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import pytest
import torch
import torch.nn.functional as F
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from torch import Tensor

from resrepro.config.experiment import FigureSpec, PanelSpec
from resrepro.data.dataset import Split
from resrepro.figures.data import FigureData, FigureRun
from resrepro.figures.layout import TEXT
from resrepro.figures.surface import draw
from resrepro.laboratory import surface as laboratory
from resrepro.laboratory.surface import direction, surface
from resrepro.models import build
from resrepro.runtime.device import Compute

IMAGES = torch.randn(20, 3, 8, 8, generator=torch.Generator().manual_seed(0))
LABELS = torch.arange(20) % 10
TRAIN = Split(num_images=20, inputs=lambda numbers: (IMAGES[numbers], LABELS[numbers]))


def test_a_direction_has_the_norm_of_each_filter() -> None:
    weights = [torch.randn(4, 3, 3, 3), torch.randn(5, 7)]
    first, second = direction(weights, torch.Generator().manual_seed(0)), direction(weights, torch.Generator())
    for weight, d, e in zip(weights, first, second, strict=True):
        assert torch.allclose(d.flatten(1).norm(dim=1), weight.flatten(1).norm(dim=1)) and not torch.equal(d, e)


def test_the_middle_is_the_net_and_the_net_stays_as_it_was(fp32: Compute) -> None:
    net = build("resnet8", num_classes=10, seed=0)
    before = {key: value.clone() for key, value in net.state_dict().items()}
    own = F.cross_entropy(net.eval()(IMAGES), LABELS)
    net.train()
    plane = [*surface(net, TRAIN, fp32, num_points=3, plane=True, seed=1)]
    line = [*surface(net, TRAIN, fp32, num_points=3, plane=False, seed=1)]
    plane, stored, line, again = plane[:9], plane[9:], line[:3], line[3:]
    assert all(torch.equal(before[key], value) for key, value in net.state_dict().items()) and net.training
    losses = F.cross_entropy(net(IMAGES), LABELS, reduction="none")
    assert (plane[4].x, plane[4].y) == (0, 0) and plane[4].loss == pytest.approx(losses.mean().item(), rel=1e-5)
    assert plane[4].loss_error == pytest.approx(losses.std().item() / 20**0.5, rel=1e-4)
    assert [(p.x, p.y) for p in plane[:4]] == [(-1, -1), (0, -1), (1, -1), (-1, 0)]
    assert [p.loss for p in line] == [p.loss for p in plane[3:6]] and len({p.loss for p in plane}) == 9
    assert [(p.bn, p.x, p.y) for p in stored] == [("stored", x, 0) for x in (-1, 0, 1)] and stored == again
    assert stored[1].loss == pytest.approx(own.item(), rel=1e-5) != plane[4].loss


def drawn(*, losses: dict[tuple[float, float], float]) -> Figure:
    """A plane of nine points, of which some have these losses."""
    plane = [(x, y) for y in (-1.0, 0.0, 1.0) for x in (-1.0, 0.0, 1.0)]
    one = {"run": "resnet20", "seed": 0, "loss_error": 0.01, "num_images": 200}
    rows = pd.DataFrame([
        {**one, "x": x, "y": y, "loss": losses.get((x, y), x * x + y * y + 0.1), "bn": "anew"} for x, y in plane
    ] + [{**one, "x": x, "y": 0.0, "loss": 2.0, "bn": "stored"} for x in (-1.0, 0.0, 1.0)])  # fmt: skip
    spec = FigureSpec(name="f", title="T", kind="surface", panel=(PanelSpec(title="ResNet-20", runs=("resnet20",)),))
    runs = {"resnet20": FigureRun(label="ResNet-20", depth=20, residual=True, color="#E69F00")}
    return draw(rows, spec, FigureData(title="T", note="", runs=runs))


def test_the_figure_has_the_nets_color_and_says_what_its_band_is() -> None:
    figure = drawn(losses={})
    line, contours, _ = (axes for row in figure.subfigs for axes in row.axes)
    assert line.lines[0].get_color() == "#E69F00"
    assert [*line.lines[1].get_ydata()] == [2.0] * 3 and line.lines[1].get_linestyle() == "--"  # type: ignore[misc]
    assert {to_rgba(text.get_color()) for text in contours.texts} == {to_rgba(TEXT)}
    assert [text.get_text() for text in figure.legends[0].get_texts()] == [
        "±2 standard errors of the mean over the images",
        "with BN statistics of each point",
        "with the trained net's BN statistics",
        "one seed each; distances in filter norms",
    ]


@pytest.mark.parametrize("num_lost", [2, 9])
def test_a_loss_that_is_not_finite_is_left_out_and_counted(num_lost: int, tmp_path: Path) -> None:
    lost = [(-1.0, 0.0), (1.0, -1.0)] if num_lost == 2 else [(x, y) for x in (-1.0, 0.0, 1.0) for y in (-1.0, 0.0, 1.0)]
    figure = drawn(losses=dict.fromkeys(lost, math.inf) | {lost[-1]: math.nan})
    line, *plane = (axes for row in figure.subfigs for axes in row.axes)
    assert [text.get_text() for text in line.texts] == [f"not finite, not drawn: {num_lost} of 12 points"]
    assert len(plane) == (2 if num_lost == 2 else 0)
    if plane:
        assert line.get_xlim() == (-1.1, 1.1) and line.get_ylim() == pytest.approx((0.08 / 1.2, 2.1 * 1.2))
    figure.savefig(tmp_path / "f.png")


def test_the_loss_is_flat_where_only_the_scale_of_filters_changes(
    fp32: Compute, monkeypatch: pytest.MonkeyPatch
) -> None:
    """BN undoes the scale, for its statistics are taken anew at each point; without that the loss would change."""

    def scale_of_filters(weights: Sequence[Tensor], _: torch.Generator) -> list[Tensor]:
        return [0.5 * w if w.ndim == 4 else torch.zeros_like(w) for w in weights]

    monkeypatch.setattr(laboratory, "direction", scale_of_filters)
    net = build("resnet8", num_classes=10, seed=0)
    points = [*surface(net, TRAIN, fp32, num_points=5, plane=False, seed=0)]
    losses, stored = ([p.loss for p in points if p.bn == bn] for bn in ("anew", "stored"))
    assert max(stored) > 1.1 * min(stored)
    assert losses == pytest.approx([losses[2]] * 5, rel=1e-3)
