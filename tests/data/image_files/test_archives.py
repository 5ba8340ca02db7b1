"""ImageNet's official archives become class folders."""

from __future__ import annotations

import gzip
import hashlib
import io
import shutil
import tarfile
from pathlib import Path

import pytest

from resrepro.data.image_files import archives
from resrepro.data.image_files.listing import ImageFolder
from resrepro.data.loading import open_image_folder
from resrepro.errors import UserError
from support.images import encoded, name_of, picture

# The devkit's table of classes, made by scipy.io.savemat in the devkit's layout: three classes and one above them.
META = Path(__file__).parents[2] / "golden" / "meta.mat"


WNIDS = ["n02119789", "n02100735", "n02110185"]


def add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(content)
    tar.addfile(member, io.BytesIO(content))


def write_devkit(root: Path, meta: bytes, truth: bytes) -> None:
    with tarfile.open(root / archives.DEVKIT, "w:gz") as devkit:
        add(devkit, "ILSVRC2012_devkit_t12/data/meta.mat", meta)
        add(devkit, "ILSVRC2012_devkit_t12/data/ILSVRC2012_validation_ground_truth.txt", truth)


@pytest.fixture
def tars(tmp_path: Path) -> Path:
    """ImageNet in small: three classes of two, and six validation images whose labels are 3 1 2 2 1 3."""
    root = tmp_path / "imagenet"
    root.mkdir()
    with tarfile.open(root / archives.TRAIN, "w") as train:
        for c, wnid in enumerate(WNIDS):
            inner = io.BytesIO()
            with tarfile.open(fileobj=inner, mode="w") as of_class:
                for k in range(2):
                    add(of_class, f"{wnid}_{k}.JPEG", encoded(picture(20, 30, seed=10 * c + k)))
            add(train, f"{wnid}.tar", inner.getvalue())
    with tarfile.open(root / archives.VAL, "w") as val:
        for k in (3, 1, 2, 6, 5, 4):  # not in order
            add(val, f"ILSVRC2012_val_{k:08}.JPEG", encoded(picture(20, 30, seed=k)))
    write_devkit(root, META.read_bytes(), b"3\n1\n2\n2\n1\n3\n")
    return root


def unpack(root: Path) -> ImageFolder:
    found = {path.name: hashlib.md5(path.read_bytes()).hexdigest() for path in root.glob("ILSVRC*")}
    archives.unpack(root, lambda *_: None, num_classes=3, num_val=6, md5={**archives.MD5, **found})
    return open_image_folder(name_of(root), data_dir=root)


@pytest.mark.parametrize(
    ("meta", "truth"),
    [(META.read_bytes()[:300], b"3\n1\n2\n2\n1\n3\n"), (b"", b"1\n"), (META.read_bytes(), b"3\n1\n2\n2\n1\n9\n")],
    ids=["table cut short", "table empty", "unknown class"],
)
def test_a_devkit_with_damaged_tables_is_named(meta: bytes, truth: bytes, tars: Path) -> None:
    write_devkit(tars, meta, truth)
    with pytest.raises(
        UserError, match=rf"{archives.DEVKIT}: its meta.mat or ground truth is damaged .*fetch"
    ) as caught:
        unpack(tars)
    assert "\n" not in str(caught.value)


def test_a_devkit_of_other_images_is_named(tars: Path) -> None:
    write_devkit(tars, META.read_bytes(), b"3\n1\n")
    with pytest.raises(UserError, match="labels of 2 validation images, expected 6"):
        unpack(tars)


def test_the_official_archives_become_class_folders(tars: Path) -> None:
    tree = unpack(tars)
    assert tree.classes == tuple(sorted(WNIDS)) and len(tree.train) == 6
    where = {Path(tree.test.name(i)).name: tree.classes[tree.test.labels[i]] for i in range(6)}
    truth = [3, 1, 2, 2, 1, 3]
    assert where == {f"ILSVRC2012_val_{k + 1:08}.JPEG": WNIDS[truth[k] - 1] for k in range(6)}
    image = tars / "train" / WNIDS[1] / f"{WNIDS[1]}_1.JPEG"
    assert image.read_bytes() == encoded(picture(20, 30, seed=11))
    (tars / archives.TRAIN).unlink()
    unpack(tars)  # all is there


