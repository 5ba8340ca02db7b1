"""Build the paper's networks, and ResNeXts."""

from __future__ import annotations

import torch
from torch import nn

from resrepro.config.architectures import architecture
from resrepro.models.cifar import CifarNet
from resrepro.models.imagenet import ImageNetNet

__all__ = ["CifarNet", "ImageNetNet", "build"]


def build(arch: str, *, num_classes: int, seed: int | None = None) -> CifarNet | ImageNetNet:
    """Build the network `arch` with He initialization.

    Args:
        seed: decides the initial weights; None: torch's global state does.

    Raises:
        UserError: unknown architecture.
    """
    spec = architecture(arch)
    with torch.random.fork_rng(devices=[], enabled=seed is not None):
        if seed is not None:
            torch.manual_seed(seed)
        net = (CifarNet if spec.family == "cifar" else ImageNetNet)(spec, num_classes=num_classes)
        initialize(net)
    return net


def initialize(net: nn.Module) -> None:
    """Initialize convolutions from He's normal distribution with fan_out; BN starts as the identity, fc as in torch."""
    for module in net.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
