"""Write the prepared store of a dataset (`packed` reads it).

A training image whose shorter side is above 480 pixels, the largest that Sec. 3.4 draws, is resized to 480 once and
for all, so that it need not be decoded at full size in each epoch. Any other keeps the bytes of its file, as do test
images, which Table 4 resizes to up to 640.
"""

from __future__ import annotations

import errno
import io
import json
import os
import shutil
import threading
import zlib
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image

from resrepro.data.dataset import DataOptions
from resrepro.data.image_files.decoding import CorruptImage, decode, resized_size
from resrepro.data.image_files.listing import ImageFiles, ImageFolder
from resrepro.data.image_files.packed import INDEX, SHORTER_SIDE, SPLITS, directory, load
from resrepro.data.image_files.prefetch import prefetched
from resrepro.errors import UserError
from resrepro.files import exclusive, user_errors, write_atomically, write_text

JPEG = {"quality": 95, "subsampling": 0}  # 4:4:4: colors at full size
CHUNK = 256  # images that a worker hands over at once; what a kill costs at most
LOGGED = np.dtype([("length", "<i8"), ("crc32", "<u4")])  # of each image that is packed, until the index is written
LEFT_OUT = -1  # the length of a corrupt image; zeros are what a power cut leaves


def prepare(folder: ImageFolder, dataset: str, options: DataOptions) -> list[str]:
    """Write the store of `folder`, or what is missing of it; return the files that were left out as corrupt.

    Stopped at any point, also by a power cut, it goes on from the last whole chunk.

    Raises:
        UserError: no space (says how much is needed), a corrupt image, or none that is not, a store of other files, one
            being written.
    """
    root = directory(dataset, data_dir=options.data_dir)
    files = {"train": folder.train, "test": folder.test}
    asked: dict[str, str | bool] = {
        "train": folder.train.fingerprint(),
        "test": folder.test.fingerprint(),
        "skip_corrupt": options.skip_corrupt,
    }
    _check_space(root, files)
    with user_errors(root, "--data-dir"):
        root.mkdir(parents=True, exist_ok=True)
    locked = f"{root}: another process is preparing it; wait for it, or stop it"
    with exclusive(root / ".lock", lambda: UserError(locked), "--data-dir"):
        _same(root / "source.json", asked, dataset)
        if not (root / INDEX).is_file():
            columns: dict[str, np.ndarray] = {"classes": np.array(json.dumps(folder.classes))}
            for split in SPLITS:
                is_train = split == "train"
                images = _Images(files[split], shrunk=is_train, skip_corrupt=is_train and options.skip_corrupt)
                lengths = _pack(images, root / f"{split}.pack", options)["length"]
                kept = lengths != LEFT_OUT
                if not kept.any():
                    raise UserError(
                        f"{files[split].folder}: not one readable image; replace the files, and delete {root}"
                    )
                columns[f"{split}_names"] = files[split].names[kept]
                columns[f"{split}_labels"] = files[split].labels[kept]
                columns[f"{split}_ends"] = lengths[kept].cumsum()
            write_atomically(root / INDEX, lambda file: np.savez(file, **columns), "--data-dir")  # type: ignore[arg-type]
    store = load(dataset, data_dir=options.data_dir)
    assert store is not None
    left_out = []
    for of_split, packed in ((folder.train, store.train), (folder.test, store.test)):
        left_out += [of_split.name(int(i)) for i in np.flatnonzero(np.isin(of_split.names, packed.names, invert=True))]
    return left_out


def _same(source: Path, asked: dict[str, str | bool], dataset: str) -> None:
    """Refuse to make two halves of a store of different files."""
    try:
        before = json.loads(source.read_text())
    except (OSError, ValueError):
        write_text(source, json.dumps(asked), "--data-dir")
        return
    for key, value in asked.items():
        is_stricter = (key, value) == ("skip_corrupt", True)  # what was packed has no corrupt one
        if before.get(key) != value and not is_stricter:
            what = f"the {key} files are others now" if key in SPLITS else f"it was begun with {key} = {not value}"
            raise UserError(f"{source.parent}: {what}; delete it, and type 'resrepro data prepare {dataset}' again")
    if before != asked:
        write_text(source, json.dumps(asked), "--data-dir")


def _check_space(root: Path, files: dict[str, ImageFiles]) -> None:
    if (root / INDEX).is_file():
        return
    needed = sum(_estimated_bytes(of_split, len(of_split)) for of_split in files.values())
    done = sum(pack.stat().st_size for pack in root.glob("*.pack"))
    free = shutil.disk_usage(next(folder for folder in (root, *root.parents) if folder.exists())).free
    if free < needed - done:
        raise UserError(
            f"{root}: about {_gib(needed - done)} are needed, and {_gib(free)} are free; free some, or choose another "
            "--data-dir"
        )


