from __future__ import annotations

import pickle
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
