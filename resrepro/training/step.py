"""Train one step on a device: mini-batch, forward, loss, backward, SGD.

The step is written once. It reads and changes tensors on the device alone, the iteration and the learning rate among
them, so that CUDA can capture it and repeat it in one launch; the host acts where an epoch or a rate begins.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from resrepro.config.recipe import Recipe
from resrepro.data.dataset import InputPipeline, mini_batch
from resrepro.evaluation.batch_norm import bn_momentum, reestimated, training_inputs
from resrepro.evaluation.gradients import Norms, gradient_norms, response_stds
from resrepro.evaluation.single_view import LossAndError, SingleView
from resrepro.models import stage
from resrepro.results.records import NORMS_BATCHES
from resrepro.runtime.device import Compute
from resrepro.runtime.distributed import ALONE, World
from resrepro.training.cuda_graph import capture, captured_call
from resrepro.training.execution import FASTEST, Execution, Preparation
from resrepro.training.ghost_batch_norm import GhostBatchNorm
from resrepro.training.sgd import MomentumSGD


@dataclass(frozen=True, kw_only=True)
class Totals:
    """Holds sums over the mini-batches since the start, as trained. `loss` is the sum over images."""

    loss: float
    num_wrong: float
    num_images: float

    def since(self, start: Totals) -> tuple[float, float]:
        """Return the mean loss and the error in % of the mini-batches between two totals."""
        n = self.num_images - start.num_images
        return (self.loss - start.loss) / n, 100 * (self.num_wrong - start.num_wrong) / n


def loss_and_sums(logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Return the mean cross-entropy loss of logits (N, classes), and what a mini-batch adds to the totals.

    Returns:
        The loss, () float32; its sum over images, the number of wrong ones and that of all, (3,) float64.
    """
    logits = logits.float()
    loss = F.cross_entropy(logits, labels)
    with torch.no_grad():
        wrong = (logits.argmax(1) != labels).sum()
        num_images = torch.full_like(loss, len(labels), dtype=torch.float64)
        return loss, torch.stack((loss.double() * num_images, wrong.double(), num_images))


