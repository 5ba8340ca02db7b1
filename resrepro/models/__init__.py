"""Build the paper's networks, ResNeXts, and nets of other code."""

from __future__ import annotations

import torch
from torch import nn

from resrepro.config.architectures import architecture
from resrepro.config.recipe import Recipe
from resrepro.models.cifar import CifarNet
from resrepro.models.imagenet import ImageNetNet
from resrepro.models.own import build_own

__all__ = ["CifarNet", "ImageNetNet", "build"]


def build(arch: str, *, num_classes: int, seed: int | None = None, recipe: Recipe | None = None) -> nn.Module:
    """Build the network `arch` with He initialization, a pure function of `seed` (None: torch's global state).

    A net of other code initializes itself.

    Args:
        recipe: says how layers are initialized; None: convolutions by fan_out, fc as PyTorch does.

    Raises:
        UserError: unknown architecture, or other code that cannot be imported or builds no net.
    """
    spec = architecture(arch)
    with torch.random.fork_rng(devices=[], enabled=seed is not None):
        if seed is not None:
            torch.manual_seed(seed)
        if spec.own:
            return build_own(arch, num_classes=num_classes)
        net = (CifarNet if spec.family == "cifar" else ImageNetNet)(spec, num_classes=num_classes)
        initialize(net, recipe)
    return net


def initialize(net: CifarNet | ImageNetNet, recipe: Recipe | None) -> None:
    """Initialize as the recipe says: convolutions by He's normal, fc last; BN starts as the identity."""
    mode = recipe.init if recipe else "fan_out"
    fc_init = recipe.fc_init if recipe else "pytorch"
    for module in net.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode=mode, nonlinearity="relu")
    if fc_init == "pytorch":  # drawn when the layer was made
        return
    if fc_init == "he":
        nn.init.kaiming_normal_(net.fc.weight, mode=mode, nonlinearity="relu")
    else:
        nn.init.normal_(net.fc.weight, std=0.01)
    nn.init.zeros_(net.fc.bias)
