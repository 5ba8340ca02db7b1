from __future__ import annotations

import pickle
from pathlib import Path

import pytest
from pictures import write_tree

from resrepro.config.datasets import check_dataset, dataset_title
from resrepro.data.dataset import DataOptions
from resrepro.data.image_files import imagenet
from resrepro.data.loading import load_dataset, open_image_folder
from resrepro.errors import UserError


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


def test_imagenets_validation_images_in_one_heap(tmp_path: Path) -> None:
    root = write_tree(tmp_path / "imagenet")
    for name in ("auk", "owl"):
        for file in (root / "val" / name).iterdir():
            file.rename(root / "val" / file.name)
        (root / "val" / name).rmdir()
    with pytest.raises(UserError, match=r"val: expected at least two class folders .* found 0 and 6 files beside"):
        open_image_folder("imagenet", data_dir=tmp_path)


def test_imagenet_has_a_thousand_classes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match=r"imagenet: no such folder; .*official tars"):
        open_image_folder("imagenet", data_dir=tmp_path)
    root = write_tree(tmp_path / "imagenet")
    with pytest.raises(UserError, match=rf"2 classes, expected ImageNet's 1000; .* folder:{root}"):
        open_image_folder("imagenet", data_dir=tmp_path)
    monkeypatch.setattr(imagenet, "NUM_CLASSES", 2)
    assert len(open_image_folder("imagenet", data_dir=tmp_path).train) == 10


def test_imagenette_is_found_unpacked_and_must_be_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_tree(tmp_path / "imagenette2-160")
    with pytest.raises(UserError, match=r"10 training and 6 test images, expected 9469 and 3925; .*cut short"):
        open_image_folder("imagenette", data_dir=tmp_path)
    monkeypatch.setattr(imagenet, "IMAGENETTE_COUNTS", (10, 6))
    assert open_image_folder("imagenette", data_dir=tmp_path).place == str(tmp_path / "imagenette2-160")
    write_tree(tmp_path / "imagenette2-320")
    with pytest.raises(UserError, match=r"imagenette2-160, imagenette2-320 are all there; .*folder:PATH"):
        open_image_folder("imagenette", data_dir=tmp_path)
    write_tree(tmp_path / "imagenette2")
    assert open_image_folder("imagenette", data_dir=tmp_path).place == str(tmp_path / "imagenette2")


def test_imagenette_without_a_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise ConnectionResetError("no route")

    monkeypatch.setattr("torchvision.datasets.imagenette.download_and_extract_archive", refuse)
    with pytest.raises(UserError, match=r"no imagenette2 there, and it cannot be downloaded from .* \(no route\)"):
        open_image_folder("imagenette", data_dir=tmp_path / "data")


def test_the_catalog_knows_the_trees(tmp_path: Path) -> None:
    assert [dataset_title(name) for name in ("imagenet", "folder:/some/birds")] == ["ImageNet", "birds"]
    assert dataset_title(f"folder:{tmp_path}/.") == tmp_path.name
    with pytest.raises(UserError, match="dataset 'imagenette': its images differ in size"):
        load_dataset("imagenette", DataOptions(data_dir=tmp_path))
    check_dataset("imagenette")
    with pytest.raises(UserError, match="dataset 'shapes': image files are expected here"):
        open_image_folder("shapes", data_dir=tmp_path)
