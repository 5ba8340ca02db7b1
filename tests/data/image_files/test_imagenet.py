"""ImageNet and Imagenette are found, whole."""

from __future__ import annotations

from pathlib import Path

import pytest

from resrepro.config.datasets import check_dataset, dataset_title
from resrepro.data.dataset import DataOptions
from resrepro.data.image_files import imagenet
from resrepro.data.loading import load_dataset, open_image_folder
from resrepro.errors import UserError
from support.images import write_tree


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
