"""Small real images of every kind that ImageNet has."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from resrepro.data.dataset import DataOptions
from resrepro.data.image_files.listing import ImageFiles
from resrepro.data.image_files.training_views import (
    ScaleCropViews,
)
from resrepro.data.in_memory.images import Images
from resrepro.data.loading import load_dataset


def picture(height: int, width: int, seed: int = 0) -> Image.Image:
    """Smooth colors with edges."""
    draw = np.random.default_rng(seed)
    coarse = Image.fromarray(draw.integers(0, 256, (7, 9, 3), dtype=np.uint8))
    image = np.array(coarse.resize((width, height), Image.Resampling.BICUBIC))
    image[height // 3 : height // 2, width // 4 : width // 3] = draw.integers(0, 256, 3)
    return Image.fromarray(image)


def encoded(image: Image.Image, kind: str = "JPEG", **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


SIZES = ((40, 61), (53, 33), (37, 37), (90, 41), (33, 120))


def write_tree(root: Path, *, classes: tuple[str, ...] = ("auk", "owl"), train: int = 5, val: int = 3) -> Path:
    """`root`/train and `root`/val with JPEGs of odd sizes, `<class>_<k>.JPEG`."""
    for part, count in (("train", train), ("val", val)):
        for c, name in enumerate(classes):
            folder = root / part / name
            folder.mkdir(parents=True)
            for k in range(count):
                image = picture(*SIZES[k % len(SIZES)], seed=100 * c + k + (50 if part == "val" else 0))
                (folder / f"{name}_{k}.JPEG").write_bytes(encoded(image, quality=90))
    return root


SIDES = (32, 45)


def views(files: ImageFiles, **options: object) -> ScaleCropViews:
    return ScaleCropViews(files, **{"image_size": 28, "shorter_side": SIDES, "batch_size": 4, "seed": 3, **options})  # type: ignore[arg-type]


def name_of(root: Path) -> str:
    return f"folder:{root}"


def smooth_image(height: int, width: int, seed: int) -> Tensor:
    """A smooth random image, (3, height, width) uint8."""
    small = torch.rand(1, 3, 5, 5, generator=torch.Generator().manual_seed(seed)) * 255
    return F.interpolate(small, size=(height, width), mode="bilinear")[0].to(torch.uint8)


def write_image(file: Path, height: int, width: int, seed: int) -> Tensor:
    pixels = smooth_image(height, width, seed)
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels.permute(1, 2, 0).numpy()).save(file)
    return pixels


def load_images(name: str, *, data_dir: Path) -> Images:
    """Read a dataset into memory."""
    return load_dataset(name, DataOptions(data_dir=data_dir)).images
