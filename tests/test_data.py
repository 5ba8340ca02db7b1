from __future__ import annotations

import hashlib
import http.client
import pickle
import shutil
import tarfile
import urllib.error
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torchvision
from PIL import Image
from torchvision.datasets import CIFAR10

from resrepro.data.dataset import DataOptions
from resrepro.data.in_memory.images import Images
from resrepro.data.loading import load_dataset
from resrepro.errors import UserError


def load(name: str, *, data_dir: Path) -> Images:
    return load_dataset(name, DataOptions(data_dir=data_dir)).images


def test_shapes_are_a_function_of_nothing_and_balanced(tmp_path: Path) -> None:
    a, b = (load("shapes", data_dir=tmp_path) for _ in range(2))
    assert (a.train_images == b.train_images).all() and (a.test_labels == b.test_labels).all()
    assert a.train_images.shape[1:] == (16, 16, 3) and a.num_classes == 10
    assert a.train_labels.bincount().min() == a.train_labels.bincount().max()
    assert not (a.train_images[: len(a.test_images)] == a.test_images).flatten(1).all(1).any()
    assert list(tmp_path.iterdir()) == []


def test_per_pixel_mean_is_of_the_training_images(tmp_path: Path) -> None:
    images = load("shapes", data_dir=tmp_path)
    np.testing.assert_allclose(images.pixel_mean(), images.train_images.numpy().mean(0, dtype=np.float64), rtol=1e-6)


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("cifar-10", "did you mean 'cifar10'"),
        ("folder:", "did you mean 'folder:PATH'"),
        ("imagenet", "preset 'imagenet'"),
        ("folder", "folder:PATH"),
    ],
)
def test_unknown_dataset(name: str, hint: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=hint):
        load(name, data_dir=tmp_path)


