"""Image files as a run reads them: other threads decode and crop ahead, the device does the rest."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from functools import cached_property
from itertools import count
from pathlib import Path

import torch
from torch import Tensor

from resrepro.config.recipe import Recipe, ScaleCrop
from resrepro.data.dataset import Progress, Split
from resrepro.data.image_files.listing import ImageFiles, ImageFolder
from resrepro.data.image_files.pixel_mean import pixel_mean
from resrepro.data.image_files.prefetch import HostBatch, Items, prefetched
from resrepro.data.image_files.training_views import CenterCrops, NetInput, ScaleCropViews

BEHIND = 4  # mini-batches
AT_ONCE = {"cpu": 50, "cuda": 500}  # test images


class StaticBatch:
    """The latest loaded mini-batch, in tensors of the device that stay the same, so that a recording may read them.

    Args:
        items: mini-batches, of `size` images or, at the end of a set, fewer.
    """

    def __init__(
        self, items: Items[HostBatch], size: int, *, image_size: int, num_workers: int, device: torch.device
    ) -> None:
        self.items, self.num_workers, self.device = items, num_workers, device
        images = torch.zeros(size, 3, image_size, image_size, dtype=torch.uint8, device=device)
        self.batch = HostBatch(
            images=images.contiguous(memory_format=torch.channels_last),
            labels=torch.zeros(size, dtype=torch.int64, device=device),
            flip=torch.zeros(size, dtype=torch.bool, device=device),
            alphas=torch.zeros(size, 3, device=device),
        )
        self._made: Iterator[HostBatch] = iter(())
        self._number = -1
        self._next = 0  # what comes next of `_made`
        self._copied: deque[torch.cuda.Event] = deque()

    def load(self, number: int, end: int | None = None) -> None:
        """Waits for the workers where they are not ahead; elsewhere than after the last one they start anew.

        Args:
            end: the mini-batch before which this pass ends; None: it goes on for as long as it is asked to.
        """
        if number == self._number:
            return
        if number != self._next or self._number < 0:
            pin = self.device.type == "cuda"
            order: Iterable[int] = count(number) if end is None else range(number, end)
            self._made = prefetched(self.items, order, num_workers=self.num_workers, pin=pin)
        made = next(self._made)
        for held, new in zip(self.batch[:4], made[:4], strict=True):
            held[: len(new)].copy_(new, non_blocking=True)
        if self.device.type == "cuda":
            self._wait()
        self._number, self._next = number, number + 1

    def _wait(self) -> None:
        """Until the device is at most a few mini-batches behind: what it has not copied yet stays in pinned memory."""
        copied = torch.cuda.Event(blocking=True)  # type: ignore[no-untyped-call]
        copied.record()
        self._copied.append(copied)
        if len(self._copied) > BEHIND:
            self._copied.popleft().synchronize()


class StreamedViews:
    """The training views of one run."""

    def __init__(self, loaded: StaticBatch) -> None:
        self._loaded = loaded

    def load(self, iteration: int) -> None:
        self._loaded.load(iteration)

    def at(self, _iteration: Tensor) -> HostBatch:
        return self._loaded.batch


class ImageFilePipeline:
    """Image files, and the network's input made of them (Sec. 3.4).

    Args:
        mean: (S, S, 3) float32, 0 ... 255: of the training images' center crops.
        num_workers: threads that decode for a run; 0: what needs an image decodes it.
        skip_corrupt: whether another training image stands for one that cannot be decoded; tests have all images.
    """

    def __init__(
        self,
        tree: ImageFolder,
        crop: ScaleCrop,
        *,
        mean: Tensor,
        num_workers: int,
        skip_corrupt: bool,
        device: torch.device,
    ) -> None:
        self.tree, self.crop, self.num_workers, self.skip_corrupt = tree, crop, num_workers, skip_corrupt
        self.device = device
        self.net_input = NetInput(mean, device=device)

    @cached_property
    def fingerprint(self) -> str:
        return self.tree.train.fingerprint()

    @property
    def train_split(self) -> Split:
        return self._part(self.tree.train, skip_corrupt=self.skip_corrupt)

    @property
    def test_split(self) -> Split:
        return self._part(self.tree.test)

    def _part(self, files: ImageFiles, *, skip_corrupt: bool = False) -> Split:
        """Center crops."""
        size, (shorter_side, _) = self.crop.size, self.crop.shorter_side
        at_once = min(AT_ONCE[self.device.type], len(files))
        views = CenterCrops(
            files, image_size=size, shorter_side=shorter_side, batch_size=at_once, skip_corrupt=skip_corrupt
        )
        loaded = StaticBatch(views, at_once, image_size=size, num_workers=self.num_workers, device=self.device)

        def inputs(_index: Tensor) -> tuple[Tensor, Tensor]:
            return self.net_input.single_view(loaded.batch.images), loaded.batch.labels

        def load(start: int, end: int) -> None:
            loaded.load(start // at_once, min(-(-end // at_once), len(views)))

        return Split(num_images=len(files), inputs=inputs, load=load, at_once=at_once)

    def views(self, recipe: Recipe, seed: int, shard: slice = slice(None)) -> StreamedViews:
        views = ScaleCropViews(
            self.tree.train,
            image_size=self.crop.size,
            shorter_side=self.crop.shorter_side,
            batch_size=recipe.batch_size,
            seed=seed,
            shard=shard,
            skip_corrupt=self.skip_corrupt,
        )
        size = len(range(recipe.batch_size)[shard])
        return StreamedViews(
            StaticBatch(views, size, image_size=self.crop.size, num_workers=self.num_workers, device=self.device)
        )

    def train(self, view: HostBatch) -> tuple[Tensor, Tensor]:
        return self.net_input.augmented(view.images, view.flip, view.alphas), view.labels


def streamed(
    tree: ImageFolder,
    crop: ScaleCrop,
    *,
    dataset: str,
    data_dir: Path,
    num_workers: int,
    skip_corrupt: bool,
    progress: Progress,
    device: torch.device,
) -> ImageFilePipeline:
    """The mini-batches of a data set, with its mean. Raises as `pixel_mean` does."""
    mean = pixel_mean(
        tree.train, crop, dataset=dataset, data_dir=data_dir, num_workers=num_workers, skip_corrupt=skip_corrupt,
        progress=progress,
    )  # fmt: skip
    return ImageFilePipeline(tree, crop, mean=mean, num_workers=num_workers, skip_corrupt=skip_corrupt, device=device)
