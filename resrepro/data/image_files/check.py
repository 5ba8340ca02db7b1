"""The check of `resrepro data check`: counts, sizes, and files that cannot be read."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

import numpy as np

from resrepro.data.dataset import DataOptions
from resrepro.data.image_files.decoding import JPEG, decode, jpeg_frame
from resrepro.data.image_files.listing import ImageFiles
from resrepro.data.image_files.prefetch import prefetched
from resrepro.errors import UserError

CHUNK = 128
KINDS = {JPEG: "JPEG", b"\x89P": "PNG", b"RI": "WebP", b"GI": "GIF"}  # by the first two bytes
COMPONENTS = {1: "grayscale", 4: "CMYK"}  # of a JPEG


@dataclass(kw_only=True)
class Counts:
    """Hold what was found in a split.

    Args:
        kinds: how many files are of each kind, such as `JPEG` or `JPEG, CMYK`.
        small: how many have a shorter side below the one asked.
        unreadable: a line for each.
    """

    num_images: int = 0
    kinds: Counter[str] = field(default_factory=Counter)
    small: int = 0
    unreadable: list[str] = field(default_factory=list)

    def add(self, other: Counts) -> None:
        """Add what was found in other images of the split."""
        self.num_images += other.num_images
        self.small += other.small
        self.unreadable += other.unreadable
        self.kinds += other.kinds


def check(files: ImageFiles, split: str, options: DataOptions, *, smallest: int) -> Counts:
    """Decode every image of a split, and count those with a shorter side below `smallest` pixels."""
    found = Counts()
    chunks = range(-(-len(files) // CHUNK))
    for of_chunk in prefetched(_Checked(files, smallest), chunks, num_workers=options.num_workers):
        found.add(of_chunk)
        options.progress(split, found.num_images, len(files))
    return found


def class_counts(files: ImageFiles, num_classes: int) -> tuple[int, int]:
    """Return how many images the smallest and the largest class have."""
    counts = np.bincount(files.labels, minlength=num_classes)
    return int(counts.min()), int(counts.max())


class _Checked:
    def __init__(self, files: ImageFiles, smallest: int) -> None:
        self.files, self.smallest = files, smallest

    def __getitem__(self, chunk: int) -> Counts:
        found = Counts()
        for index in range(len(self.files))[chunk * CHUNK : (chunk + 1) * CHUNK]:
            found.num_images += 1
            try:
                data = self.files.read(index)
                pixels = decode(data, self.files.name(index))
            except UserError as error:
                found.unreadable.append(str(error))
                continue
            found.kinds[kind_of(data)] += 1
            found.small += min(pixels.shape[1:]) < self.smallest
        return found


def kind_of(data: bytes) -> str:
    """Return `JPEG`, `JPEG, grayscale`, `JPEG, CMYK`, `PNG`, ..., by what is in the file, not by its name."""
    kind, frame = KINDS.get(data[:2], "other"), jpeg_frame(data)
    of = COMPONENTS.get(frame.components) if frame else None
    return f"{kind}, {of}" if of else kind