@pytest.fixture
def cifar(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """CIFAR-10's format with 20 images a file, and torchvision's md5 list to match."""
    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()
    draw = np.random.default_rng(0)

    def write(name: str, content: object) -> list[str]:
        (folder / name).write_bytes(pickle.dumps(content))
        return [name, hashlib.md5((folder / name).read_bytes()).hexdigest()]

    def batch(name: str) -> list[str]:
        pixels = draw.integers(0, 256, (20, 3072), dtype=np.uint8)
        return write(name, {"data": pixels, "labels": draw.integers(0, 10, 20).tolist()})

    monkeypatch.setattr(CIFAR10, "train_list", [batch(f"data_batch_{i}") for i in range(1, 6)])
    monkeypatch.setattr(CIFAR10, "test_list", [batch("test_batch")])
    name, md5 = write("batches.meta", {"label_names": list("abcdefghij")})
    monkeypatch.setattr(CIFAR10, "meta", {"filename": name, "key": "label_names", "md5": md5})
    return tmp_path


def test_cifar10_is_read_with_all_its_training_images(cifar: Path) -> None:
    images = load("cifar10", data_dir=cifar)
    assert images.train_images.shape == (100, 32, 32, 3) and images.test_images.shape == (20, 32, 32, 3)
    assert images.train_images.is_contiguous() and images.test_images.is_contiguous()
    stored = pickle.loads((cifar / "cifar-10-batches-py" / "data_batch_3").read_bytes())
    assert images.train_images[40, 2, 5].tolist() == [int(stored["data"][0, c * 1024 + 2 * 32 + 5]) for c in range(3)]
    assert images.train_labels[40] == stored["labels"][0]


def test_cifar10_truncated_altered_or_missing_names_the_file(cifar: Path) -> None:
    file = cifar / "cifar-10-batches-py" / "data_batch_2"
    whole = file.read_bytes()
    file.write_bytes(whole[:-100])
    with pytest.raises(UserError, match=rf"{file}: .* wrong md5, expected .* truncated"):
        load("cifar10", data_dir=cifar)
    file.unlink()
    with pytest.raises(UserError, match=rf"{file}: missing"):
        load("cifar10", data_dir=cifar)
    file.write_bytes(whole)
    (file.parent / "batches.meta").write_bytes(b"")
    with pytest.raises(UserError, match=r"batches.meta: 0 bytes with a wrong md5"):
        load("cifar10", data_dir=cifar)


@pytest.mark.parametrize(
    "failure",
    [urllib.error.URLError("no route"), ConnectionResetError("no route"), http.client.IncompleteRead(b"no route")],
)
def test_no_network_says_where_to_put_the_files(
    failure: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise failure

    monkeypatch.setattr("torchvision.datasets.cifar.download_and_extract_archive", refuse)
    with pytest.raises(UserError, match=r"cannot be downloaded .*(no route|IncompleteRead).*--data-dir"):
        load("cifar10", data_dir=tmp_path / "absent")


@pytest.mark.parametrize("another", [False, True], ids=["alone", "beside another process"])
def test_an_archive_becomes_a_whole_folder(another: bool, cifar: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, data_dir = cifar / "cifar-10-batches-py", cifar / "data"
    data_dir.mkdir()
    with tarfile.open(data_dir / CIFAR10.filename, "w:gz") as archive:
        archive.add(folder, folder.name)
    md5 = hashlib.md5((data_dir / CIFAR10.filename).read_bytes()).hexdigest()
    monkeypatch.setattr(CIFAR10, "tgz_md5", md5)
    unpack = torchvision.datasets.cifar.download_and_extract_archive

    def unpacked(url: str, place: str, **rest: object) -> None:
        assert not (data_dir / folder.name).exists() and Path(place) != data_dir
        if another:
            shutil.copytree(folder, data_dir / folder.name)
        unpack(url, place, **rest)

    monkeypatch.setattr("torchvision.datasets.cifar.download_and_extract_archive", unpacked)
    assert len(load("cifar10", data_dir=data_dir).train_images) == 100
    assert sorted(path.name for path in data_dir.iterdir()) == [folder.name, CIFAR10.filename]


@pytest.fixture
def tree(tmp_path: Path) -> Callable[..., Path]:
    def write(test: str = "val", size: tuple[int, int] = (6, 8)) -> Path:
        draw = np.random.default_rng(0)
        for part, count in (("train", 3), (test, 2)):
            for name in ("owl", "auk"):
                (tmp_path / "birds" / part / name).mkdir(parents=True)
                for i in range(count):
                    pixels = draw.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
                    Image.fromarray(pixels).save(tmp_path / "birds" / part / name / f"{i}.png")
        return tmp_path / "birds"

    return write


@pytest.mark.parametrize("test", ["test", "val"])
def test_a_folder_of_images_is_read_with_sorted_classes(tree: Callable[..., Path], test: str) -> None:
    root = tree(test)
    images = load(f"folder:{root}", data_dir=root)
    assert images.train_images.shape == (6, 8, 6, 3) and images.num_classes == 2
    assert images.train_labels.tolist() == [0, 0, 0, 1, 1, 1]
    with Image.open(root / "train" / "owl" / "1.png") as stored:
        assert (images.train_images[4].numpy() == np.asarray(stored)).all()


def test_a_folder_with_a_mistake_names_it(tree: Callable[..., Path]) -> None:
    with pytest.raises(UserError, match="no such folder"):
        load("folder:/nowhere", data_dir=Path())
    root = tree()
    name = f"folder:{root}"
    (root / "val" / "emu").mkdir()
    with pytest.raises(UserError, match=r"val/emu: no such class"):
        load(name, data_dir=root)
    (root / "val" / "emu").rmdir()
    odd = root / "train" / "owl" / "0.png"
    Image.new("RGB", (5, 5)).save(odd)
    with pytest.raises(UserError, match=rf"{odd}: 5x5 pixels, but the first image is 6x8"):
        load(name, data_dir=root)
    odd.write_bytes(b"no image")
    with pytest.raises(UserError, match=rf"{odd}: not a readable image"):
        load(name, data_dir=root)
