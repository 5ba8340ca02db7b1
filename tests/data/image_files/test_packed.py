from __future__ import annotations

import copy
import errno
import io
import os
import pickle
import shutil
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from resrepro.data.dataset import DataOptions
from resrepro.data.image_files import packed, packing
from resrepro.data.image_files.decoding import decode
from resrepro.data.loading import list_image_files, open_image_folder
from resrepro.errors import UserError
from support.images import encoded, name_of, picture


def prepare(root: Path, data_dir: Path, **options: object) -> list[str]:
    tree = list_image_files(name_of(root), data_dir=data_dir)
    return packing.prepare(tree, name_of(root), DataOptions(data_dir=data_dir, **options))  # type: ignore[arg-type]


def packs(root: Path, data_dir: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in packed.directory(name_of(root), data_dir=data_dir).glob("*.pack")}


def test_the_store_keeps_small_files_and_resizes_large_ones(birds: Path, tmp_path: Path) -> None:
    files = open_image_folder(name_of(birds), data_dir=tmp_path)
    assert files.place == str(birds)
    assert prepare(birds, tmp_path) == []
    tree = open_image_folder(name_of(birds), data_dir=tmp_path)
    assert tree.place == str(packed.directory(name_of(birds), data_dir=tmp_path)) and tree.classes == files.classes
    assert open_image_folder(name_of(birds), data_dir=tmp_path, shorter_side=480).place == tree.place
    for part, of_files in ((tree.train, files.train), (tree.test, files.test)):
        assert part.labels.tolist() == of_files.labels.tolist() and part.names.tolist() == of_files.names.tolist()
        for i in range(len(part)):
            assert part.read(i) == of_files.read(i) or part.name(i).endswith("owl/owl_2.JPEG")
    large = decode(tree.train.read(7), "")
    assert large.shape == (3, 686, 480)  # 1001 * 480 / 700 = 686.4
    with Image.open(io.BytesIO(tree.train.read(7))) as image:
        assert image.layer[0][1:3] == image.layer[1][1:3]  # 4:4:4
    whole = picture(1001, 700).resize((480, 686), Image.Resampling.LANCZOS)
    difference = np.array(whole).astype(int) - large.permute(1, 2, 0).numpy()
    assert np.abs(difference).mean() < 1
    shutil.rmtree(birds / "train")
    assert len(open_image_folder(name_of(birds), data_dir=tmp_path).train.read(0))  # needs the files no more


def test_several_processes_write_the_same_store(birds: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packing, "CHUNK", 3)
    prepare(birds, tmp_path / "one")
    prepare(birds, tmp_path / "two", num_workers=2)
    assert packs(birds, tmp_path / "one") == packs(birds, tmp_path / "two")


PROGRAM = """
import sys, time
from pathlib import Path
from resrepro.data.dataset import DataOptions
from resrepro.data.image_files import packing
from resrepro.data.loading import list_image_files
name, data_dir, count, inside = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), sys.argv[4] == "inside"
packing.CHUNK = 2
def progress(part, done, total):
    print(part, done, flush=True)
    if done == count and not inside:
        time.sleep(60)
real = packing.os.fsync
def slow(number):
    real(number)
    if inside and len(calls) == count - 1:  # of each chunk first the images, then their log; and one before all
        print("inside", flush=True)
        time.sleep(60)
    calls.append(0)
calls = []
packing.os.fsync = slow
tree = list_image_files(name, data_dir=data_dir)
packing.prepare(tree, name, DataOptions(data_dir=data_dir, progress=progress))
"""


@pytest.mark.parametrize("count", [2, pytest.param(6, marks=pytest.mark.slow)])
@pytest.mark.parametrize("where", ["between", "inside"])
def test_a_killed_preparation_goes_on(
    birds: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, count: int, where: str
) -> None:
    """Killed between two chunks, and after the images of a chunk are written but not their lengths."""
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, name_of(birds), str(tmp_path), str(count), where],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    waits_for = "inside" if where == "inside" else f"train {count}"
    for line in process.stdout:
        if line.strip() == waits_for:
            break
    process.kill()
    process.wait()
    process.stdout.close()
    with pytest.raises(UserError, match=r"incomplete; 'resrepro data prepare folder:.*' goes on where it stopped"):
        open_image_folder(name_of(birds), data_dir=tmp_path)
    monkeypatch.setattr(packing, "CHUNK", 2)
    seen: list[tuple[str, int]] = []
    prepare(birds, tmp_path, progress=lambda part, done, _total: seen.append((part, done)))
    assert seen[0] == ("train", count if where == "between" else count - 2)
    prepare(birds, tmp_path / "whole")
    assert packs(birds, tmp_path) == packs(birds, tmp_path / "whole")


