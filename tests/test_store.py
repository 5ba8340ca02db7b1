from __future__ import annotations

import errno
import io
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from conftest import command
from pictures import encoded, picture, write_tree
from PIL import Image
from typer.testing import CliRunner

from resrepro.cli import app
from resrepro.data.dataset import DataOptions
from resrepro.data.image_files import archives, packed
from resrepro.data.image_files.check import kind_of
from resrepro.data.image_files.decoding import decode
from resrepro.data.image_files.listing import ImageFolder
from resrepro.data.loading import open_image_folder
from resrepro.errors import UserError


@pytest.fixture
def birds(tmp_path: Path) -> Path:
    """Ten training images, one of them large, and six for the test."""
    root = write_tree(tmp_path / "birds")
    (root / "train" / "owl" / "owl_2.JPEG").write_bytes(encoded(picture(1001, 700), quality=95))
    return root


def name_of(root: Path) -> str:
    return f"folder:{root}"


def prepare(root: Path, data_dir: Path, **options: object) -> list[str]:
    tree = open_image_folder(name_of(root), data_dir=data_dir, prepared=False)
    return packed.prepare(tree, name_of(root), DataOptions(data_dir=data_dir, **options))  # type: ignore[arg-type]


def packs(root: Path, data_dir: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in packed.directory(name_of(root), data_dir=data_dir).glob("*.pack")}


def test_the_store_keeps_small_files_and_resizes_large_ones(birds: Path, tmp_path: Path) -> None:
    files = open_image_folder(name_of(birds), data_dir=tmp_path)
    assert files.place == str(birds)
    assert prepare(birds, tmp_path) == []
    tree = open_image_folder(name_of(birds), data_dir=tmp_path)
    assert tree.place == str(packed.directory(name_of(birds), data_dir=tmp_path)) and tree.classes == files.classes
    assert open_image_folder(name_of(birds), data_dir=tmp_path, prepared=False).place == str(birds)
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
    monkeypatch.setattr(packed, "CHUNK", 3)
    prepare(birds, tmp_path / "one")
    prepare(birds, tmp_path / "two", num_workers=2)
    assert packs(birds, tmp_path / "one") == packs(birds, tmp_path / "two")


PROGRAM = """
import sys, time
from pathlib import Path
from resrepro.data.dataset import DataOptions
from resrepro.data.image_files import packed
from resrepro.data.loading import open_image_folder
name, data_dir, count, inside = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), sys.argv[4] == "inside"
packed.CHUNK = 2
def progress(part, done, total):
    print(part, done, flush=True)
    if done == count and not inside:
        time.sleep(60)
real = packed.os.fsync
def slow(number):
    real(number)
    if inside and len(calls) == count // 2:
        print("inside", flush=True)
        time.sleep(60)
    calls.append(0)
calls = []
packed.os.fsync = slow
tree = open_image_folder(name, data_dir=data_dir, prepared=False)
packed.prepare(tree, name, DataOptions(data_dir=data_dir, progress=progress))
"""


@pytest.mark.parametrize("count", [2, 6])
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
    monkeypatch.setattr(packed, "CHUNK", 2)
    seen: list[tuple[str, int]] = []
    prepare(birds, tmp_path, progress=lambda part, done, _total: seen.append((part, done)))
    assert seen[0] == ("train", count if where == "between" else count - 2)
    prepare(birds, tmp_path / "whole")
    assert packs(birds, tmp_path) == packs(birds, tmp_path / "whole")


