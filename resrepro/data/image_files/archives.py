"""ImageNet's official archives (ILSVRC2012) into class folders."""

from __future__ import annotations

import shutil
import struct
import tarfile
import zlib
from collections.abc import Iterator
from pathlib import Path

from resrepro.data.dataset import Progress
from resrepro.errors import UserError
from resrepro.files import user_errors

TRAIN, VAL, DEVKIT = "ILSVRC2012_img_train.tar", "ILSVRC2012_img_val.tar", "ILSVRC2012_devkit_t12.tar.gz"
NUM_VAL = 50_000


def unpack(root: Path, progress: Progress, *, num_classes: int = 1000, num_val: int = NUM_VAL) -> None:
    """Makes root/train/<wnid> and root/val/<wnid> of the tars in `root`, where they are not there yet.

    A class folder is there when it is whole, so that a stopped unpacking goes on with the next class.

    Raises:
        UserError: a tar is missing or damaged, no space.
    """
    if not _done(root / "train", num_classes):
        with _archive(root / TRAIN) as archive:
            _unpack_train(archive, root / "train", progress, num_classes)
    if not _done(root / "val", num_classes):
        wnids = _val_wnids(root / DEVKIT, num_val)
        with _archive(root / VAL) as archive:
            _unpack_val(archive, root / "val", wnids, progress)


def _done(part: Path, num_classes: int) -> bool:
    return part.is_dir() and sum(1 for entry in part.iterdir() if not entry.name.startswith(".")) >= num_classes


def _archive(path: Path) -> _Archive:
    if not path.is_file():
        raise UserError(f"{path}: no such file; put ImageNet's official {TRAIN}, {VAL} and {DEVKIT} there")
    return _Archive(path)


class _Archive:
    """A tar; what goes wrong inside names it."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __enter__(self) -> tarfile.TarFile:
        try:
            self.tar = tarfile.open(self.path)
        except (tarfile.TarError, OSError) as error:
            raise self._damaged(error) from error
        return self.tar

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        self.tar.close()
        if isinstance(error, (tarfile.TarError, EOFError, zlib.error)):
            raise self._damaged(error) from error

    def _damaged(self, error: BaseException) -> UserError:
        return UserError(f"{self.path}: damaged ({error}); was the download cut short? fetch it again")


def _unpack_train(archive: tarfile.TarFile, train: Path, progress: Progress, num_classes: int) -> None:
    """A tar of a tar a class."""
    for done, member in enumerate(archive):
        folder = train / Path(member.name).stem
        if not folder.is_dir():
            content = archive.extractfile(member)
            if content is None:
                raise tarfile.TarError(f"{member.name} is no file")
            with tarfile.open(fileobj=content) as of_class:
                _write_whole(folder, ((image, of_class) for image in of_class))
        progress("train, classes", done + 1, num_classes)


def _unpack_val(archive: tarfile.TarFile, val: Path, wnids: list[str], progress: Progress) -> None:
    """Images in one heap; in the order of their names they belong to `wnids`."""
    images = sorted((member for member in archive if member.isfile()), key=lambda member: member.name)
    if len(images) != len(wnids):
        raise UserError(f"{archive.name!s}: {len(images)} images, expected {len(wnids)}; fetch it again")
    of_class: dict[str, list[tarfile.TarInfo]] = {}
    for image, wnid in zip(images, wnids, strict=True):
        of_class.setdefault(wnid, []).append(image)
    for done, (wnid, members) in enumerate(sorted(of_class.items())):
        if not (val / wnid).is_dir():
            _write_whole(val / wnid, ((member, archive) for member in members))
        progress("val, classes", done + 1, len(of_class))


def _write_whole(folder: Path, members: Iterator[tuple[tarfile.TarInfo, tarfile.TarFile]]) -> None:
    """The folder appears under its name once all is in it."""
    partial = folder.with_name(f".{folder.name}.partial")
    with user_errors(folder, "--data-dir"):
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        for member, tar in members:
            content = tar.extractfile(member)
            if content is not None:
                with (partial / Path(member.name).name).open("wb") as file:
                    shutil.copyfileobj(content, file)
        partial.replace(folder)


def _val_wnids(devkit: Path, num_val: int) -> list[str]:
    """The class of each validation image, in the order of the images' names."""
    with _archive(devkit) as tar:
        found = {Path(member.name).name: member for member in tar if member.isfile()}
        contents = []
        for name in ("meta.mat", "ILSVRC2012_validation_ground_truth.txt"):
            file = tar.extractfile(found[name]) if name in found else None
            if file is None:
                raise UserError(f"{devkit}: no {name} in it; this is not the devkit of tasks 1 and 2 of ILSVRC2012")
            contents.append(file.read())
    meta, truth = contents
    try:
        synsets = next(read_structs(meta))
        wnids = {int(s["ILSVRC2012_ID"]): str(s["WNID"]) for s in synsets}  # type: ignore[call-overload]
        labels = [wnids[int(line)] for line in truth.split()]
    except (StopIteration, KeyError, ValueError, struct.error, zlib.error) as error:
        raise UserError(f"{devkit}: its meta.mat or ground truth is damaged ({error!r}); fetch it again") from error
    if len(labels) != num_val:
        raise UserError(f"{devkit}: labels of {len(labels)} validation images, expected {num_val}; fetch it again")
    return labels


