"""One training step on a device: mini-batch, forward, loss, backward, SGD."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from resrepro.data.batches import Batches, ViewStream
from resrepro.device import Compute
from resrepro.evaluation.batch_norm import reestimated
from resrepro.evaluation.single_view import EVALUATION_BATCH, Measured, measure
from resrepro.experiment import Recipe
from resrepro.models.bn_relu import enable_fused

BN_REESTIMATION_BATCHES = 100


@dataclass(frozen=True, kw_only=True)
class Totals:
    """Sums over the mini-batches since the start, as trained. `loss` is the sum over images."""

    loss: float
    num_wrong: float
    num_images: float

    def since(self, start: Totals) -> tuple[float, float]:
        """(mean loss, error in %) of the mini-batches between two totals."""
        n = self.num_images - start.num_images
        return (self.loss - start.loss) / n, 100 * (self.num_wrong - start.num_wrong) / n


class EagerEngine:
    """The step on CPU or CUDA: channels-last, autocast, fused SGD, on the CPU fused BN and ReLU.

    Nothing is read back to the host. `unfused` says why BN and ReLU are not fused, empty if they are.

    Args:
        net: is moved to the device; its weights stay fp32.
    """

    def __init__(
        self,
        net: nn.Module,
        batches: Batches,
        recipe: Recipe,
        *,
        num_train_images: int,
        seed: int,
        compute: Compute,
    ) -> None:
        self.compute = compute
        self.batches = batches
        self.views = ViewStream(
            num_images=num_train_images, batch_size=recipe.batch_size, padding=recipe.crop_padding, seed=seed
        )
        self.total_iters = recipe.total_iters
        self.unfused = enable_fused() if compute.device.type == "cpu" else "it is a kernel for CPUs"
        self.net = net.to(compute.device, memory_format=torch.channels_last).train()  # type: ignore[call-overload]
        self.optimizer = torch.optim.SGD(
            self.net.parameters(),
            lr=recipe.lr,
            momentum=recipe.momentum,
            weight_decay=recipe.weight_decay,
            nesterov=False,
            fused=True,
        )
        self._totals = torch.zeros(3, dtype=torch.float64, device=compute.device)

    # Differs from the paper: BN sees the whole mini-batch, not the 64 images of one of two GPUs; the momentum is
    # PyTorch's v = m v + g, w -= lr v, not Caffe's, which matters where the learning rate drops.
    def step(self, iteration: int, lr: float) -> None:
        """Mini-batch `iteration`, counted from 0, at learning rate `lr`."""
        x, y = self.batches.train(self.views.batch(iteration).to(self.compute.device))
        with self.compute.autocast():
            logits = self.net(x)
        logits = logits.float()
        loss = F.cross_entropy(logits, y)
        self.optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimizer.param_groups[0]["lr"] = lr
        self.optimizer.step()
        with torch.no_grad():
            wrong = (logits.argmax(1) != y).sum()
            num_images = torch.full_like(loss, len(y), dtype=torch.float64)
            self._totals += torch.stack((loss.double() * num_images, wrong.double(), num_images))

    def totals(self) -> Totals:
        loss, wrong, images = self._totals.tolist()
        return Totals(loss=loss, num_wrong=wrong, num_images=images)

    def test(self) -> Measured:
        """The test set, single view, BN's moving averages."""
        return measure(self.net, self.batches.test(EVALUATION_BATCH), self.compute)

    def test_bn_reestimated(self) -> Measured:
        """The test set with BN statistics averaged over the mini-batches that would have come next."""
        with reestimated(self.net, self._next_inputs(), self.compute):
            return self.test()

    def clean_train(self) -> Measured:
        """The training set without augmentation, BN's moving averages."""
        return measure(self.net, self.batches.clean_train(EVALUATION_BATCH), self.compute)

    def _next_inputs(self) -> Iterator[Tensor]:
        for i in range(self.total_iters, self.total_iters + BN_REESTIMATION_BATCHES):
            yield self.batches.train(self.views.batch(i).to(self.compute.device))[0]

    @property
    def arithmetic(self) -> dict[str, Any]:
        """What decides how results are rounded: a run ends in the arithmetic it began in."""
        return {
            "device": self.compute.device.type,
            "precision": self.compute.precision,
            "kernels": "torch" if self.unfused else "fused",
        }

    def state_dict(self) -> dict[str, Any]:
        return {
            "model": self.net.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "totals": self._totals,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.net.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self._totals.copy_(state["totals"])
