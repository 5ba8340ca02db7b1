"""Data sets that stay files: ImageNet, Imagenette, and any folder of images in class folders."""

from __future__ import annotations

from pathlib import Path

from torchvision.datasets import Imagenette

from resrepro.data.download import downloaded
from resrepro.data.image_files import packed
from resrepro.data.image_files.listing import ImageFolder, list_image_folder
from resrepro.errors import UserError

NUM_CLASSES = 1000  # of ImageNet's classification task
IMAGENETTE_COUNTS = (9469, 3925)  # of version 2, training and test


def open_image_folder(dataset: str, *, data_dir: Path, prepared: bool = True) -> ImageFolder:
    """`imagenet`, `imagenette` or `folder:PATH`: the store that `resrepro data prepare` wrote, else its files.

    Args:
        prepared: whether to take the store where there is one.

    Raises:
        UserError: absent, and not to be downloaded; another layout than expected; an incomplete or damaged store.
    """
    if prepared:
        tree = packed.load(dataset, data_dir=data_dir)
        if tree is not None:
            return tree
    kind, _, path = dataset.partition(":")
    if kind == "folder" and path:
        return list_image_folder(Path(path).expanduser())
    if kind == "imagenet":
        return _imagenet(data_dir / "imagenet")
    if kind == "imagenette":
        return _imagenette(data_dir)
    raise UserError(f"dataset '{dataset}': image files are expected here: imagenet, imagenette or folder:PATH")


def _imagenet(root: Path) -> ImageFolder:
    if not root.is_dir():
        raise UserError(
            f"{root}: no such folder; expected {root / 'train' / '<wnid>' / '*.JPEG'} and the same in val, or put the "
            "official tars there and run 'resrepro data prepare imagenet'"
        )
    tree = list_image_folder(root)
    if len(tree.classes) != NUM_CLASSES:
        raise UserError(
            f"{root}: {len(tree.classes)} classes, expected ImageNet's {NUM_CLASSES}; a part of ImageNet is read "
            f"with folder:{root}"
        )
    return tree


def _imagenette(data_dir: Path) -> ImageFolder:
    found = sorted(folder for folder in data_dir.glob("imagenette2*") if folder.is_dir())
    full = data_dir / "imagenette2"
    if not found:
        _download(data_dir)
        found = [full]
    if len(found) > 1 and full not in found:
        raise UserError(
            f"{data_dir}: {', '.join(folder.name for folder in found)} are all there; say which with folder:PATH"
        )
    root = full if full in found else found[0]
    tree = list_image_folder(root)
    counts = len(tree.train), len(tree.test)
    if counts != IMAGENETTE_COUNTS:
        raise UserError(
            f"{root}: {counts[0]} training and {counts[1]} test images, expected {IMAGENETTE_COUNTS[0]} and "
            f"{IMAGENETTE_COUNTS[1]}; unpacking was cut short? delete the folder and unpack the archive again"
        )
    return tree


def _download(data_dir: Path) -> None:
    with downloaded(data_dir, "imagenette2", "imagenette2.tgz", "the site that torchvision knows") as place:
        Imagenette(place, split="train", size="full", download=True)