def test_a_torn_tail_is_cut_off(birds: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a power cut: numbers without their images, half a number."""
    monkeypatch.setattr(packed, "CHUNK", 2)
    prepare(birds, tmp_path / "whole")
    prepare(birds, tmp_path)
    root = packed.directory(name_of(birds), data_dir=tmp_path)
    (root / packed.INDEX).unlink()
    os.truncate(root / "train.pack", (root / "train.pack").stat().st_size - 5)
    with (root / "test.lengths").open("r+b") as log:
        log.truncate(8 * 3 + 3)
    seen: list[tuple[str, int]] = []
    prepare(birds, tmp_path, progress=lambda part, done, _total: seen.append((part, done)))
    assert seen == [("train", 8), ("train", 10), ("test", 2), ("test", 4), ("test", 6)]
    assert packs(birds, tmp_path) == packs(birds, tmp_path / "whole")


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
    for damaged in (b"", whole_index[:-100], whole_index[:700] + b"damaged" + whole_index[707:]):
        index.write_bytes(damaged)
        with pytest.raises(UserError, match=r"index.npz: damaged; delete the folder"):
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


def test_no_space_is_one_line_with_what_is_needed(birds: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(packed.shutil, "disk_usage", lambda _: SimpleNamespace(free=1000))  # type: ignore[attr-defined]
        with pytest.raises(UserError, match=r"about .* GiB are needed, and .* GiB are free; .*--data-dir"):
            prepare(birds, tmp_path)
    assert not (tmp_path / "prepared").exists()

    calls: list[int] = []

    def full(_: int) -> None:
        calls.append(0)
        if len(calls) == 3:
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(packed, "CHUNK", 2)
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


# The devkit's table of classes, made by scipy.io.savemat in the devkit's layout: three classes and one above them.
META = Path(__file__).parent / "golden" / "meta.mat"
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
    archives.unpack(root, lambda *_: None, num_classes=3, num_val=6)
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


def test_kinds_are_told_by_the_content() -> None:
    image = picture(20, 30)
    assert kind_of(encoded(image)) == kind_of(encoded(image, progressive=True)) == "JPEG"
    assert kind_of(encoded(image.convert("L"))) == "JPEG, grayscale"
    assert kind_of(encoded(image.convert("CMYK"))) == "JPEG, CMYK"
    assert kind_of(encoded(image, "PNG")) == "PNG" and kind_of(encoded(image, "BMP")) == "other"


def run(*words: object) -> tuple[str, BaseException | None]:
    done = CliRunner().invoke(app, [str(word) for word in words])
    return done.output, done.exception


def test_check_and_prepare_by_command(birds: Path, tmp_path: Path) -> None:
    (birds / "train" / "owl" / "owl_0.JPEG").write_bytes(encoded(picture(20, 30), "PNG"))
    (birds / "train" / "owl" / "owl_1.JPEG").write_bytes(encoded(picture(50, 40).convert("CMYK")))
    where = (name_of(birds), "--data-dir", tmp_path, "--workers", 0)
    out, error = run("data", "check", *where, "--smallest", 33)
    assert error is None
    line = "train: 10 images, 5 to 5 a class; 8 JPEG, 1 JPEG, CMYK, 1 PNG; 1 smaller than 33 pixels; 0 unreadable"
    assert line in out.splitlines()
    bad = birds / "train" / "auk" / "auk_1.JPEG"
    bad.write_bytes(b"no image")
    out, error = run("data", "check", *where)
    assert isinstance(error, SystemExit) and error.code == 1 and f"{bad}: not a readable image" in out
    out, error = run("data", "prepare", *where)
    assert isinstance(error, UserError) and str(error).startswith(f"{bad}: not a readable image")
    shutil.rmtree(tmp_path / "prepared")
    out, error = run("data", "prepare", *where, "--skip-corrupt")
    assert error is None and f"left out as corrupt: {bad}" in out
    assert "9 training and 6 test images, 2 classes" in out
    out, error = run("data", "check", *where)
    assert error is None and out.startswith(str(tmp_path / "prepared"))


def test_an_interrupted_preparation_ends_at_once(birds: Path, tmp_path: Path) -> None:
    for k in range(300):
        shutil.copy(birds / "train" / "owl" / "owl_2.JPEG", birds / "train" / "owl" / f"x{k}.JPEG")
    process = subprocess.Popen(
        command("data", "prepare", name_of(birds), "--data-dir", tmp_path, "--workers", 1),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    while not list(tmp_path.glob("prepared/*/train.pack")):
        time.sleep(0.02)
        assert process.poll() is None
    time.sleep(0.5)
    os.killpg(process.pid, signal.SIGINT)
    _, error = process.communicate(timeout=20)
    assert process.returncode != 0 and "Traceback" not in error
