"""The prepared store: the images of a split in one file, one after the other, and an index of all.

Large files are read faster than a million small ones. `packing` writes the store.
"""

from __future__ import annotations

import hashlib
import json
import os
import weakref
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from resrepro.config.recipe import IMAGENET_CROP
from resrepro.data.image_files.listing import ImageFiles, ImageFolder
from resrepro.errors import UserError

SHORTER_SIDE = IMAGENET_CROP.shorter_side[1]  # pixels
SPLITS = ("train", "test")
COLUMNS = ("names", "labels", "ends")
INDEX = "index.npz"  # written last: its presence means complete


class _Pack:
    """Hold a split's file open while anything refers to it, so that a store that is made anew does not change it."""

    def __init__(self, path: str) -> None:
        self.path, self.descriptor = path, os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        weakref.finalize(self, os.close, self.descriptor).atexit = False

    def __reduce__(self) -> tuple[type[_Pack], tuple[str]]:
        return _Pack, (self.path,)  # a copy, and another process, open it for themselves


@dataclass(frozen=True, kw_only=True)
class PackedFiles(ImageFiles):
    """List a split in the store; `folder` is its file, `pack`. Image i ends before byte `ends`[i]: (N,) int64."""

    ends: np.ndarray
    pack: _Pack

    def _start(self, index: int) -> int:
        return int(self.ends[index - 1]) if index else 0

    def num_bytes(self, index: int) -> int:
        return int(self.ends[index]) - self._start(index)

    def read(self, index: int) -> bytes:
        try:
            return os.pread(self.pack.descriptor, self.num_bytes(index), self._start(index))
        except OSError as error:
            raise UserError(f"{self.folder}: {error.strerror or error}; prepare the dataset anew") from error


def directory(dataset: str, *, data_dir: Path) -> Path:
    """Return where the store of a dataset lies."""
    kind, _, path = dataset.partition(":")
    if kind == "folder":
        root = Path(path).expanduser().resolve()
        kind = f"folder-{root.name}-{hashlib.sha256(os.fsencode(root)).hexdigest()[:8]}"
    return data_dir / "prepared" / f"{kind}-{SHORTER_SIDE}"


def load(dataset: str, *, data_dir: Path) -> ImageFolder | None:
    """Open the dataset's store; None where there is none.

    Raises:
        UserError: incomplete, or damaged.
    """
    root = directory(dataset, data_dir=data_dir)
    if not root.is_dir():
        return None
    if not (root / INDEX).is_file():
        raise UserError(
            f"{root}: incomplete; 'resrepro data prepare {dataset}' goes on where it stopped, or delete the folder to "
            "have the images read as they are"
        )
    delete = f"damaged; delete the folder, and type 'resrepro data prepare {dataset}' again if you want it"
    try:
        with (root / INDEX).open("rb") as file, np.load(file) as index:
            classes = tuple(json.loads(str(index["classes"])))
            columns = [{column: index[f"{split}_{column}"] for column in COLUMNS} for split in SPLITS]
            sizes = [int(of_split["ends"][-1]) for of_split in columns]
    except Exception as error:  # damaged bytes make numpy and zipfile raise almost anything
        raise UserError(f"{root / INDEX}: {delete}") from error
    splits = []
    for split, of_split, size in zip(SPLITS, columns, sizes, strict=True):
        path = root / f"{split}.pack"
        found = path.stat().st_size if path.is_file() else 0
        if found != size:
            raise UserError(f"{path}: {found} bytes, expected {size}; {delete}")
        try:
            splits.append(PackedFiles(folder=str(path), pack=_Pack(str(path)), **of_split))
        except OSError as error:
            raise UserError(f"{path}: {error.strerror or error}; expected a file that can be read") from error
    return ImageFolder(train=splits[0], test=splits[1], classes=classes, place=str(root))