class Engine:
    """Computes steps: channels-last, autocast, fused SGD; fused BN and ReLU on the CPU, compiled and captured on CUDA.

    `notes` are lines for the user, such as what the machine lacks to be as fast as it could be.

    Args:
        net: is moved to the device; its weights stay fp32.
        batches: the dataset and its mini-batches, on the same device.
        seed: decides the order of the images and their augmentation.
        world: each of its processes computes its shard of each mini-batch; `recipe.batch_size` is that of all.
    """

    def __init__(
        self,
        net: nn.Module,
        batches: InputPipeline,
        recipe: Recipe,
        *,
        seed: int,
        compute: Compute,
        execution: Execution = FASTEST,
        world: World = ALONE,
    ) -> None:
        self.compute, self.batches, self.execution, self.world = compute, batches, execution, world
        self.recipe = recipe
        self.views = self._whole_views = batches.views(recipe, seed)
        if world.size > 1:
            self.views = batches.views(recipe, seed, world.shard(recipe.batch_size))
        self.net = compute.move(net).train()
        self._iteration = torch.zeros((), dtype=torch.int64, device=compute.device)
        self._lr = torch.full((), recipe.lr, device=compute.device)
        self._totals = torch.zeros(3, dtype=torch.float64, device=compute.device)
        self._next, self._lr_now = 0, recipe.lr  # what the two tensors hold
        self.optimizer = MomentumSGD(self.net, recipe, self._lr)
        self.ghost_batch_norm = GhostBatchNorm(self.net, recipe.bn_devices // world.size)
        self.single_view = SingleView(self.net, batches.test_split, compute, world)
        self.clean_view = SingleView(self.net, batches.train_split, compute, world)
        self._work: Callable[[], None] = self._step
        self._test_chunk: Callable[[], None] = self.single_view.evaluate_chunk
        self._bn_forward: Callable[[Tensor], object] | None = None  # of the net, where it is captured
        self._forward: nn.Module = self.ghost_batch_norm
        self._prepare()
        self._forward = world.wrap_ddp(self.ghost_batch_norm)

    def _prepare(self) -> None:
        self._preparation = preparation = Preparation(self.net, self.compute, self.execution, self.world)
        preparation.choose_kernels(self._warm_up)
        preparation.capture(self._capture)
        self.kernels, self.notes = preparation.kernels, preparation.notes

    def _warm_up(self) -> None:
        with stage.restoring(self._changed()):
            self._gradients()

    def _capture(self) -> None:
        work, pool = capture(self._step, self._changed())
        with stage.mode(self.net, training=False):
            test = capture(self.single_view.evaluate_chunk, [self.single_view.start, self.single_view.totals], pool)[0]
        if self.recipe.bn_average_batches is not None:
            self._bn_forward = self._captured_bn_forward(pool)
        self._work, self._test_chunk = work, test

    @torch.no_grad()
    def _captured_bn_forward(self, pool: Any) -> Callable[[Tensor], None]:
        """Return the forward pass on one of the parts that BN sees alone, which leaves their statistics in BN."""
        x = mini_batch(self.batches, self.views, self._iteration)[0]  # whatever they hold: only the shape matters

        def forward(part: Tensor) -> None:
            with self.compute.autocast():
                self.net(part)

        with bn_momentum(self.net, 1.0):
            return captured_call(forward, x.chunk(self.ghost_batch_norm.count)[0], pool)

    def _changed(self) -> list[Tensor]:
        """Return all tensors that a step changes."""
        return [
            *self.net.parameters(),
            *self.net.buffers(),
            *self.optimizer.velocities(),
            self._totals,
            self._iteration,
        ]

    def step(self, iteration: int, lr: float) -> None:
        """Train on mini-batch `iteration`, counted from 0, at learning rate `lr`. Does not wait for the device."""
        self.views.load(iteration)
        if iteration != self._next:
            self._iteration.fill_(iteration)
        if lr != self._lr_now:
            self._lr.fill_(lr)
            self.optimizer.rate_changed(self._lr_now, lr)
        self._work()
        self._next, self._lr_now = iteration + 1, lr

    # Differs from the paper, by default: BN sees the whole mini-batch, not the 64 images of one of two GPUs
    # (bn_devices = 2).
    def _step(self) -> None:
        sums = self._gradients()
        self.optimizer.step()
        with torch.no_grad():
            self.world.all_reduce_sum(sums)
            self.world.all_reduce_mean(self.ghost_batch_norm.averages)
            self._totals += sums
            self._iteration += 1

    def _gradients(self) -> Tensor:
        """Compute mini-batch, forward, loss and backward; return what is added to the totals: (3,) float64."""
        call = self._preparation.call
        x, y = call(mini_batch, self.batches, self.views, self._iteration)
        with self.compute.autocast():
            logits = self._forward(x)
        loss, sums = call(loss_and_sums, logits, y)
        self.optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        return sums

    def totals(self) -> Totals:
        """Return the totals. Waits for the device."""
        loss, wrong, images = self._totals.tolist()
        return Totals(loss=loss, num_wrong=wrong, num_images=images)

    def test(self, check_stop: Callable[[], None] = lambda: None) -> LossAndError:
        """Test on a single view of each test image, with BN's moving averages. `check_stop`: see `test_bn_averaged`."""
        return self.single_view.measure(self._test_chunk, check_stop)

    def test_bn_averaged(
        self, iteration: int, num_batches: int, check_stop: Callable[[], None] = lambda: None
    ) -> LossAndError:
        """Measure the test set with BN's statistics averaged over `num_batches` mini-batches from `iteration` on.

        The net is left as it was, to the bit.

        Args:
            check_stop: is called before each part of the work, and may raise to stop.
        """
        inputs = training_inputs(
            self.batches, self.views, range(iteration, iteration + num_batches), self.compute.device,
            num_parts=self.ghost_batch_norm.count, check_stop=check_stop,
        )  # fmt: skip
        with reestimated(self.net, inputs, self.compute, self._bn_forward):
            # each process averages over as many parts, so the mean of these averages is that over all parts
            self.world.all_reduce_mean(self.ghost_batch_norm.averages)
            return self.single_view.measure(self._test_chunk, check_stop)

    def clean_train(self, check_stop: Callable[[], None]) -> LossAndError:
        """Test on the training images without augmentation, with BN's moving averages.

        Args:
            check_stop: is called before each part of the work, and may raise to stop.
        """
        return self.clean_view.measure(check_stop=check_stop)

    def gradient_norms(self) -> list[Norms]:
        """Return the norms of each layer's gradient and weights, on the same mini-batches at each call; change nothing.

        BN sees the parts of a mini-batch that it sees in training.
        """
        return gradient_norms(self.net, self._parts(), self.compute)

    def response_stds(self) -> dict[int, float]:
        """Return the deviation of each 3x3 layer's response by its number, on the same mini-batches; change nothing."""
        return response_stds(self.net, [x.clone() for x, _ in self._parts()], self.compute)

    def _parts(self) -> Iterator[tuple[Tensor, Tensor]]:
        for i in range(NORMS_BATCHES):
            x, y = self.mini_batch(i)
            yield from zip(*(t.chunk(self.recipe.bn_devices) for t in (x, y)), strict=True)

    def mini_batch(self, iteration: int) -> tuple[Tensor, Tensor]:
        """Return the augmented mini-batch of all processes: inputs (N, 3, H, W) and labels (N,)."""
        self._whole_views.load(iteration)
        return mini_batch(self.batches, self._whole_views, torch.tensor(iteration, device=self.compute.device))

    @property
    def arithmetic(self) -> dict[str, Any]:
        """Return what decides how results are rounded: a run ends in the arithmetic it began in."""
        return {"device": self.compute.device.type, "precision": self.compute.precision, "kernels": self.kernels}

    def state_dict(self) -> dict[str, Any]:
        """Return weights, BN averages, momenta, learning rate and totals."""
        names = [name for name, _ in self.net.named_parameters()]
        return {
            "model": self.net.state_dict(),
            "momentum": dict(zip(names, self.optimizer.velocities(), strict=True)),
            "lr": self._lr_now,
            "totals": self._totals,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Put back what `state_dict` returned, in place: a captured graph goes on reading the same tensors."""
        self.net.load_state_dict(state["model"])
        for (name, _), velocity in zip(self.net.named_parameters(), self.optimizer.velocities(), strict=True):
            velocity.copy_(state["momentum"][name])
        self._lr_now = state.get("lr", self._lr_now)  # older checkpoints: PyTorch's momentum does not depend on it
        self._lr.fill_(self._lr_now)
        self._totals.copy_(state["totals"])
