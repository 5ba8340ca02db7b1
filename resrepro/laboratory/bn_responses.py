"""Fig. 7 from the weights alone: what BN's parameters say of each 3x3 layer's response."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from torch import nn

from resrepro.config.architectures import architecture
from resrepro.config.experiment import FigureSpec, PanelSpec
from resrepro.errors import UserError, errors_at
from resrepro.evaluation.responses import layers_3x3
from resrepro.evaluation.trained_nets import EXPECTED, find, read_net
from resrepro.figures import responses
from resrepro.figures.colors import distinct_colors, is_residual
from resrepro.figures.data import FigureData, FigureRun
from resrepro.figures.files import save
from resrepro.files import write_text
from resrepro.models import weights
from resrepro.paper.curves import published_curve, published_responses
from resrepro.results.analyses import read_responses
from resrepro.results.paths import RunFiles
from resrepro.results.tables import Table

TITLE = "Responses of 3x3 layers, from BN's parameters"


@dataclass(frozen=True, kw_only=True)
class BNResponse:
    """Hold a 3x3 layer: its number among the weighted layers, its convolution, and the deviation that BN gives it."""

    layer: int
    name: str
    std: float


@dataclass(frozen=True, kw_only=True)
class NetResponses:
    """Hold the 3x3 layers of a net; `measured`: what its run recorded of them, empty where it has no such record."""

    name: str
    arch: str
    layers: tuple[BNResponse, ...]
    measured: tuple[float, ...]


def bn_responses(net: nn.Module) -> list[BNResponse]:
    """Return each 3x3 layer's sqrt(mean gamma^2 + var beta).

    BN gives channel c the mean beta_c and the deviation |gamma_c| on the images that its statistics are of. So over
    images, positions and channels together the variance is the mean of gamma^2 and the variance of beta over channels.

    Raises:
        UserError: the net has no 3x3 layer with BN.
    """
    found = [
        BNResponse(layer=layer.number, name=layer.name, std=_deviation(layer.bn))
        for layer in layers_3x3(net)
        if isinstance(layer.bn, nn.BatchNorm2d)
    ]
    if not found:
        raise UserError(
            "expected 3x3 layers, each followed by BN; this net has none (with pre-activation BN comes before)"
        )
    return found


def _deviation(bn: nn.BatchNorm2d) -> float:
    gamma, beta = bn.weight.detach().double(), bn.bias.detach().double()
    return math.sqrt(float(gamma.square().mean() + beta.var(correction=0)))


def responses_of(place: Path, arch: str | None, *, in_order: bool = False) -> NetResponses:
    """Read a net: the folder of a run says what it is, a file of weights is of `arch`.

    Args:
        in_order: as `weights.read_net`.

    Raises:
        UserError: no such file, no architecture, or one beside a run; weights that do not fit, or a net without BN.
    """
    if not place.exists():
        raise UserError(f"{place}: no such file or folder; expected {EXPECTED}")
    measured: tuple[float, ...] = ()
    if place.is_dir() and arch is not None:
        raise UserError(f"--arch {arch}: {place} is the folder of a run, which says what it is; leave the option out")
    if place.is_dir():
        (trained,) = find([place])
        arch, name = trained.arch, trained.name
        net, _ = read_net(trained)
        measured = tuple(row.std for row in read_responses(RunFiles(folder=place), arch))
    elif arch is None:
        raise UserError(f"{place}: a file of weights; expected --arch as well, such as --arch resnet20")
    else:
        name, net = str(place), weights.read_net(place, arch, in_order=in_order)
    with errors_at(name):
        layers = tuple(bn_responses(net))
    return NetResponses(name=name, arch=arch, layers=layers, measured=measured)


def tabulate(net: NetResponses) -> Table:
    """Tabulate a net's layers, beside what was measured and what the paper has, and say how far these are."""
    published = published_responses(net.arch)
    columns = {"from weights": [layer.std for layer in net.layers], "measured": [*net.measured]}
    columns["paper"] = [] if published is None else published.std.tolist()
    columns = {name: values for name, values in columns.items() if len(values) == len(net.layers)}
    ours, notes = np.array(columns["from weights"]), []
    for name in [*columns][1:]:
        apart = ours / np.array(columns[name]) - 1
        notes.append(
            f"from weights over {name}: {round(100 * apart.mean(), 1) + 0.0:+.1f} % on average, "
            f"{100 * np.abs(apart).max():.1f} % at most, layer {net.layers[int(np.abs(apart).argmax())].layer}"
        )
    rows = [
        (str(layer.layer), layer.name, *(f"{value:.3f}" for value in values))
        for layer, *values in zip(net.layers, *columns.values(), strict=True)
    ]
    return Table(title=net.name, columns=("layer", "name", *columns), rows=tuple(rows), notes=tuple(notes))


def write(nets: Sequence[NetResponses], folder: Path) -> list[Path]:
    """Write the layers of all nets as CSV, and draw them."""
    cells = [(net.name, str(layer.layer), layer.name, repr(layer.std)) for net in nets for layer in net.layers]
    table = Table(title=TITLE, columns=("net", "layer", "name", "std"), rows=tuple(cells))
    written = [folder / "bn-responses.csv", folder / "bn-responses.png"]
    write_text(written[0], table.to_csv(), "--output-dir")
    labels = [architecture(net.arch).label for net in nets]
    names = [label if labels.count(label) == 1 else net.name for net, label in zip(nets, labels, strict=True)]
    depths = {name: architecture(net.arch).depth for name, net in zip(names, nets, strict=True)}
    colors = distinct_colors(depths, [names])
    runs = {name: _figure_run(name, net.arch, colors[name]) for name, net in zip(names, nets, strict=True)}
    rows = [
        {"run": name, "layer": layer.layer, "std": layer.std, "measured": measured}
        for name, net in zip(names, nets, strict=True)
        for layer, measured in zip(net.layers, net.measured or [None] * len(net.layers), strict=True)
    ]
    panel = PanelSpec(title="", runs=tuple(runs))
    spec = FigureSpec(name="bn-responses", kind="responses", title=TITLE, panel=(panel,))
    shown = pd.DataFrame(rows).assign(seed=None).astype({"measured": float})
    save(lambda: responses.draw(shown, spec, FigureData(title=TITLE, note="", runs=runs)), written[1])
    return written


def _figure_run(name: str, arch: str, color: str) -> FigureRun:
    found, curve = architecture(arch), published_curve("cifar10", arch, "test")
    return FigureRun(
        label=name,
        depth=found.depth,
        residual=is_residual(found),
        color=color,
        published={} if curve is None else {"test": curve},
    )
