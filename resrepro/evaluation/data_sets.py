"""A data set as tests need it: views of its test images, and what its training reads, to re-estimate BN."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Protocol

import numpy as np
import torch
from torch import Tensor

from resrepro.config.recipe import Recipe, ScaleCrop
from resrepro.data.dataset import InputPipeline, Progress, silent
from resrepro.data.image_files.decoding import decode
from resrepro.data.image_files.listing import ImageFiles, ImageFolder
from resrepro.data.image_files.pipeline import streamed
from resrepro.data.image_files.pixel_mean import pixel_mean
from resrepro.data.image_files.prefetch import prefetched
from resrepro.data.in_memory.images import Images
from resrepro.data.in_memory.pipeline import InMemoryPipeline
from resrepro.errors import UserError
from resrepro.evaluation.protocol_views import BATCH_PIXELS, Piece, ProtocolViews, same_sized
from resrepro.evaluation.single_view import EVALUATION_BATCH
from resrepro.runtime.device import Compute

FILES_AT_A_TIME = 8  # that a thread cuts before it hands them over
# Of ImageNet's training set, as torchvision's weights were trained with.
IMAGENET_MEAN_STD = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
NumberedViews = Iterable[tuple[Tensor, Tensor]]


class DataSet(Protocol):
    """What is needed of a data set. `numbers` are test images; views are numbered from 0 in their order."""

    resizes: ClassVar[bool]  # whether views are cut from resized images

    @property
    def labels(self) -> Tensor: ...
    @property
    def num_classes(self) -> int: ...
    def batches(self, views: ProtocolViews, numbers: Sequence[int], compute: Compute) -> NumberedViews: ...
    def pixel_mean(self, crop: ScaleCrop, train_images: int | None) -> Tensor: ...
    def channel_mean_std(self) -> tuple[Tensor, Tensor]: ...
    def source(self, recipe: Recipe, compute: Compute) -> InputPipeline: ...


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

    def batches(self, views: ProtocolViews, numbers: Sequence[int], compute: Compute) -> NumberedViews:
        if views.protocol != "single view":
            height, width = self.images.size
            raise UserError(
                f"--protocol {views.protocol}: these images are {width}x{height} pixels, all of which the net sees: "
                "there is no larger image to cut crops from, and Sec. 4.2 tests the single view; use --protocol center"
            )
        for rows in torch.arange(len(numbers)).split(EVALUATION_BATCH[compute.device.type]):  # type: ignore[no-untyped-call]
            images = self.images.test_images[torch.tensor(numbers)[rows]]  # (N, H, W, 3)
            yield rows, images.permute(0, 3, 1, 2)[:, None]

    def pixel_mean(self, crop: ScaleCrop, train_images: int | None) -> Tensor:
        return self.images.first(train_images, "recipe").pixel_mean().permute(2, 0, 1)

    def channel_mean_std(self) -> tuple[Tensor, Tensor]:
        pixels = self.images.train_images.view(-1, 3).double() / 255
        return pixels.mean(0).float(), pixels.std(0).float()

    def source(self, recipe: Recipe, compute: Compute) -> InputPipeline:
        images = self.images.first(recipe.train_images, "recipe")
        return InMemoryPipeline(images, padding=recipe.crop_padding, device=compute.device)


class CutFiles:
    """ProtocolViews of image files; item i is those of the i-th few images."""

    def __init__(self, files: ImageFiles, numbers: Sequence[int], views: ProtocolViews) -> None:
        self.files, self.numbers, self.views = files, numbers, views

    def __len__(self) -> int:
        return -(-len(self.numbers) // FILES_AT_A_TIME)

    def __getitem__(self, item: int) -> list[Piece]:
        pieces: list[Piece] = []
        for row in range(item * FILES_AT_A_TIME, min((item + 1) * FILES_AT_A_TIME, len(self.numbers))):
            number = self.numbers[row]
            image = decode(self.files.read(number), self.files.name(number))
            pieces += ((row, cut) for cut in self.views.cut(image))
        return pieces


@dataclass(frozen=True)
class OnDisk:
    """A tree of images of any size, decoded by other threads as they are needed."""

    tree: ImageFolder
    dataset: str
    data_dir: Path
    num_workers: int
    skip_corrupt: bool = False
    progress: Progress = silent
    resizes: ClassVar[bool] = True

    @property
    def labels(self) -> Tensor:
        return torch.from_numpy(np.asarray(self.tree.test.labels))

    @property
    def num_classes(self) -> int:
        return len(self.tree.classes)

    def batches(self, views: ProtocolViews, numbers: Sequence[int], compute: Compute) -> NumberedViews:
        return same_sized(self._pieces(views, numbers), BATCH_PIXELS[compute.device.type])

    def _pieces(self, views: ProtocolViews, numbers: Sequence[int]) -> Iterator[Piece]:
        items = CutFiles(self.tree.test, numbers, views)
        for made in prefetched(items, range(len(items)), num_workers=self.num_workers):
            yield from made

    def channel_mean_std(self) -> tuple[Tensor, Tensor]:
        mean, std = map(torch.tensor, IMAGENET_MEAN_STD)
        return mean, std

    def pixel_mean(self, crop: ScaleCrop, train_images: int | None) -> Tensor:
        mean = pixel_mean(
            self.tree.train, crop, dataset=self.dataset, data_dir=self.data_dir, num_workers=self.num_workers,
            skip_corrupt=self.skip_corrupt, progress=self.progress,
        )  # fmt: skip
        return mean.permute(2, 0, 1)

    def source(self, recipe: Recipe, compute: Compute) -> InputPipeline:
        assert recipe.scale_crop is not None
        return streamed(
            self.tree, recipe.scale_crop, dataset=self.dataset, data_dir=self.data_dir, num_workers=self.num_workers,
            skip_corrupt=self.skip_corrupt, progress=self.progress, device=compute.device,
        )  # fmt: skip
