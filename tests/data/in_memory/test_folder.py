from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from resrepro.data.dataset import DataOptions
from resrepro.data.loading import load_dataset
from resrepro.errors import UserError
from support.images import load_images


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
    images = load_images(f"folder:{root}", data_dir=root)
    assert images.train_images.shape == (6, 8, 6, 3) and images.num_classes == 2
    assert images.train_labels.tolist() == [0, 0, 0, 1, 1, 1]
    with Image.open(root / "train" / "owl" / "1.png") as stored:
        assert (images.train_images[4].numpy() == np.asarray(stored)).all()


def test_a_folder_with_a_mistake_names_it(tree: Callable[..., Path]) -> None:
    with pytest.raises(UserError, match="no such folder"):
        load_images("folder:/nowhere", data_dir=Path())
    root = tree()
    name = f"folder:{root}"
    (root / "val" / "emu").mkdir()
    with pytest.raises(UserError, match=r"val/emu: no such class"):
        load_images(name, data_dir=root)
    (root / "val" / "emu").rmdir()
    odd = root / "train" / "owl" / "0.png"
    Image.new("RGB", (5, 5)).save(odd)
    with pytest.raises(UserError, match=rf"{odd}: 5x5 pixels, but the first image is 6x8"):
        load_images(name, data_dir=root)
    odd.write_bytes(b"no image")
    with pytest.raises(
        UserError, match=rf"^{odd}: not a readable image \(cannot identify image file\); replace or remove"
    ):
        load_images(name, data_dir=root)


def test_an_image_has_the_pixels_that_other_ways_of_reading_see(tree: Callable[..., Path]) -> None:
    root = tree()
    deep = Image.fromarray(np.arange(48, dtype=np.uint16).reshape(8, 6) * 1300)
    deep.save(root / "train" / "auk" / "0.png")
    Image.fromarray(np.full((8, 6), 77, dtype=np.uint8)).save(root / "val" / "owl" / "1.png")
    options = DataOptions(data_dir=root)
    small, files = load_dataset(f"folder:{root}", options), load_dataset(f"folder:{root}", options, as_files=True)
    assert (small.images.train_images[0, ..., 0].numpy() == np.array(deep) // 257).all()
    assert all(small.test_image(i).equal(files.test_image(i)) for i in range(4))


def test_more_images_than_the_memory_holds_are_one_line(
    tree: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise MemoryError

    root = tree()
    monkeypatch.setattr(np, "empty", full)
    with pytest.raises(UserError, match=r"train: 6 images of 6x8 pixels need 8e-07 GiB of free memory"):
        load_images(f"folder:{root}", data_dir=root)
