"""Image files as a run reads them: other threads decode and crop ahead, the device does the rest."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from functools import cached_property
from itertools import count

import torch
from torch import Tensor

from resrepro.config.recipe import Recipe, ScaleCrop
from resrepro.data.dataset import DataOptions, Split
from resrepro.data.image_files.listing import ImageFiles, ImageFolder
from resrepro.data.image_files.prefetch import HostBatch, Items, prefetched
from resrepro.data.image_files.training_views import CenterCrops, NetInput, ScaleCropViews

BEHIND = 4  # mini-batches
AT_ONCE = {"cpu": 50, "cuda": 500}  # test images


class StaticBatch:
    """Hold the latest loaded mini-batch in tensors of the device that stay the same, as a CUDA graph needs them.

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
        self._copied: deque[torch.cuda.Event] = deque()

    def load(self, number: int, end: int | None = None) -> None:
        """Wait for the workers where they are not ahead; elsewhere than after the last one they start anew.

        Args:
            end: the mini-batch before which this pass ends; None: it goes on for as long as it is asked to.
        """
        if number == self._number:
            return
        if self._number < 0 or number != self._number + 1:
            pin = self.device.type == "cuda"
            order: Iterable[int] = count(number) if end is None else range(number, end)
            self._made = prefetched(self.items, order, num_workers=self.num_workers, pin=pin)
        made = next(self._made)
        for held, new in zip(self.batch[:4], made[:4], strict=True):
            held[: len(new)].copy_(new, non_blocking=True)
        if self.device.type == "cuda":
            self._wait()
        self._number = number

    def at(self, _iteration: Tensor) -> HostBatch:
        """Return what was loaded last."""
        return self.batch

    def _wait(self) -> None:
        """Wait until the device is at most a few mini-batches behind: what it has not copied stays in pinned memory."""
        copied = torch.cuda.Event(blocking=True)  # type: ignore[no-untyped-call]
        copied.record()
        self._copied.append(copied)
        if len(self._copied) > BEHIND:
            self._copied.popleft().synchronize()


class ImageFilePipeline:
    """Make the net's input of image files (Sec. 3.4).

    Args:
        mean: (S, S, 3) float32, 0 ... 255: of the training images' center crops.
    """

    def __init__(self, folder: ImageFolder, crop: ScaleCrop, mean: Tensor, options: DataOptions) -> None:
        self.folder, self.crop, self.options = folder, crop, options
        self.net_input = NetInput(mean, device=options.device)

    @cached_property
    def fingerprint(self) -> str:
        return self.folder.train.fingerprint()

    @property
    def train_split(self) -> Split:
        return self._split(self.folder.train, skip_corrupt=self.options.skip_corrupt)

    @property
    def test_split(self) -> Split:
        return self._split(self.folder.test)

    def _split(self, files: ImageFiles, *, skip_corrupt: bool = False) -> Split:
        """Cut the center crops."""
        size, (shorter_side, _) = self.crop.size, self.crop.shorter_side
        at_once = min(AT_ONCE[self.options.device.type], len(files))
        views = CenterCrops(
            files, image_size=size, shorter_side=shorter_side, batch_size=at_once, skip_corrupt=skip_corrupt
        )
        loaded = self._static_batch(views, at_once)

        def inputs(_index: Tensor) -> tuple[Tensor, Tensor]:
            return self.net_input.single_view(loaded.batch.images), loaded.batch.labels

        def load(start: int, end: int) -> None:
            loaded.load(start // at_once, min(-(-end // at_once), len(views)))

        return Split(num_images=len(files), inputs=inputs, load=load, at_once=at_once)

    def _static_batch(self, views: Items[HostBatch], size: int) -> StaticBatch:
        workers, device = self.options.num_workers, self.options.device
        return StaticBatch(views, size, image_size=self.crop.size, num_workers=workers, device=device)

    def views(self, recipe: Recipe, seed: int, shard: slice = slice(None)) -> StaticBatch:
        views = ScaleCropViews(
            self.folder.train,
            image_size=self.crop.size,
            shorter_side=self.crop.shorter_side,
            batch_size=recipe.batch_size,
            seed=seed,
            shard=shard,
            skip_corrupt=self.options.skip_corrupt,
        )
        return self._static_batch(views, len(range(recipe.batch_size)[shard]))

    def train(self, view: HostBatch) -> tuple[Tensor, Tensor]:
        return self.net_input.augmented(view.images, view.flip, view.alphas), view.labels
