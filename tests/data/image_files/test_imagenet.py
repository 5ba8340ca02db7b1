"""ImageNet and Imagenette are found, whole."""

from __future__ import annotations

from pathlib import Path

import pytest

from resrepro.config.datasets import SIZES, Sizes, check_dataset, dataset_title
from resrepro.data.dataset import DataOptions
from resrepro.data.loading import load_dataset, open_image_folder
from resrepro.errors import UserError
from support.images import encoded, picture, write_tree


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
    monkeypatch.setitem(SIZES, "imagenet", Sizes(10, 6, 2))
    assert len(open_image_folder("imagenet", data_dir=tmp_path).train) == 10


def test_imagenette_is_found_unpacked_and_must_be_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_tree(tmp_path / "imagenette2-160")
    with pytest.raises(UserError, match=r"10 training and 6 test images, expected 9469 and 3925; .*cut short"):
        open_image_folder("imagenette", data_dir=tmp_path)
    monkeypatch.setitem(SIZES, "imagenette", Sizes(10, 6, 2))
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


def write_tiny_imagenet(data_dir: Path) -> Path:
    """The official layout: boxes beside `images`, annotated validation images, test images without classes."""
    root = data_dir / "tiny-imagenet-200"
    lines = []
    for c, name in enumerate(("n01", "n02", "n03")):
        images = root / "train" / name / "images"
        images.mkdir(parents=True)
        (images.parent / f"{name}_boxes.txt").write_text(f"{name}_0.JPEG\t0\t0\t9\t9\n")
        for k in range(4):
            (images / f"{name}_{k}.JPEG").write_bytes(encoded(picture(16, 16, seed=10 * c + k)))
    (root / "val" / "images").mkdir(parents=True)
    for k, name in enumerate(("n03", "n01", "n02", "n01")):
        (root / "val" / "images" / f"val_{k}.JPEG").write_bytes(encoded(picture(16, 16, seed=k).convert("L")))
        lines.append(f"val_{k}.JPEG\t{name}\t0\t0\t9\t9\n")
    (root / "val" / "val_annotations.txt").write_text("".join(lines))
    (root / "test" / "images").mkdir(parents=True)
    (root / "test" / "images" / "test_0.JPEG").write_bytes(encoded(picture(16, 16)))
    return root


@pytest.fixture
def tiny_imagenet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setitem(SIZES, "tiny-imagenet", Sizes(12, 4, 3))
    return write_tiny_imagenet(tmp_path)


def test_tiny_imagenet_is_read_in_its_official_layout(tiny_imagenet: Path, tmp_path: Path) -> None:
    listed = open_image_folder("tiny-imagenet", data_dir=tmp_path)
    assert listed.classes == ("n01", "n02", "n03")
    assert listed.train.labels.tolist() == [0] * 4 + [1] * 4 + [2] * 4
    assert listed.train.name(4) == str(tiny_imagenet / "train" / "n02" / "images" / "n02_0.JPEG")
    assert listed.test.labels.tolist() == [2, 0, 1, 0]
    assert listed.test.name(3) == str(tiny_imagenet / "val" / "images" / "val_3.JPEG")
    images = load_dataset("tiny-imagenet", DataOptions(data_dir=tmp_path)).images
    assert (images.num_classes, images.size) == (3, (16, 16))
    assert dataset_title("tiny-imagenet") == "Tiny ImageNet"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("val_2.JPEG", "val_9.JPEG", r"val_annotations.txt:3: there is no .*val/images/val_9.JPEG"),
        ("val_2.JPEG\tn02", "val_2.JPEG\tn99", r"val_annotations.txt:3: class 'n99' is not in .*train"),
        ("n01\t0\t0\t9\t9\nval_2", "n01\t0\t0\nval_2", r"val_annotations.txt:2: expected file, class and four .* got"),
        ("val_2.JPEG", "val_1.JPEG", r"val_annotations.txt:3: 'val_1.JPEG' comes twice"),
        ("val_3.JPEG\tn01\t0\t0\t9\t9\n", "", r"names no class of val_3.JPEG \(1 such images\); was it cut"),
    ],
)
def test_tiny_imagenets_annotations_with_a_mistake(
    tiny_imagenet: Path, tmp_path: Path, old: str, new: str, message: str
) -> None:
    file = tiny_imagenet / "val" / "val_annotations.txt"
    assert old in file.read_text()
    file.write_text(file.read_text().replace(old, new))
    with pytest.raises(UserError, match=message) as caught:
        open_image_folder("tiny-imagenet", data_dir=tmp_path)
    assert "\n" not in str(caught.value)


def test_tiny_imagenet_must_be_there_and_whole(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"tiny-imagenet-200: no such folder; unpack .*tiny-imagenet-200.zip in"):
        open_image_folder("tiny-imagenet", data_dir=tmp_path)
    root = write_tiny_imagenet(tmp_path)
    with pytest.raises(UserError, match=r"12 training and 4 test images, expected 100000 and 10000"):
        open_image_folder("tiny-imagenet", data_dir=tmp_path)
    (root / "val" / "val_annotations.txt").unlink()
    with pytest.raises(UserError, match=r"val_annotations.txt: cannot be read"):
        open_image_folder("tiny-imagenet", data_dir=tmp_path)


def test_a_folders_test_images_without_classes_are_passed_over(tmp_path: Path) -> None:
    root = write_tree(tmp_path / "birds")
    (root / "test" / "images").mkdir(parents=True)
    (root / "test" / "images" / "test_0.JPEG").write_bytes(encoded(picture(16, 16)))
    listed = open_image_folder(f"folder:{root}", data_dir=tmp_path)
    assert Path(listed.test.folder).name == "val"
    (root / "test" / "images").rename(root / "test" / "auk")
    (root / "test" / "owl").mkdir()
    (root / "test" / "owl" / "test_1.JPEG").write_bytes(encoded(picture(16, 16)))
    assert Path(open_image_folder(f"folder:{root}", data_dir=tmp_path).test.folder).name == "test"
