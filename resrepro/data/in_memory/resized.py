"""Photographs of any size, made small squares, and kept in memory."""

from __future__ import annotations

import torch
from torch import Tensor

from resrepro.data.dataset import DataOptions
from resrepro.data.image_files.decoding import center_view, decoded
from resrepro.data.image_files.listing import ImageFiles, ImageFolder
from resrepro.data.image_files.prefetch import prefetched
from resrepro.data.in_memory.images import Images
from resrepro.errors import UserError
from resrepro.runtime.machine import num_cores

CHUNK = 256  # images that a thread hands over at once


def read(folder: ImageFolder, side: int, options: DataOptions) -> Images:
    """Read a dataset of image files into memory, each image as a square; progress is told.

    Raises:
        UserError: an image cannot be decoded; of the training images, only where such are not to be left out.
    """
    train_images, train_labels = _read(folder.train, side, options, "train", skip_corrupt=options.skip_corrupt)
    test_images, test_labels = _read(folder.test, side, options, "test", skip_corrupt=False)
    return Images(
        train_images=train_images,
        train_labels=train_labels,
        test_images=test_images,
        test_labels=test_labels,
        num_classes=len(folder.classes),
    )


def _read(
    files: ImageFiles, side: int, options: DataOptions, split: str, *, skip_corrupt: bool
) -> tuple[Tensor, Tensor]:
    """Return (N, S, S, 3) uint8 and labels (N,) of those that can be decoded."""
    images, kept = [], list[int]()
    squares = _Squares(files, side, skip_corrupt)
    for of_chunk, indices in prefetched(squares, range(-(-len(files) // CHUNK)), num_workers=num_cores()):
        images.append(of_chunk)
        kept += indices
        options.progress(f"{split} images resized", min(len(images) * CHUNK, len(files)), len(files))
    if not kept:
        raise UserError(f"{files.folder}: not one readable image")
    return torch.cat(images), torch.from_numpy(files.labels[kept])


class _Squares:
    """Make chunk i, (n, S, S, 3) uint8, with the numbers of its images: item i."""

    def __init__(self, files: ImageFiles, side: int, skip_corrupt: bool) -> None:
        self.files, self.side, self.skip_corrupt = files, side, skip_corrupt

    def __getitem__(self, chunk: int) -> tuple[Tensor, list[int]]:
        kept = list[int]()
        images = torch.empty(CHUNK, self.side, self.side, 3, dtype=torch.uint8)
        indices = range(len(self.files))[chunk * CHUNK : (chunk + 1) * CHUNK]
        for index, image in decoded(self.files, indices, skip_corrupt=self.skip_corrupt):
            images[len(kept)] = center_view(image, self.side, self.side).permute(1, 2, 0)
            kept.append(index)
        return images[: len(kept)], kept