def test_unpacking_goes_on_where_it_was_stopped(tars: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real, calls = shutil.copyfileobj, []

    def stops(*arguments: object) -> None:
        calls.append(0)
        if len(calls) == 4:
            raise KeyboardInterrupt
        real(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(archives.shutil, "copyfileobj", stops)  # type: ignore[attr-defined]
    with pytest.raises(KeyboardInterrupt):
        unpack(tars)
    assert [p.name for p in (tars / "train").iterdir() if p.name[0] != "."] == [WNIDS[0]]
    assert len(unpack(tars).train) == 6
    assert len(calls) == 4 + 4 + 6  # the first class is not written again


def test_damaged_or_missing_archives_are_named(tars: Path) -> None:
    whole = (tars / archives.TRAIN).read_bytes()
    (tars / archives.TRAIN).write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UserError, match=rf"{archives.TRAIN}: damaged .*fetch it again"):
        unpack(tars)
    (tars / archives.TRAIN).write_bytes(whole)
    whole = (tars / archives.DEVKIT).read_bytes()
    (tars / archives.DEVKIT).write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UserError, match=rf"{archives.DEVKIT}: "):
        unpack(tars)
    (tars / archives.DEVKIT).unlink()
    with pytest.raises(UserError, match=rf"{archives.DEVKIT}: no such file; put ImageNet's official"):
        unpack(tars)


def test_a_flipped_bit_in_an_image_is_seen_before_anything_is_unpacked(tars: Path) -> None:
    """Neither the tar nor a decoder of JPEGs would see it, and scipy ends the process at some in meta.mat."""
    whole = bytearray((tars / archives.TRAIN).read_bytes())
    whole[len(whole) // 2] ^= 1
    (tars / archives.TRAIN).write_bytes(whole)
    assert archives.MD5[archives.TRAIN] == "1d675b47d978889d74fa0da5fadfb00e"
    with pytest.raises(
        UserError, match=rf"{archives.TRAIN}: its md5 is \w+, expected {archives.MD5[archives.TRAIN]}; "
    ):
        archives.unpack(tars, lambda *_: None)
    assert not (tars / "train").exists()


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.DIRTYPE, tarfile.FIFOTYPE])
@pytest.mark.parametrize("where", ["class", "image"])
def test_links_in_a_tar_are_not_followed(where: str, kind: bytes, tars: Path) -> None:
    link = tarfile.TarInfo("n1.tar" if where == "class" else "link.JPEG")
    link.type, link.linkname = kind, link.name  # to itself
    if where == "class":
        with tarfile.open(tars / archives.TRAIN, "a") as train:
            train.addfile(link)
        with pytest.raises(UserError, match=rf"{archives.TRAIN}: damaged \(n1.tar is no file\)"):
            unpack(tars)
        return
    inner = io.BytesIO()
    with tarfile.open(fileobj=inner, mode="w") as of_class:
        of_class.addfile(link)
        add(of_class, "n2_0.JPEG", encoded(picture(20, 30)))
    with tarfile.open(tars / archives.TRAIN, "w") as train:
        for wnid in WNIDS:
            add(train, f"{wnid}.tar", inner.getvalue())
    assert len(unpack(tars).train) == 3


@pytest.mark.parametrize("content", [b"", b"no gzip file", b"\x1f\x8b" + bytes(40)])
def test_a_devkit_that_is_none_is_one_line(content: bytes, tars: Path) -> None:
    (tars / archives.DEVKIT).write_bytes(content)
    with pytest.raises(UserError, match=rf"{archives.DEVKIT}: damaged"):
        unpack(tars)
    whole = bytearray(gzip.compress(bytes(20_000)))
    whole[-6] ^= 1  # of the checksum, which is read at the end
    (tars / archives.DEVKIT).write_bytes(whole)
    with pytest.raises(UserError, match=rf"{archives.DEVKIT}: "):
        unpack(tars)