# MATLAB's format 5, as far as meta.mat needs it: arrays of structs whose fields are texts and numbers.
NUMBERS = {1: "b", 2: "B", 3: "h", 4: "H", 5: "i", 6: "I", 7: "f", 9: "d", 12: "q", 13: "Q"}
TEXTS = {4: "utf-16", 16: "utf-8", 17: "utf-16", 18: "utf-32", 2: "utf-8"}
MATRIX, COMPRESSED, STRUCT_CLASS, CHAR_CLASS = 14, 15, 2, 4
HEADER_BYTES = 128


def read_structs(content: bytes) -> Iterator[list[dict[str, object]]]:
    """Each array of structs in a .mat file (little-endian), as dicts; fields other than numbers and texts are None."""
    for kind, data in _elements(content[HEADER_BYTES:]):
        if kind == COMPRESSED:
            kind, data = next(_elements(zlib.decompress(data)))
        if kind == MATRIX:
            value = _matrix(data)
            if isinstance(value, list):
                yield value


def _elements(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Type and content of each element, one after the other."""
    at = 0
    while at + 8 <= len(data):
        kind, size = struct.unpack_from("<II", data, at)
        if kind >> 16:  # up to four bytes, packed with their size into the head
            kind, size = kind & 0xFFFF, kind >> 16
            yield kind, data[at + 4 : at + 4 + size]
            at += 8
        else:
            yield kind, data[at + 8 : at + 8 + size]
            at += 8 + (size if kind == COMPRESSED else -(-size // 8) * 8)


def _matrix(data: bytes) -> object:
    """A list of dicts of an array of structs, a text, the first of the numbers, or None."""
    if not data:
        return None
    elements = _elements(data)
    flags, _dimensions, _name = (next(elements)[1] for _ in range(3))
    if flags[0] == STRUCT_CLASS:
        width = struct.unpack("<i", next(elements)[1])[0]
        joined = next(elements)[1]
        names = [joined[i : i + width].split(b"\0")[0].decode() for i in range(0, len(joined), width)]
        values = [_matrix(content) for _, content in elements]
        return [dict(zip(names, values[i : i + len(names)], strict=True)) for i in range(0, len(values), len(names))]
    kind, content = next(elements, (0, b""))
    if flags[0] == CHAR_CLASS and kind in TEXTS:
        encoding = TEXTS[kind]
        return content.decode(encoding if encoding == "utf-8" else f"{encoding}-le")
    if kind in NUMBERS and content:
        return struct.unpack_from("<" + NUMBERS[kind], content)[0]
    return None
