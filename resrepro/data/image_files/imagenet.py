"""ImageNet and Imagenette, as their authors publish them: images in class folders."""

from __future__ import annotations

from pathlib import Path

from torchvision.datasets import Imagenette

from resrepro.data.download import downloaded
from resrepro.data.image_files.listing import ImageFolder, list_image_folder
from resrepro.errors import UserError

NUM_CLASSES = 1000  # of ImageNet's classification task
IMAGENETTE_COUNTS = (9469, 3925)  # of version 2, training and test


def open_imagenet(data_dir: Path) -> ImageFolder:
    """List `data_dir`/imagenet.

    Raises:
        UserError: absent, another layout, or not ImageNet's number of classes.
    """
    root = data_dir / "imagenet"
    if not root.is_dir():
        raise UserError(
            f"{root}: no such folder; expected {root / 'train' / '<wnid>' / '*.JPEG'} and the same in val, or put the "
            "official tars there and run 'resrepro data prepare imagenet'"
        )
    folder = list_image_folder(root)
    if len(folder.classes) != NUM_CLASSES:
        raise UserError(
            f"{root}: {len(folder.classes)} classes, expected ImageNet's {NUM_CLASSES}; a part of ImageNet is read "
            f"with folder:{root}"
        )
    return folder


def open_imagenette(data_dir: Path) -> ImageFolder:
    """List the `imagenette2` or `imagenette2-*` in `data_dir`; download it where it is absent.

    Raises:
        UserError: absent, and not to be downloaded; several sizes without the full one; not whole.
    """
    found = sorted(path for path in data_dir.glob("imagenette2*") if path.is_dir())
    full = data_dir / "imagenette2"
    if not found:
        _download(data_dir)
        found = [full]
    if len(found) > 1 and full not in found:
        raise UserError(
            f"{data_dir}: {', '.join(path.name for path in found)} are all there; say which with folder:PATH"
        )
    root = full if full in found else found[0]
    folder = list_image_folder(root)
    counts = len(folder.train), len(folder.test)
    if counts != IMAGENETTE_COUNTS:
        raise UserError(
            f"{root}: {counts[0]} training and {counts[1]} test images, expected {IMAGENETTE_COUNTS[0]} and "
            f"{IMAGENETTE_COUNTS[1]}; unpacking was cut short? delete the folder and unpack the archive again"
        )
    return folder


def _download(data_dir: Path) -> None:
    with downloaded(data_dir, "imagenette2", "imagenette2.tgz", "the site that torchvision knows") as place:
        Imagenette(place, split="train", size="full", download=True)
