"""Update weights by SGD with momentum (Sec. 3.4), as the recipe says where the paper is silent."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from resrepro.config.recipe import Recipe


class MomentumSGD(torch.optim.SGD):
    """Updates v = m v + g, w -= lr v, with weight decay in g for the parameters that `recipe.decay` names.

    Where the paper is silent: this momentum is PyTorch's, not that of Caffe, which the author's repository uses; they
    differ where the learning rate drops (momentum_form = "caffe").

    Args:
        net: on its device.
        lr: learning rate, a scalar tensor on that device, which the caller changes.
    """

    def __init__(self, net: nn.Module, recipe: Recipe, lr: Tensor) -> None:
        super().__init__(_groups(net, recipe), lr=recipe.lr, momentum=recipe.momentum, nesterov=False, fused=True)
        self._params, self._caffe = list(net.parameters()), recipe.momentum_form == "caffe"
        for group in self.param_groups:
            group["lr"] = lr
        for p in self._params:  # v = 0 is how torch begins; here, so that each step is the same work
            self.state[p]["momentum_buffer"] = torch.zeros_like(p)

    def velocities(self) -> list[Tensor]:
        """Return v of each parameter of the net, in its order; each of its parameter's shape."""
        return [self.state[p]["momentum_buffer"] for p in self._params]

    def rate_changed(self, before: float, now: float) -> None:
        """Let Caffe's momentum, which is lr times PyTorch's, stay as it was."""
        if self._caffe:
            for v in self.velocities():
                v.mul_(before / now)


def _groups(net: nn.Module, recipe: Recipe) -> list[dict[str, object]]:
    """Divide the parameters into those that decay and the rest: vectors are BN's and biases, fc's weight a matrix."""
    fewest_dimensions = {"all": 1, "weights": 2, "convolutions": 4}[recipe.decay]
    decaying = [p for p in net.parameters() if p.ndim >= fewest_dimensions]
    rest = [p for p in net.parameters() if p.ndim < fewest_dimensions]
    groups: list[dict[str, object]] = [
        {"params": decaying, "weight_decay": recipe.weight_decay},
        {"params": rest, "weight_decay": 0.0},
    ]
    return [group for group in groups if group["params"]]