def test_a_torn_tail_is_cut_off(birds: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a power cut: numbers without their images, half a number."""
    monkeypatch.setattr(packing, "CHUNK", 2)
    prepare(birds, tmp_path / "whole")
    prepare(birds, tmp_path)
    root = packed.directory(name_of(birds), data_dir=tmp_path)
    (root / packed.INDEX).unlink()
    os.truncate(root / "train.pack", (root / "train.pack").stat().st_size - 5)
    with (root / "test.log").open("r+b") as log:
        log.truncate(packing.LOGGED.itemsize * 3 + 3)
    seen: list[tuple[str, int]] = []
    prepare(birds, tmp_path, progress=lambda part, done, _total: seen.append((part, done)))
    assert seen == [("train", 8), ("train", 10), ("test", 2), ("test", 4), ("test", 6)]
    assert packs(birds, tmp_path) == packs(birds, tmp_path / "whole")


@pytest.mark.parametrize("fault", ["zeros in the log", "zeros in the images", "another number"])
@pytest.mark.parametrize("skip_corrupt", [False, True])
def test_what_a_power_cut_leaves_of_the_last_chunk_is_made_again(
    birds: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: str, skip_corrupt: bool
) -> None:
    monkeypatch.setattr(packing, "CHUNK", 2)
    (birds / "train" / "auk" / "auk_3.JPEG").write_bytes(b"corrupt" if skip_corrupt else encoded(picture(40, 30)))
    for place in ("whole", "cut"):
        left_out = prepare(birds, tmp_path / place, skip_corrupt=skip_corrupt)
        assert [Path(name).name for name in left_out] == ["auk_3.JPEG"] * skip_corrupt
    root = packed.directory(name_of(birds), data_dir=tmp_path / "cut")
    (root / packed.INDEX).unlink()
    size = packing.LOGGED.itemsize
    pack, log = ((root / f"train.{suffix}").read_bytes() for suffix in ("pack", "log"))
    match fault:
        case "zeros in the log":
            (root / "train.log").write_bytes(log[: -3 * size] + bytes(3 * size))
        case "zeros in the images":
            (root / "train.pack").write_bytes(pack[:-100] + bytes(100))
        case "another number":
            (root / "train.log").write_bytes(log[:-size] + (7).to_bytes(8, "little") + log[4 - size :])
    seen: list[tuple[str, int]] = []
    prepare(birds, tmp_path / "cut", progress=lambda *done: seen.append(done[:2]), skip_corrupt=skip_corrupt)
    assert seen[0] == ("train", 6 if fault == "zeros in the log" else 8)
    assert packs(birds, tmp_path / "cut") == packs(birds, tmp_path / "whole")
    found, whole = (open_image_folder(name_of(birds), data_dir=tmp_path / place) for place in ("cut", "whole"))
    assert len(found.train) == 10 - skip_corrupt and found.train.fingerprint() == whole.train.fingerprint()


def test_a_damaged_store_is_named_and_not_used(birds: Path, tmp_path: Path) -> None:
    prepare(birds, tmp_path)
    root = packed.directory(name_of(birds), data_dir=tmp_path)
    pack, index = root / "train.pack", root / packed.INDEX
    whole_pack, whole_index = pack.read_bytes(), index.read_bytes()
    pack.write_bytes(whole_pack[:-1])
    with pytest.raises(
        UserError, match=rf"train.pack: {len(whole_pack) - 1} bytes, expected {len(whole_pack)}; damaged"
    ):
        open_image_folder(name_of(birds), data_dir=tmp_path)
    pack.unlink()
    with pytest.raises(UserError, match=r"train.pack: 0 bytes"):
        open_image_folder(name_of(birds), data_dir=tmp_path)
    pack.write_bytes(whole_pack)
    at = whole_index.rindex(b"PK\1\2") + 10  # how a part of the archive is compressed
    odd = whole_index[:at] + b"\xff" + whole_index[at + 1 :]
    for damaged in (b"", whole_index[:-100], whole_index[:700] + b"damaged" + whole_index[707:], odd):
        index.write_bytes(damaged)
        with pytest.raises(UserError, match=r"index.npz: damaged; delete the folder"):
            open_image_folder(name_of(birds), data_dir=tmp_path)


def test_a_store_that_is_made_anew_is_read_anew(birds: Path, tmp_path: Path) -> None:
    root, image = packed.directory(name_of(birds), data_dir=tmp_path), birds / "train" / "auk" / "auk_0.JPEG"
    contents = [image.read_bytes(), encoded(picture(30, 30)), encoded(picture(31, 31))]
    stores = []
    for content in contents:
        shutil.rmtree(root, ignore_errors=True)
        image.write_bytes(content)
        prepare(birds, tmp_path)
        stores.append(open_image_folder(name_of(birds), data_dir=tmp_path).train)
        assert stores[-1].read(0) == content
    assert [store.read(0) for store in stores] == contents  # each goes on with its own
    assert all(store.read(9) == (birds / "train" / "owl" / "owl_4.JPEG").read_bytes() for store in stores)


def test_a_file_of_the_store_is_closed_with_the_last_that_reads_it(birds: Path, tmp_path: Path) -> None:
    prepare(birds, tmp_path)
    train = open_image_folder(name_of(birds), data_dir=tmp_path).train
    assert isinstance(train, packed.PackedFiles)
    first, shared = train.read(0), train.pack.descriptor
    part, copied, unpickled = replace(train, names=train.names[:1]), copy.copy(train), pickle.loads(pickle.dumps(train))
    own = unpickled.pack.descriptor
    del train
    assert part.read(0) == copied.read(0) == unpickled.read(0) == first
    del part, copied
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(shared)
    assert unpickled.read(0) == first
    del unpickled
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(own)


def test_too_many_open_files_are_one_line(birds: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: str, _flags: int) -> int:
        raise OSError(errno.EMFILE, "Too many open files", path)

    prepare(birds, tmp_path)
    monkeypatch.setattr(packed.os, "open", full)  # type: ignore[attr-defined]
    with pytest.raises(UserError, match=r"train.pack: Too many open files; expected a file that can be read"):
        open_image_folder(name_of(birds), data_dir=tmp_path)


def test_a_store_of_other_files_is_refused(birds: Path, tmp_path: Path) -> None:
    prepare(birds, tmp_path)
    prepare(birds, tmp_path, skip_corrupt=True)  # what is there has no corrupt ones
    with pytest.raises(UserError, match="it was begun with skip_corrupt = True; delete it"):
        prepare(birds, tmp_path)
    (birds / "train" / "auk" / "new.JPEG").write_bytes(encoded(picture(30, 30)))
    with pytest.raises(UserError, match="the train files are others now; delete it"):
        prepare(birds, tmp_path, skip_corrupt=True)


def test_test_images_stay_as_they_are(birds: Path, tmp_path: Path) -> None:
    """Multi-scale tests resize them to up to 640; and none of them is left out."""
    large = birds / "val" / "owl" / "owl_2.JPEG"
    large.write_bytes(encoded(picture(1001, 700), quality=95))
    prepare(birds, tmp_path)
    test = open_image_folder(name_of(birds), data_dir=tmp_path).test
    kept = {Path(test.name(i)).name: test.read(i) for i in range(len(test)) if "owl" in test.name(i)}
    assert kept["owl_2.JPEG"] == large.read_bytes()
    large.write_bytes(large.read_bytes()[:-100])
    with pytest.raises(UserError, match=rf"{large}: not a readable image"):
        prepare(birds, tmp_path / "other", skip_corrupt=True)


def test_corrupt_images_are_named_or_left_out(birds: Path, tmp_path: Path) -> None:
    bad = birds / "train" / "auk" / "auk_3.JPEG"
    bad.write_bytes(bad.read_bytes()[:-100])
    with pytest.raises(UserError, match=rf"{bad}: not a readable image"):
        prepare(birds, tmp_path)
    assert prepare(birds, tmp_path / "other", skip_corrupt=True) == [str(bad)]
    assert prepare(birds, tmp_path / "other", skip_corrupt=True) == [str(bad)]
    tree = open_image_folder(name_of(birds), data_dir=tmp_path / "other")
    assert len(tree.train) == 9 and tree.train.labels.tolist() == [0] * 4 + [1] * 5
    assert tree.train.read(3) == (birds / "train" / "auk" / "auk_4.JPEG").read_bytes()


def test_a_split_without_a_readable_image_is_refused(birds: Path, tmp_path: Path) -> None:
    root = packed.directory(name_of(birds), data_dir=tmp_path)
    for image in (birds / "train").glob("*/*.JPEG"):
        image.write_bytes(b"no image")
    for _ in range(2):
        with pytest.raises(
            UserError, match=rf"^{birds / 'train'}: not one readable image; replace the files, and delete {root}$"
        ):
            prepare(birds, tmp_path, skip_corrupt=True)
        assert not (root / packed.INDEX).exists()
    nothing = {
        f"{split}_{column}": np.array([], dtype=np.int64) for split in packed.SPLITS for column in packed.COLUMNS
    }
    np.savez(root / packed.INDEX, classes=np.array("[]"), **nothing)  # as it was once written
    with pytest.raises(UserError, match=r"index.npz: damaged; delete the folder"):
        open_image_folder(name_of(birds), data_dir=tmp_path)


def test_no_space_is_one_line_with_what_is_needed(birds: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(packing.shutil, "disk_usage", lambda _: SimpleNamespace(free=1000))  # type: ignore[attr-defined]
        with pytest.raises(UserError, match=r"about .* GiB are needed, and .* GiB are free; .*--data-dir"):
            prepare(birds, tmp_path)
    assert not (tmp_path / "prepared").exists()

    calls: list[int] = []

    def full(_: int) -> None:
        calls.append(0)
        if len(calls) == 3:
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(packing, "CHUNK", 2)
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(UserError, match=r"no space left after \d of 10 images; free about .* GiB and .*goes on"):
            prepare(birds, tmp_path)
    prepare(birds, tmp_path)
    prepare(birds, tmp_path / "whole")
    assert packs(birds, tmp_path) == packs(birds, tmp_path / "whole")


def test_two_preparations_at_once_are_refused(birds: Path, tmp_path: Path) -> None:
    errors: list[str] = []

    def second() -> None:
        try:
            prepare(birds, tmp_path)
        except UserError as error:
            errors.append(str(error))

    def progress(*_: object) -> None:
        thread = threading.Thread(target=second)
        thread.start()
        thread.join()

    prepare(birds, tmp_path, progress=progress)
    assert errors and all("another process is preparing it" in error for error in errors)
