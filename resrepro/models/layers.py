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
        bn: computes the layer's response: BN, the bias in its place, or the layer itself where BN comes before it; None
            after fc, after the first layer of a pre-activation net, and in a net of other code where the name, such as
            `bn2` for `conv2`, does not tell.
    """

    number: int
    name: str
    module: nn.Conv2d | nn.Linear
    bn: nn.Module | None


def weighted_layers(net: nn.Module) -> list[Layer]:
    """Return all weighted layers but the projections of shortcuts, which the paper does not count, and gates."""
    modules = dict(net.named_modules())

    def response(name: str) -> nn.Module | None:
        before, after = (modules.get(name.replace("conv", kind)) if "conv" in name else None for kind in ("norm", "bn"))
        return after if before is None else modules[name]

    weighted = {n: m for n, m in modules.items() if isinstance(m, nn.Conv2d | nn.Linear)}
    found = [(n, m) for n, m in weighted.items() if "downsample" not in n and not n.endswith("gate")]
    return [Layer(number=i, name=n, module=m, bn=response(n)) for i, (n, m) in enumerate(found, 1)]
