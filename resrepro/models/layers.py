"""List the weighted layers of a net, numbered as the paper counts them."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn


@dataclass(frozen=True, kw_only=True)
class Layer:
    """Describes a convolution or fc.

    Args:
        number: from 1, in the order of the forward pass.
        name: its name in the net, such as `layer1.0.conv2`.
        bn: computes the layer's response: BN, or the bias in its place; None after fc, and in a net of other code where
            the name, such as `bn2` for `conv2`, does not tell.
    """

    number: int
    name: str
    module: nn.Conv2d | nn.Linear
    bn: nn.Module | None


def weighted_layers(net: nn.Module) -> list[Layer]:
    """Return all weighted layers but the projections of shortcuts, which the paper does not count."""
    modules = dict(net.named_modules())
    found = [(n, m) for n, m in modules.items() if isinstance(m, nn.Conv2d | nn.Linear) and "downsample" not in n]
    return [
        Layer(number=i, name=n, module=m, bn=modules.get(n.replace("conv", "bn")) if "conv" in n else None)
        for i, (n, m) in enumerate(found, 1)
    ]
