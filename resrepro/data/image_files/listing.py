"""Images in class folders: `train/<class>/*.JPEG` and `val/<class>/...` (or `test/`), listed, not read."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from resrepro.errors import UserError

EXTENSIONS = (".png", ".jpg", ".jpeg")
OTHER_IMAGES = (".avif", ".bmp", ".gif", ".heic", ".heif", ".tif", ".tiff", ".webp")
SAMPLED = 1000  # files whose sizes tell one dataset from another
NAMED = 3  # how many classes a message names


@dataclass(frozen=True, kw_only=True)
class ImageFiles:
    """List the files of a split, in the order of their names: a million names are one array.

    Args:
        folder: where the names count from.
        names: (N,) bytes.
        labels: (N,) int64.
    """

    folder: str
    names: np.ndarray
    labels: np.ndarray

    def __len__(self) -> int:
        return len(self.names)

    def name(self, index: int) -> str:
        """Return the path of an image."""
        return f"{self.folder}/{os.fsdecode(self.names[index])}"

    def read(self, index: int) -> bytes:
        """Return the file as it is.

        Raises:
            UserError: missing or not readable.
        """
        name = self.name(index)
        try:
            return Path(name).read_bytes()
        except OSError as error:
            raise UserError(f"{name}: {error.strerror or error}; was it moved? list the dataset anew") from error

    def num_bytes(self, index: int) -> int:
        """Return the size of a file."""
        return Path(self.name(index)).stat().st_size

    def sampled_bytes(self) -> list[int]:
        """Return the sizes of at most a thousand files from all over."""
        return [self.num_bytes(i) for i in range(0, len(self), -(-len(self) // SAMPLED))]

    def fingerprint(self) -> str:
        """Hash all names and labels, and some sizes: a million files are not looked at for it."""
        content = hashlib.sha256(repr((len(self), self.sampled_bytes())).encode())
        content.update(b"\n".join(self.names.tolist()))
        content.update(self.labels.tobytes())
        return content.hexdigest()[:16]


@dataclass(frozen=True, kw_only=True)
class ImageFolder:
    """List a dataset as files; the classes are the sorted folder names of `train`, a label is the place among them.

    Args:
        place: where it was found, for messages.
    """

    train: ImageFiles
    test: ImageFiles
    classes: tuple[str, ...]
    place: str


def list_image_folder(root: Path) -> ImageFolder:
    """List `root`/train and `root`/test, or `root`/val where there is no `test`, or none with classes.

    Raises:
        UserError: no such folders, fewer than two classes, an empty class, splits whose classes differ.
    """
    if not root.is_dir():
        raise UserError(f"{root}: no such folder; expected {root / 'train' / '<class>' / '*.JPEG'} and the same in val")
    found = [root / name for name in ("test", "val") if (root / name).is_dir()]
    test = next(filter(_has_classes, found), next(iter(found), None))
    if test is None or not (root / "train").is_dir():
        raise UserError(
            f"{root}: expected the folders 'train' and 'test' (or 'val'), each with one folder per class; found "
            f"{_named(sorted(entry.name for entry in _entries(root)))}"
        )
    train = root / "train"
    classes = class_names(train)
    of_test = class_names(test)
    for split, other, strange in (
        (test, train, sorted(set(of_test) - set(classes))),
        (train, test, sorted(set(classes) - set(of_test))),
    ):
        if strange:
            raise UserError(
                f"{split / strange[0]}: no such class in {other} ({len(strange)} such: {_named(strange)}); both parts "
                "need the same classes: rename, add or remove"
            )
    return ImageFolder(
        train=list_split(train, classes), test=list_split(test, classes), classes=tuple(classes), place=str(root)
    )


def _entries(folder: Path) -> Iterator[os.DirEntry[str]]:
    """List all but the hidden ones, which viewers and archivers leave behind."""
    with os.scandir(folder) as found:
        yield from (entry for entry in found if not entry.name.startswith("."))


def _named(names: list[str]) -> str:
    return (", ".join(names[:NAMED]) + (", ..." if len(names) > NAMED else "")) or "nothing"


def _has_classes(split: Path) -> bool:
    return sum(entry.is_dir() for entry in _entries(split)) > 1


def class_names(split: Path) -> list[str]:
    """Return the sorted names of the class folders in a split.

    Raises:
        UserError: there are fewer than two.
    """
    names, num_files = [], 0
    for entry in _entries(split):
        if entry.is_dir():
            names.append(entry.name)
        else:
            num_files += 1
    if len(names) < 2:
        raise UserError(
            f"{split}: expected at least two class folders with images in them, found {len(names)} and "
            f"{num_files} files beside; sort the images into one folder per class"
        )
    return sorted(names)


def list_split(split: Path, classes: list[str]) -> ImageFiles:
    """List the images in the class folders of a split.

    Raises:
        UserError: a class without images, or with an image that is no file.
    """
    names: list[bytes] = []
    counts = []
    for name in classes:
        try:
            of_class = sorted(_images(split / name, f"{name}/"))
        except OSError as error:  # links that lead back, or a folder that may not be read
            raise UserError(f"{error.filename}: {error.strerror}; expected images, or a folder of them") from error
        if not of_class:
            raise UserError(
                f"{split / name}: no images in this class; expected {', '.join('*' + e for e in EXTENSIONS)}"
            )
        names += of_class
        counts.append(len(of_class))
    labels = np.repeat(np.arange(len(classes), dtype=np.int64), counts)
    return ImageFiles(folder=str(split), names=np.array(names), labels=labels)


def _images(folder: Path, prefix: str) -> Iterator[bytes]:
    for entry in _entries(folder):
        if entry.is_dir():
            yield from _images(folder / entry.name, f"{prefix}{entry.name}/")
        elif entry.name.lower().endswith(EXTENSIONS):
            if not entry.is_file():
                raise UserError(f"{folder / entry.name}: a link to nothing, or a pipe; expected an image; remove it")
            yield os.fsencode(prefix + entry.name)
        elif entry.name.lower().endswith(OTHER_IMAGES):
            raise UserError(f"{folder / entry.name}: expected PNG or JPEG; convert the image, or remove it")
