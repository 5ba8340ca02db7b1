"""Any folder of equal-sized small images: `train/<class>/*.png|jpg` and `test|val/<class>/...`."""

from __future__ import annotations

import math

import numpy as np
from torch import Tensor

from resrepro.data.image_files.decoding import decode
from resrepro.data.image_files.listing import ImageFiles, ImageFolder
from resrepro.data.in_memory.images import Images
from resrepro.errors import UserError


def read(folder: ImageFolder) -> Images:
    """Read listed images into memory.

    Raises:
        UserError: an image is unreadable, or of another size than the first.
    """
    _, height, width = _decoded(folder.train, 0).shape
    train, test = (_read(split, height, width) for split in (folder.train, folder.test))
    return Images.from_numpy(train, folder.train.labels, test, folder.test.labels, num_classes=len(folder.classes))


def _decoded(files: ImageFiles, index: int) -> Tensor:
    return decode(files.read(index), files.name(index), fix="replace or remove it")


def _read(files: ImageFiles, height: int, width: int) -> np.ndarray:
    """(N, H, W, 3) uint8."""
    shape = (len(files), height, width, 3)
    try:
        pixels = np.empty(shape, dtype=np.uint8)
    except MemoryError as error:
        raise UserError(
            f"{files.folder}: {shape[0]} images of {width}x{height} pixels need {math.prod(shape) / 2**30:.1g} GiB "
            "of free memory; shrink them, or use a recipe with preset 'imagenet'"
        ) from error
    for i in range(len(files)):
        image = _decoded(files, i).permute(1, 2, 0).numpy()
        if image.shape != shape[1:]:
            raise UserError(
                f"{files.name(i)}: {image.shape[1]}x{image.shape[0]} pixels, but the first image is {width}x{height}; "
                "make all images one size, or give --resize 32, or another size"
            )
        pixels[i] = image
    return pixels
