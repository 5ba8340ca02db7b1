from __future__ import annotations

import os
import pickle
from collections.abc import Callable
from pathlib import Path

import pytest

from resrepro.data.loading import open_image_folder
from resrepro.errors import UserError
from support.images import write_tree


def test_a_tree_is_listed_with_sorted_classes_and_read(tmp_path: Path) -> None:
    root = write_tree(tmp_path / "birds")
    (root / "train" / "owl" / "nested").mkdir()
    (root / "train" / "owl" / "owl_4.JPEG").rename(root / "train" / "owl" / "nested" / "ä.png")
    (root / "train" / "owl" / "notes.txt").touch()
    (root / "train" / "owl" / "._owl_1.JPEG").touch()
    (root / ".cache").mkdir()
    tree = open_image_folder(f"folder:{root}", data_dir=tmp_path)
    assert tree.classes == ("auk", "owl") and tree.place == str(root)
    assert tree.train.labels.tolist() == [0] * 5 + [1] * 5 and tree.train.labels.dtype == "int64"
    assert len(tree.test) == 6
    assert tree.train.name(5) == str(root / "train" / "owl" / "nested" / "ä.png")
    assert tree.train.read(9) == (root / "train" / "owl" / "owl_3.JPEG").read_bytes()
    again = pickle.loads(pickle.dumps(tree.train))
    assert [again.name(i) for i in range(10)] == [tree.train.name(i) for i in range(10)]
    (root / "train" / "owl" / "owl_3.JPEG").unlink()
    with pytest.raises(UserError, match=r"owl_3.JPEG: No such file"):
        tree.train.read(9)


def test_the_fingerprint_sees_names_labels_and_sizes(tmp_path: Path) -> None:
    root = write_tree(tmp_path / "birds")

    def now() -> str:
        return open_image_folder(f"folder:{root}", data_dir=tmp_path).train.fingerprint()

    seen = [now()]
    assert now() == seen[0]
    (root / "train" / "auk" / "auk_0.JPEG").rename(root / "train" / "auk" / "auk_00.JPEG")
    seen.append(now())
    (root / "train" / "owl" / "owl_0.JPEG").write_bytes(b"other")
    seen.append(now())
    assert len(set(seen)) == 3


def test_a_tree_with_a_mistake_names_it(tmp_path: Path) -> None:
    def refused(match: str) -> None:
        with pytest.raises(UserError, match=match) as caught:
            open_image_folder(f"folder:{root}", data_dir=tmp_path)
        assert "\n" not in str(caught.value)

    root = tmp_path / "birds"
    refused("birds: no such folder; expected .*<class>")
    (root / "images").mkdir(parents=True)
    refused("expected the folders 'train' and 'test'.*found images")
    write_tree(root)
    (root / "val" / "emu").mkdir()
    refused(r"val/emu: no such class in .*train \(1 such: emu\)")
    (root / "val" / "emu").rmdir()
    for k in range(4):
        (root / "train" / f"roc{k}").mkdir()
    refused(r"train/roc0: no such class in .*val \(4 such: roc0, roc1, roc2, ...\)")
    for k in range(1, 4):
        (root / "train" / f"roc{k}").rmdir()
    (root / "val" / "roc0").mkdir()
    refused("train/roc0: no images in this class")


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (os.mkfifo, "odd.png: a link to nothing, or a pipe"),
        (lambda path: path.symlink_to("nowhere"), "odd.png: a link to nothing, or a pipe"),
        (lambda path: path.symlink_to("odd.png"), "odd.png: Too many levels of symbolic links"),
        (lambda path: path.symlink_to(".."), "odd.png: Too many levels of symbolic links"),
        (lambda path: path.with_suffix(".WebP").touch(), "odd.WebP: expected PNG or JPEG; convert the image, or rem"),
    ],
    ids=["named pipe", "link to nothing", "link to itself", "link upwards", "another format"],
)
def test_what_is_no_image_file_is_named_and_not_waited_for(
    make: Callable[[Path], None], match: str, tmp_path: Path
) -> None:
    root = write_tree(tmp_path / "birds")
    make(root / "train" / "owl" / "odd.png")
    with pytest.raises(UserError, match=match) as caught:
        open_image_folder(f"folder:{root}", data_dir=tmp_path)
    assert "\n" not in str(caught.value)


def test_a_link_to_an_image_or_to_a_folder_of_them_is_followed(tmp_path: Path) -> None:
    root = write_tree(tmp_path / "birds")
    (root / "train" / "owl").rename(tmp_path / "owls")
    (root / "train" / "owl").symlink_to(tmp_path / "owls")
    (tmp_path / "owls" / "owl_0.JPEG").rename(tmp_path / "first.JPEG")
    (tmp_path / "owls" / "owl_0.JPEG").symlink_to(tmp_path / "first.JPEG")
    assert len(open_image_folder(f"folder:{root}", data_dir=tmp_path).train) == 10


def test_names_of_any_bytes_are_read(tmp_path: Path) -> None:
    root = write_tree(tmp_path / "birds")
    owl, image = os.fsdecode(b"o\xff\n"), os.fsdecode(b"\xe4.png")
    for split in ("train", "val"):
        (root / split / "owl").rename(root / split / owl)
    (root / "train" / "auk" / "auk_0.JPEG").rename(root / "train" / "auk" / image)
    tree = open_image_folder(f"folder:{root}", data_dir=tmp_path)
    assert tree.classes == ("auk", owl) and tree.train.name(4) == str(root / "train" / "auk" / image)
    assert tree.train.read(4) and tree.train.num_bytes(9)
    (root / "train" / "auk" / image).unlink()
    with pytest.raises(UserError, match=r"\\udce4.png: No such file"):
        tree.train.read(4)
