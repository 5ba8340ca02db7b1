"""Fig. 7 from the weights alone: what BN's parameters say of each 3x3 layer's response."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

from torch import nn

from resrepro.errors import UserError
from resrepro.evaluation.responses import layers_3x3
from resrepro.evaluation.trained_nets import EXPECTED, find, read_net
from resrepro.models import weights
from resrepro.results.analyses import read_responses
from resrepro.results.paths import RunFiles


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
        raise UserError(f"{type(net).__name__}: expected 3x3 layers with BN, such as conv1 and bn1; it has none")
    return found


def _deviation(bn: nn.BatchNorm2d) -> float:
    gamma, beta = bn.weight.detach().double(), bn.bias.detach().double()
    return math.sqrt(float(gamma.square().mean() + beta.var(correction=0)))


def responses_of(place: Path, arch: str | None, *, in_order: bool = False) -> NetResponses:
    """Read a net: the folder of a run says what it is, a file of weights is of `arch`.

    Args:
        in_order: as `weights.read_net`.

    Raises:
        UserError: no such file, no architecture, weights that do not fit, or a net without BN.
    """
    if not place.exists():
        raise UserError(f"{place}: no such file or folder; expected {EXPECTED}")
    measured: tuple[float, ...] = ()
    if place.is_dir():
        (trained,) = find([place], arch=None, dataset=None)
        arch, name = trained.arch, trained.name
        net, _ = read_net(trained)
        measured = tuple(row.std for row in read_responses(RunFiles(folder=place), arch))
    elif arch is None:
        raise UserError(f"{place}: a file of weights; expected --arch as well, such as --arch resnet20")
    else:
        name, net = str(place), weights.read_net(place, arch, in_order=in_order)
    try:
        layers = tuple(bn_responses(net))
    except UserError as error:
        raise UserError(f"{name}: {error}") from error
    return NetResponses(name=name, arch=arch, layers=layers, measured=measured)
