"""ImageNet, Imagenette and Tiny ImageNet, as their authors publish them."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
from torchvision.datasets import Imagenette

from resrepro.config.datasets import SIZES, Sizes
from resrepro.data.download import downloaded
from resrepro.data.image_files.listing import ImageFiles, ImageFolder, class_names, list_image_folder, list_split
from resrepro.errors import UserError

TINY_IMAGENET = "tiny-imagenet-200"  # as its archive unpacks


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
    expected = SIZES["imagenet"].num_classes
    if len(folder.classes) != expected:
        raise UserError(
            f"{root}: {len(folder.classes)} classes, expected ImageNet's {expected}; a part of ImageNet is read "
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
    _check_whole(folder, SIZES["imagenette"])
    return folder


def open_tiny_imagenet(data_dir: Path) -> ImageFolder:
    """List `data_dir`/tiny-imagenet-200: 200 classes, 64x64 pixels.

    The training images are in `train/<class>/images`. `val/val_annotations.txt` names the classes of those in
    `val/images`, which are the test images; those in `test` have no published classes.

    Raises:
        UserError: absent, another layout, annotations that are damaged or do not fit the files, or not whole.
    """
    root = data_dir / TINY_IMAGENET
    if not root.is_dir():
        raise UserError(f"{root}: no such folder; unpack Stanford's {TINY_IMAGENET}.zip in {data_dir}")
    for part in ("train", "val"):
        if not (root / part).is_dir():
            raise UserError(f"{root / part}: no such folder; unpack {TINY_IMAGENET}.zip again")
    classes = class_names(root / "train")
    train, test = list_split(root / "train", classes), _annotated(root / "val", classes)
    folder = ImageFolder(train=train, test=test, classes=tuple(classes), place=str(root))
    _check_whole(folder, SIZES["tiny-imagenet"])
    return folder


def _annotated(split: Path, classes: list[str]) -> ImageFiles:
    """List `split`/images with the classes that val_annotations.txt gives: file, class and a box, with tabs between."""
    annotations = split / "val_annotations.txt"
    folder = split / "images"
    there = {entry.name for entry in os.scandir(folder) if entry.is_file()} if folder.is_dir() else set()
    found: dict[str, int] = {}
    try:
        lines = annotations.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{annotations}: cannot be read ({error}); unpack {TINY_IMAGENET}.zip again") from error
    for number, line in enumerate(lines, 1):
        file, name, *box = (*line.split("\t"), "", "")
        place = f"{annotations}:{number}"
        if len(box) != 6:
            raise UserError(f"{place}: expected file, class and four numbers with tabs between; got {line[:80]!r}")
        if name not in classes:
            raise UserError(f"{place}: class '{name}' is not in {split.parent / 'train'}; restore the file")
        if file not in there:
            raise UserError(f"{place}: there is no {split / 'images' / file}; unpack {TINY_IMAGENET}.zip again")
        if file in found:
            raise UserError(f"{place}: '{file}' comes twice; restore the file")
        found[file] = classes.index(name)
    missing = sorted(name for name in there - set(found) if not name.startswith("."))
    if missing:
        raise UserError(
            f"{annotations}: names no class of {missing[0]} ({len(missing)} such images); was it cut short? restore it"
        )
    names = sorted(found)
    return ImageFiles(
        folder=str(split / "images"),
        names=np.array([os.fsencode(name) for name in names]),
        labels=np.array([found[name] for name in names], dtype=np.int64),
    )


def _check_whole(folder: ImageFolder, expected: Sizes) -> None:
    counts = len(folder.train), len(folder.test)
    if counts != (expected.num_train, expected.num_test):
        raise UserError(
            f"{folder.place}: {counts[0]} training and {counts[1]} test images, expected {expected.num_train} and "
            f"{expected.num_test}; unpacking was cut short? delete the folder and unpack the archive again"
        )


def _download(data_dir: Path) -> None:
    with downloaded(data_dir, "imagenette2", "imagenette2.tgz", "the site that torchvision knows") as place:
        Imagenette(place, split="train", size="full", download=True)
