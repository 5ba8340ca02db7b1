"""ImageNet's official archives (ILSVRC2012), unpacked into class folders."""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import shutil
import tarfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

from torchvision.datasets.imagenet import ARCHIVE_META

from resrepro.config.datasets import SIZES
from resrepro.data.dataset import ProgressCallback
from resrepro.errors import UserError
from resrepro.files import user_errors

TRAIN, VAL, DEVKIT = "ILSVRC2012_img_train.tar", "ILSVRC2012_img_val.tar", "ILSVRC2012_devkit_t12.tar.gz"
MD5: dict[str, str] = dict(ARCHIVE_META.values())
BLOCK = 2**24  # bytes


def unpack(
    root: Path,
    progress: ProgressCallback,
    *,
    num_classes: int = SIZES["imagenet"].num_classes,
    num_val: int = SIZES["imagenet"].num_test,
    md5: Mapping[str, str] = MD5,
) -> None:
    """Make root/train/<wnid> and root/val/<wnid> of the tars in `root`, where they are not there yet.

    A class folder is there when it is whole, so that a stopped unpacking goes on with the next class.

    Args:
        md5: of the archives, by name; what reads them does not see each damage, and may end the process at some.

    Raises:
        UserError: a tar is missing, damaged or another one, no space.
    """

    def checked(name: str) -> Path:
        _check(root / name, md5[name], progress)
        return root / name

    if not _done(root / "train", num_classes):
        with _opened(checked(TRAIN)) as archive:
            _unpack_train(archive, root / "train", progress, num_classes)
    if not _done(root / "val", num_classes):
        wnids = _val_wnids(checked(DEVKIT), num_val)
        with _opened(checked(VAL)) as archive:
            _unpack_val(archive, root / "val", wnids, progress)


def _done(split: Path, num_classes: int) -> bool:
    return split.is_dir() and sum(1 for entry in split.iterdir() if not entry.name.startswith(".")) >= num_classes


def _check(path: Path, md5: str, progress: ProgressCallback) -> None:
    if not path.is_file():
        raise UserError(f"{path}: no such file; put ImageNet's official {TRAIN}, {VAL} and {DEVKIT} there")
    found, size, done = hashlib.md5(usedforsecurity=False), path.stat().st_size, 0
    try:
        with path.open("rb") as file:
            while block := file.read(BLOCK):
                found.update(block)
                done += len(block)
                progress(f"{path.name}, MiB checked", done >> 20, max(1, size >> 20))
    except OSError as error:
        raise UserError(f"{path}: {error.strerror or error}; expected a file that can be read") from error
    if found.hexdigest() != md5:
        raise UserError(
            f"{path}: its md5 is {found.hexdigest()}, expected {md5}; was the download cut short? fetch it again"
        )


DAMAGED = (tarfile.TarError, EOFError, zlib.error, gzip.BadGzipFile)


@contextmanager
def _opened(path: Path) -> Iterator[tarfile.TarFile]:
    """Open a tar; errors inside name it."""

    def damaged(error: Exception) -> UserError:
        return UserError(f"{path}: damaged ({error}); was the download cut short? fetch it again")

    with ExitStack() as stack:
        try:
            tar = stack.enter_context(tarfile.open(path))
        except (OSError, *DAMAGED) as error:
            raise damaged(error) from error
        try:
            yield tar
        except DAMAGED as error:
            raise damaged(error) from error


def _unpack_train(archive: tarfile.TarFile, train: Path, progress: ProgressCallback, num_classes: int) -> None:
    """Unpack a tar that holds one tar for each class."""
    for done, member in enumerate(archive):
        folder = train / Path(member.name).stem
        if not folder.is_dir():
            content = archive.extractfile(member) if member.isfile() else None
            if content is None:
                raise tarfile.TarError(f"{member.name} is no file")
            with tarfile.open(fileobj=content) as of_class:
                _write_whole(folder, ((image, of_class) for image in of_class))
        progress("train, classes", done + 1, num_classes)


def _unpack_val(archive: tarfile.TarFile, val: Path, wnids: list[str], progress: ProgressCallback) -> None:
    """Sort images into classes: in the order of their names they belong to `wnids`."""
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
    """Write a folder that appears under its name once all is in it."""
    partial = folder.with_name(f".{folder.name}.partial")
    with user_errors(folder, "--data-dir"):
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        for member, tar in members:
            content = tar.extractfile(member) if member.isfile() else None  # links may lead anywhere
            if content is not None:
                with (partial / Path(member.name).name).open("wb") as file:
                    shutil.copyfileobj(content, file)
        os.sync()  # all files at once, else a power cut may leave a class of empty ones
        partial.replace(folder)


def _val_wnids(devkit: Path, num_val: int) -> list[str]:
    """Return the class of each validation image, in the order of the images' names."""
    from scipy.io import loadmat

    with _opened(devkit) as tar:
        found = {Path(member.name).name: member for member in tar if member.isfile()}
        contents = []
        for name in ("meta.mat", "ILSVRC2012_validation_ground_truth.txt"):
            file = tar.extractfile(found[name]) if name in found else None
            if file is None:
                raise UserError(f"{devkit}: no {name} in it; this is not the devkit of tasks 1 and 2 of ILSVRC2012")
            contents.append(file.read())
    meta, truth = contents
    try:
        synsets = loadmat(io.BytesIO(meta), squeeze_me=True)["synsets"]
        wnids = {int(s["ILSVRC2012_ID"]): str(s["WNID"]) for s in synsets}
        labels = [wnids[int(line)] for line in truth.split()]
    except Exception as error:  # scipy raises errors of many kinds on damaged bytes
        raise UserError(f"{devkit}: its meta.mat or ground truth is damaged ({error!r}); fetch it again") from error
    if len(labels) != num_val:
        raise UserError(f"{devkit}: labels of {len(labels)} validation images, expected {num_val}; fetch it again")
    return labels
