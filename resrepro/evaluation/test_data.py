"""A data set as tests need it: views of its test images, and training mini-batches to re-estimate BN on."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar, Protocol

import numpy as np
import torch
from torch import Tensor

from resrepro.data.batches import Batches, ViewStream
from resrepro.data.decoding import decode
from resrepro.data.images import Images
from resrepro.data.scale_crops import prefetched
from resrepro.data.trees import ImageFiles, ImageTree
from resrepro.device import Compute
from resrepro.errors import UserError
from resrepro.evaluation.crops import Views
from resrepro.evaluation.protocols import BATCH_PIXELS, Piece, same_sized
from resrepro.evaluation.single_view import EVALUATION_BATCH
from resrepro.experiment import Recipe

FILES_AT_A_TIME = 8  # that a worker cuts, so that what it hands over stays below 64 MiB of shared memory
# Of ImageNet's training set, as torchvision's weights were trained with.
IMAGENET_MEAN_STD = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
NumberedViews = Iterable[tuple[Tensor, Tensor]]


class TestData(Protocol):
    """What is needed of a data set. `numbers` are test images; views are numbered from 0 in their order."""

    resizes: ClassVar[bool]  # whether views are cut from resized images

    @property
    def labels(self) -> Tensor: ...
    @property
    def num_classes(self) -> int: ...
    def batches(self, views: Views, numbers: Sequence[int], compute: Compute) -> NumberedViews: ...
    def pixel_mean(self, image_size: int) -> Tensor: ...
    def channel_mean_std(self) -> tuple[Tensor, Tensor]: ...
    def mini_batches(self, recipe: Recipe, *, seed: int, iterations: range, compute: Compute) -> Iterator[Tensor]: ...


@dataclass(frozen=True)
class InMemory:
    """Small equal-sized images: their only test is the single view, which is the image itself (Sec. 4.2)."""

    images: Images
    resizes: ClassVar[bool] = False

    @property
    def labels(self) -> Tensor:
        return self.images.test_labels

    @property
    def num_classes(self) -> int:
        return self.images.num_classes

    def batches(self, views: Views, numbers: Sequence[int], compute: Compute) -> NumberedViews:
        if views.protocol != "single view":
            height, width = self.images.size
            raise UserError(
                f"--protocol {views.protocol}: these images are {width}x{height} pixels, all of which the net sees: "
                "there is no larger image to cut crops from, and Sec. 4.2 tests the single view; use --protocol center"
            )
        for rows in torch.arange(len(numbers)).split(EVALUATION_BATCH[compute.device.type]):
            images = self.images.test_images[torch.tensor(numbers)[rows]]  # (N, H, W, 3)
            yield rows, images.permute(0, 3, 1, 2)[:, None]

    def pixel_mean(self, image_size: int) -> Tensor:
        return self.images.pixel_mean().permute(2, 0, 1)

    def channel_mean_std(self) -> tuple[Tensor, Tensor]:
        pixels = self.images.train_images.view(-1, 3).double() / 255
        return pixels.mean(0).float(), pixels.std(0).float()

    def mini_batches(self, recipe: Recipe, *, seed: int, iterations: range, compute: Compute) -> Iterator[Tensor]:
        images = self.images.first(recipe.train_images, "recipe")
        batches = Batches(images, padding=recipe.crop_padding, device=compute.device)
        stream = ViewStream(
            num_images=len(images.train_labels),
            batch_size=recipe.batch_size,
            padding=recipe.crop_padding,
            seed=seed,
            device=compute.device,
        )
        for iteration in iterations:
            stream.load(iteration)
            yield batches.train(stream.at(torch.tensor(iteration, device=compute.device)))[0]


class CutFiles:
    """Views of image files, as workers make them: item i is the i-th few images."""

    def __init__(self, files: ImageFiles, numbers: Sequence[int], views: Views) -> None:
        self.files, self.numbers, self.views = files, numbers, views

    def __len__(self) -> int:
        return -(-len(self.numbers) // FILES_AT_A_TIME)

    def __getitem__(self, item: int) -> tuple[Tensor, list[tuple[int, Sequence[int]]]]:
        """All bytes in one tensor, for each tensor handed over costs a file descriptor; and whose and what they are."""
        pieces: list[Piece] = []
        for row in range(item * FILES_AT_A_TIME, min((item + 1) * FILES_AT_A_TIME, len(self.numbers))):
            number = self.numbers[row]
            image = decode(self.files.read(number), self.files.name(number))
            pieces += ((row, cut) for cut in self.views.cut(image))
        return torch.cat([cut.flatten() for _, cut in pieces]), [(row, cut.shape) for row, cut in pieces]


@dataclass(frozen=True)
class OnDisk:
    """A tree of images of any size, decoded by workers as they are needed."""

    tree: ImageTree
    num_workers: int
    resizes: ClassVar[bool] = True

    @property
    def labels(self) -> Tensor:
        return torch.from_numpy(np.asarray(self.tree.test.labels))

    @property
    def num_classes(self) -> int:
        return len(self.tree.classes)

    def batches(self, views: Views, numbers: Sequence[int], compute: Compute) -> NumberedViews:
        return same_sized(self._pieces(views, numbers), BATCH_PIXELS[compute.device.type])

    def _pieces(self, views: Views, numbers: Sequence[int]) -> Iterator[Piece]:
        items = CutFiles(self.tree.test, numbers, views)
        for pixels, pieces in prefetched(items, range(len(items)), num_workers=self.num_workers, pin=False):
            parts = pixels.split([math.prod(shape) for _, shape in pieces])
            for (row, shape), part in zip(pieces, parts, strict=True):
                yield row, part.view(*shape).clone()  # what waits for its batch does not hold the worker's memory

    def channel_mean_std(self) -> tuple[Tensor, Tensor]:
        mean, std = map(torch.tensor, IMAGENET_MEAN_STD)
        return mean, std

    def pixel_mean(self, image_size: int) -> Tensor:
        return torch.full((3, image_size, image_size), 120.0)

    def mini_batches(self, recipe: Recipe, *, seed: int, iterations: range, compute: Compute) -> Iterator[Tensor]:
        raise NotImplementedError