def _estimated_bytes(files: ImageFiles, count: int) -> int:
    """Estimate from above: resized images take less than they did, the others the same."""
    return round(count * float(np.mean(files.sampled_bytes())))


def _gib(count: int) -> str:
    return f"{count / 2**30:.2g} GiB" if count < 10 * 2**30 else f"{count / 2**30:.0f} GiB"


def _pack(images: _Images, pack: Path, options: DataOptions) -> np.ndarray:
    """Append what is missing; return the log of all images, (N,) LOGGED."""
    files = images.files
    with user_errors(pack, "--data-dir"), pack.open("a+b") as data, pack.with_suffix(".log").open("ab") as log:
        logged = _whole(data, np.fromfile(log.name, dtype=LOGGED), len(files))  # without a torn entry at the end
        data.truncate(_num_bytes(logged))
        log.truncate(logged.nbytes)
        chunks = range(-(-len(logged) // CHUNK), -(-len(files) // CHUNK))
        options.progress(pack.stem, len(logged), len(files))
        for of_files in prefetched(images, chunks, num_workers=options.num_workers, stop=images.stopped.set):
            of_chunk = np.array([(len(image) or LEFT_OUT, zlib.crc32(image)) for image in of_files], dtype=LOGGED)
            try:
                for file, content in ((data, b"".join(of_files)), (log, of_chunk.tobytes())):
                    file.write(content)
                    file.flush()
                    os.fsync(file.fileno())  # the images before their log
            except OSError as error:
                if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                    raise
                more = _estimated_bytes(files, len(files) - len(logged))
                raise UserError(
                    f"{pack}: no space left after {len(logged)} of {len(files)} images; free about {_gib(more)} and "
                    "type the same command again: it goes on from there"
                ) from error
            logged = np.concatenate([logged, of_chunk])
            options.progress(pack.stem, len(logged), len(files))
    return logged


def _num_bytes(logged: np.ndarray) -> int:
    return int(logged["length"].clip(0).sum())


def _whole(data: BinaryIO, logged: np.ndarray, num_files: int) -> np.ndarray:
    """Return the log of the chunks that are on the disk: a power cut may leave zeros, or anything, in the last ones."""
    lengths = logged["length"]
    odd = np.flatnonzero((lengths != LEFT_OUT) & (lengths <= 0))
    ends = lengths[: odd[0] if len(odd) else None].clip(0).cumsum()
    count = min(int(np.searchsorted(ends, data.seek(0, os.SEEK_END), side="right")), num_files)
    while count:
        count = count if count == num_files else count // CHUNK * CHUNK
        first = max(0, count - 1) // CHUNK * CHUNK
        data.seek(_num_bytes(logged[:first]))
        if all(zlib.crc32(data.read(max(0, length))) == crc32 for length, crc32 in logged[first:count].tolist()):
            break
        count = first
    return logged[:count]


class _Images:
    """Read the images of chunk i, item i; an empty one is to be left out.

    Args:
        shrunk: whether to resize large images; tests resize them to other sizes, and so need the files as they are.
    """

    def __init__(self, files: ImageFiles, *, shrunk: bool, skip_corrupt: bool) -> None:
        self.files, self.shrunk, self.skip_corrupt = files, shrunk, skip_corrupt
        self.stopped = threading.Event()  # whether what is read now is of no use any more

    def __getitem__(self, chunk: int) -> list[bytes]:
        indices = range(len(self.files))[chunk * CHUNK : (chunk + 1) * CHUNK]
        return [self._image(i) for i in indices if not self.stopped.is_set()]

    def _image(self, index: int) -> bytes:
        data, name = self.files.read(index), self.files.name(index)
        try:
            small = resized(data, name)
        except CorruptImage:
            if not self.skip_corrupt:
                raise
            return b""
        return small if self.shrunk else data


def resized(data: bytes, name: str) -> bytes:
    """Return the file as it is, or as a JPEG with a shorter side of 480 pixels where it was longer.

    By PIL's Lanczos filter, antialiased; quality 95, 4:4:4.

    Raises:
        CorruptImage: not a readable image.
    """
    pixels = decode(data, name)
    height, width = pixels.shape[1:]
    if min(height, width) <= SHORTER_SIDE:
        return data
    height, width = resized_size(height, width, SHORTER_SIDE)
    image = Image.fromarray(pixels.permute(1, 2, 0).numpy()).resize((width, height), Image.Resampling.LANCZOS)
    encoded = io.BytesIO()
    image.save(encoded, "JPEG", **JPEG)
    return encoded.getvalue()
