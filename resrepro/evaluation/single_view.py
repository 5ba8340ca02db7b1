"""Loss and error on one view of each image (Sec. 4.2's test)."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from resrepro.data.dataset import Split
from resrepro.models.stage import mode
from resrepro.results.records import Prediction
from resrepro.runtime.device import Compute
from resrepro.runtime.distributed import ALONE, World

EVALUATION_BATCH = {"cpu": 500, "cuda": 2000}  # images at a time; no result depends on it but by rounding
EVALUATION_BYTES = 2**30  # fewer images, where the widest layer's input, output and shortcut would take more


@dataclass(frozen=True, kw_only=True)
class LossAndError:
    """Hold the mean cross-entropy, and the top-1 error in %."""

    loss: float
    error_pct: float


class SingleView:
    """Measure the net on a whole split, BN in inference mode, and keep what it predicts for each image.

    `evaluate_chunk` reads and changes tensors on the device alone. Each process of a world measures `num_here` images,
    the next ones after those of the process before it.
    """

    def __init__(self, net: nn.Module, images: Split, compute: Compute, world: World = ALONE) -> None:
        self.net, self.images, self.compute, self.world = net, images, compute, world
        size = images.at_once or min(
            EVALUATION_BATCH[compute.device.type], -(-images.num_images // world.size), num_that_fit(net, images)
        )
        self.num_chunks = -(-images.num_images // (size * world.size))  # as many in each process
        self.first = world.rank * self.num_chunks * size
        self.num_here = min(max(images.num_images - self.first, 0), self.num_chunks * size)
        self.offsets = torch.arange(size, device=compute.device)
        self.start = torch.zeros((), dtype=torch.int64, device=compute.device)
        self.totals = torch.zeros(2, dtype=torch.float64, device=compute.device)  # loss, number of wrong answers
        # predicted class and label of each image; positions past the end share the last place
        self.classes = torch.zeros(2, images.num_images + 1, dtype=torch.int64, device=compute.device)

    @torch.no_grad()
    def evaluate_chunk(self) -> None:
        """Add the next images; those past the end do not count."""
        position = self.start + self.offsets
        inside = position < self.images.num_images
        x, y = self.images.inputs(position.clamp(max=self.images.num_images - 1))
        with self.compute.autocast():
            logits = self.net(x)
        logits = logits.float()
        loss = F.cross_entropy(logits, y, reduction="none").masked_fill(~inside, 0)
        predicted = logits.argmax(1)
        wrong = (predicted != y) & inside
        self.classes.index_copy_(1, position.clamp(max=self.images.num_images), torch.stack((predicted, y)))
        self.totals += torch.stack((loss.sum(dtype=torch.float64), wrong.sum(dtype=torch.float64)))
        self.start += len(self.offsets)

    def measure(
        self, evaluate_chunk: Callable[[], None] | None = None, check_stop: Callable[[], None] = lambda: None
    ) -> LossAndError:
        """Return loss and error; the net is left in the mode that it was found in.

        Args:
            evaluate_chunk: what to call in place of `evaluate_chunk`, such as a captured graph of it.
            check_stop: called before each chunk; may raise to stop.
        """
        self.start.fill_(self.first)
        self.totals.zero_()
        self.classes.zero_()
        with mode(self.net, training=False):
            for number in range(self.num_chunks):
                check_stop()
                self.images.load(self._loaded(number), self.first + self.num_chunks * len(self.offsets))
                (evaluate_chunk or self.evaluate_chunk)()
        self.world.all_reduce_sum(self.totals)
        loss, wrong = self.totals.tolist()
        num_images = self.images.num_images
        return LossAndError(loss=loss / num_images, error_pct=100 * wrong / num_images)

    def predictions(self) -> Tensor:
        """Return the predicted class and the label of each image, (2, N) int64 on the CPU, of the last `measure`.

        All processes of the world must call it.
        """
        classes = self.classes[:, : self.images.num_images].clone()  # zeros where another process measured
        self.world.all_reduce_sum(classes)
        return classes.cpu()

    def _loaded(self, number: int) -> int:
        """Return the first image of a chunk; of the split's last chunk where none is left for this process."""
        size = len(self.offsets)
        return min(self.first + number * size, (self.images.num_images - 1) // size * size)


def bytes_alive(largest: int) -> int:
    """Return the bytes of an image in the layer with `largest` outputs: input, output and shortcut, fp32."""
    return 3 * 4 * largest


@torch.no_grad()
def num_that_fit(net: nn.Module, images: Split) -> int:
    """Return how many images the net can be given at once, so that `EVALUATION_BYTES` hold what is alive in a layer."""
    largest = 1

    def note(_module: nn.Module, _inputs: object, output: object) -> None:
        nonlocal largest
        if isinstance(output, Tensor):
            largest = max(largest, output.numel())

    with mode(net, training=False), ExitStack() as hooks:
        for module in net.modules():
            hooks.callback(module.register_forward_hook(note).remove)
        net(images.inputs(torch.zeros(1, dtype=torch.int64, device=next(net.parameters()).device))[0])
    return max(1, EVALUATION_BYTES // bytes_alive(largest))


def prediction_rows(moving: Tensor, bn_averaged: Tensor) -> list[Prediction]:
    """Return the rows of `predictions.csv`.

    Args:
        moving, bn_averaged: what `SingleView.predictions` returned with BN's moving averages, and with averaged ones.
    """
    (with_moving, labels), with_averaged = moving.tolist(), bn_averaged[0].tolist()
    rows = enumerate(zip(labels, with_moving, with_averaged, strict=True))
    return [Prediction(image=i, label=label, moving=m, bn_averaged=a) for i, (label, m, a) in rows]
