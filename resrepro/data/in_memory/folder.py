"""Any folder of equal-sized small images: `train/<class>/*.png|jpg` and `test|val/<class>/...`."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
from PIL import Image

from resrepro.data.image_files.decoding import UNREADABLE, opened
from resrepro.data.image_files.listing import ImageFiles, ImageFolder, list_image_folder
from resrepro.data.in_memory.images import Images
from resrepro.errors import UserError, first_line


def load(root: Path) -> Images:
    """Read the whole folder into memory; classes are the sorted names of the folders in `train`.

    Raises:
        UserError: a folder is missing or empty, an image is unreadable or of another size, the splits' classes differ.
    """
    return read(list_image_folder(root))


def read(folder: ImageFolder) -> Images:
    """Read listed images into memory.

    Raises:
        UserError: an image is unreadable, or of another size than the first.
    """
    with _open(folder.train.name(0)) as first:
        size = first.size
    train, test = _read(folder.train, size), _read(folder.test, size)
    return Images.from_numpy(train, folder.train.labels, test, folder.test.labels, num_classes=len(folder.classes))


def _open(file: str) -> Image.Image:
    try:
        return opened(Path(file)).convert("RGB")
    except UNREADABLE as error:
        raise UserError(f"{file}: not a readable image ({first_line(error)}); replace or remove it") from error


def _read(files: ImageFiles, size: tuple[int, int]) -> np.ndarray:
    """(N, H, W, 3) uint8."""
    shape = (len(files), size[1], size[0], 3)
    try:
        pixels = np.empty(shape, dtype=np.uint8)
    except MemoryError as error:
        raise UserError(
            f"{files.folder}: {shape[0]} images of {size[0]}x{size[1]} pixels need {math.prod(shape) / 2**30:.1g} GiB "
            "of free memory; shrink them, or use a recipe with preset 'imagenet'"
        ) from error
    for i in range(len(files)):
        file = files.name(i)
        with _open(file) as image:
            if image.size != size:
                raise UserError(
                    f"{file}: {image.size[0]}x{image.size[1]} pixels, but the first image is {size[0]}x{size[1]}; "
                    "make all images one size, or give --resize 32, or another size"
                )
            pixels[i] = np.asarray(image)
    return pixels
