"""Photographs of any size for CIFAR's recipe: the squares that are trained on, tested on and predicted from."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torchvision.transforms.v2 import functional as F

from resrepro.data.dataset import DataOptions
from resrepro.data.image_files.decoding import center_view, decode
from resrepro.data.in_memory import resized
from resrepro.data.loading import load_dataset, load_for
from resrepro.errors import UserError
from resrepro.evaluation.classifier import read_view
from support.images import name_of, smooth_image, write_tree
from support.recipes import tiny_recipe


@pytest.fixture
def birds(tmp_path: Path) -> Path:
    return write_tree(tmp_path / "birds")


@pytest.mark.parametrize(("height", "width"), [(48, 90), (90, 47), (40, 40), (16, 16), (9, 21)])
def test_a_square_is_the_middle_of_the_resized_image(height: int, width: int) -> None:
    image = smooth_image(height, width, seed=1)
    expected = F.center_crop(F.resize(image, [16], antialias=True), [16, 16])
    found = center_view(image, 16, 16)
    assert found.shape == (3, 16, 16) and (found.int() - expected.int()).abs().max() <= 1


def test_photographs_become_an_in_memory_dataset(birds: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resized, "CHUNK", 3)
    told: list[tuple[str, int, int]] = []
    options = DataOptions(data_dir=birds, progress=lambda *words: told.append(words))
    images = load_dataset(name_of(birds), options, resize=16).images
    assert images.train_images.shape == (10, 16, 16, 3) and images.test_images.shape == (6, 16, 16, 3)
    assert images.train_labels.tolist() == [0] * 5 + [1] * 5 and images.num_classes == 2
    file = birds / "train" / "owl" / "owl_1.JPEG"
    assert images.train_images[6].equal(center_view(decode(file.read_bytes(), ""), 16, 16).permute(1, 2, 0))
    assert told[3:] == [("train images resized", 10, 10), ("test images resized", 3, 6), ("test images resized", 6, 6)]


def test_predict_sees_the_square_of_the_test(birds: Path) -> None:
    recipe = tiny_recipe(resize=16)
    dataset = load_for(recipe, name_of(birds), DataOptions(data_dir=birds))
    classifier: Any = SimpleNamespace(pixel_mean=dataset.pixel_mean(recipe), run=SimpleNamespace(recipe=recipe))
    for i, name in enumerate(f"{kind}/{kind}_{k}.JPEG" for kind in ("auk", "owl") for k in range(3)):
        view, said = read_view(birds / "val" / name, classifier)
        assert view.equal(dataset.test_image(i)) and said.endswith(", its middle resized to 16 x 16")


def test_a_corrupt_photograph_is_named_or_left_out_of_training(birds: Path) -> None:
    options = DataOptions(data_dir=birds, skip_corrupt=True)
    whole = load_dataset(name_of(birds), options, resize=16).images
    bad = birds / "train" / "auk" / "auk_2.JPEG"
    good = bad.read_bytes()
    bad.write_bytes(b"no image")
    with pytest.raises(UserError, match=rf"{bad}: not a readable image"):
        load_dataset(name_of(birds), DataOptions(data_dir=birds), resize=16)
    with pytest.warns(UserWarning, match=rf"{bad}: cannot be decoded; left out"):
        rest = load_dataset(name_of(birds), options, resize=16).images
    kept = torch.tensor([0, 1, 3, 4, 5, 6, 7, 8, 9])
    assert rest.train_images.equal(whole.train_images[kept]) and rest.train_labels.equal(whole.train_labels[kept])
    bad.write_bytes(good)
    (birds / "val" / "owl" / "owl_0.JPEG").write_bytes(b"no image")
    with pytest.raises(UserError, match=r"owl_0.JPEG: not a readable image"):
        load_dataset(name_of(birds), options, resize=16)
