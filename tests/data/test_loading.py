"""One dataset, opened in memory or as files, for all that reads it."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from resrepro.config.datasets import DATASETS
from resrepro.config.presets import PRESETS
from resrepro.config.recipe import Recipe, ScaleCrop
from resrepro.config.run import Run
from resrepro.data import loading
from resrepro.data.dataset import DataOptions, Dataset
from resrepro.data.image_files import packed, packing
from resrepro.data.image_files.dataset import ImageFolderDataset
from resrepro.data.image_files.decoding import center_view, decode
from resrepro.data.in_memory.dataset import InMemoryDataset
from resrepro.data.loading import OPENERS, Openers, list_image_files, load_dataset, load_for, open_image_folder
from resrepro.errors import UserError
from resrepro.evaluation.protocol_views import ProtocolViews, view_batches
from resrepro.runtime.device import choose
from resrepro.training.runner import Runner
from support.reporters import Silent

SMALL = {"total_iters": 4, "batch_size": 4, "lr": 0.05, "lr_drop_iters": (), "curve_every_iters": 4, "plateau": None}
WHOLE = Recipe.model_validate({**PRESETS["cifar"], **SMALL, "crop_padding": 1})
CROPS = Recipe.model_validate(
    {**PRESETS["imagenet"], **SMALL, "bn_devices": 1, "scale_crop": {"size": 32, "shorter_side": (36, 40)}}
)
RESIZED = WHOLE.model_copy(update={"resize": 8})


def crops_of(largest: int) -> Recipe:
    return CROPS.model_copy(update={"scale_crop": ScaleCrop(size=32, shorter_side=(36, largest))})


@pytest.fixture
def birds(tmp_path: Path) -> str:
    """Eight training and four test images of 12x16 pixels, in two classes, which can be read either way."""
    draw = np.random.default_rng(0)
    for split, count in (("train", 4), ("val", 2)):
        for name in ("auk", "owl"):
            folder = tmp_path / "birds" / split / name
            folder.mkdir(parents=True)
            for i in range(count):
                Image.fromarray(draw.integers(0, 256, (12, 16, 3), dtype=np.uint8)).save(folder / f"{i}.png")
    return f"folder:{tmp_path / 'birds'}"


def test_every_dataset_has_an_opener() -> None:
    assert OPENERS.keys() == DATASETS.keys()
    assert all(openers.in_memory or openers.as_files for openers in OPENERS.values())


def test_a_folder_is_the_same_dataset_in_memory_and_as_files(birds: str, tmp_path: Path) -> None:
    options = DataOptions(data_dir=tmp_path)
    small, files = load_dataset(birds, options), load_dataset(birds, options, as_files=True)
    assert isinstance(small, InMemoryDataset) and isinstance(files, ImageFolderDataset)
    assert small.num_classes == files.num_classes == 2
    assert small.test_labels.tolist() == files.test_labels.tolist() == [0, 0, 1, 1]
    assert all(small.test_image(i).equal(files.test_image(i)) for i in range(4))
    assert small.image_size(WHOLE) == (12, 16) and files.image_size(CROPS) == (32, 32)
    assert small.pixel_mean(WHOLE).shape == (3, 12, 16) and files.pixel_mean(CROPS).shape == (3, 32, 32)
    for dataset, recipe in ((small, WHOLE), (files, CROPS)):
        split, (height, width) = dataset.input_pipeline(recipe).test_split, dataset.image_size(recipe)
        split.load(0, 4)
        x, y = split.inputs(torch.arange(4))
        assert x.shape == (4, 3, height, width) and y.equal(dataset.test_labels)


def test_runs_that_read_the_same_share_a_pipeline(birds: str, tmp_path: Path) -> None:
    def shared(dataset: Dataset, recipe: Recipe, **changes: Any) -> bool:
        return dataset.input_pipeline(recipe) is dataset.input_pipeline(recipe.model_copy(update=changes))

    small, files = (
        load_dataset(birds, DataOptions(data_dir=tmp_path), as_files=as_files) for as_files in (False, True)
    )
    assert shared(small, WHOLE, lr=1.0, batch_size=2) and shared(files, CROPS, lr=1.0, batch_size=2)
    assert not shared(small, WHOLE, crop_padding=2) and not shared(small, WHOLE, train_images=7)
    assert not shared(files, CROPS, scale_crop=CROPS.scale_crop and CROPS.scale_crop.of_size(24))


def test_names_that_cannot_be_opened_are_said_in_a_line(tmp_path: Path) -> None:
    options = DataOptions(data_dir=tmp_path)
    for as_files in (False, True):
        with pytest.raises(UserError, match="unknown dataset 'cifar-10'; did you mean 'cifar10'"):
            load_dataset("cifar-10", options, as_files=as_files)
    with pytest.raises(UserError, match="dataset 'imagenette': its images differ in size"):
        load_dataset("imagenette", options)
    with pytest.raises(UserError, match="dataset 'cifar10': image files are expected here"):
        open_image_folder("cifar10", data_dir=tmp_path)


def test_views_of_whole_images_come_in_batches_in_order(birds: str, tmp_path: Path) -> None:
    views = ProtocolViews.of("single view", 32)
    for num_workers in (0, 2):
        dataset = load_dataset(birds, DataOptions(data_dir=tmp_path, num_workers=num_workers))
        ((places, pixels),) = view_batches(dataset, [3, 1, 2], views)
        assert places.tolist() == [0, 1, 2]
        assert pixels.equal(torch.stack([dataset.test_image(i) for i in (3, 1, 2)])[:, None])


@pytest.fixture
def prepared(birds: str, tmp_path: Path) -> Path:
    """The store of `birds`, one of which is large."""
    pixels = np.random.default_rng(1).integers(0, 256, (500, 620, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "birds" / "train" / "auk" / "0.png")
    packing.prepare(list_image_files(birds, data_dir=tmp_path), birds, DataOptions(data_dir=tmp_path))
    return packed.directory(birds, data_dir=tmp_path)


def test_prepared_images_are_not_enlarged(birds: str, tmp_path: Path, prepared: Path) -> None:
    options, files = DataOptions(data_dir=tmp_path), tmp_path / "birds"
    for largest, place in ((480, prepared), (481, files)):
        dataset = load_for(crops_of(largest), birds, options)
        assert isinstance(dataset, ImageFolderDataset) and dataset.folder.place == str(place)
    as_it_is = decode((files / "train" / "auk" / "0.png").read_bytes(), "")
    squares = load_for(WHOLE.model_copy(update={"resize": 500}), birds, options).images.train_images  # type: ignore[attr-defined]
    assert squares[0].permute(2, 0, 1).equal(center_view(as_it_is, 500, 500))
    shutil.rmtree(files / "train")
    load_for(crops_of(480), birds, options)
    why = f"the recipe resizes images to up to 481 pixels, and the prepared ones in {prepared} have at most 480"
    with pytest.raises(UserError, match=rf"^{files}: expected the folders 'train' and .*; {why}$"):
        load_for(crops_of(481), birds, options)
    shutil.rmtree(prepared)
    with pytest.raises(UserError, match=r"found val$"):
        load_for(crops_of(481), birds, options)


@pytest.mark.usefixtures("few_images")  # its few mini-batches
def test_the_runs_of_a_command_open_a_dataset_once_each_way(
    birds: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[Dataset] = []

    def load(*words: Any, **options: Any) -> Dataset:
        opened.append(load_for(*words, **options))
        return opened[-1]

    told, reporter = list[tuple[str, int, int]](), Silent()
    monkeypatch.setattr(reporter, "preparing", lambda *words: told.append(words))
    monkeypatch.setattr("resrepro.training.runner.load_for", load)
    runs = [
        Run(dataset=birds, name=f"{arch}-{seed}", arch=arch, recipe=recipe, seed=seed, label=arch)
        for arch, recipe, seeds in (("resnet8", WHOLE, (0,)), ("plain8", CROPS, (0, 1)), ("plain14", RESIZED, (0,)))
        for seed in seeds
    ]
    trainer = Runner(
        results_dir=tmp_path, data_dir=tmp_path, compute=choose("cpu", "fp32"), reporter=reporter, num_workers=3
    )
    assert trainer.run_all(runs) == []
    assert told[:2] == [("train images resized", 8, 8), ("test images resized", 4, 4)]
    assert [dataset.resizes_images for dataset in opened] == [False, True, False]
    assert [dataset.image_size(WHOLE) for dataset in opened[::2]] == [(12, 16), (8, 8)]
    pipeline = opened[1].input_pipeline(CROPS)
    assert replace(pipeline.options, progress=print) == DataOptions(  # type: ignore[attr-defined]
        data_dir=tmp_path, num_workers=3, progress=print
    )
    trainer.prepare([runs[1].replace(recipe=crops_of(largest)) for largest in (480, 481, 482)], jobs=1)
    assert len(opened) == 4  # prepared images do not do for more than 480 pixels


def test_openers_are_given_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[Path] = []

    def note(place: Path) -> Any:
        given.append(place)
        raise UserError("noted")

    for name in ("shapes", "folder"):
        monkeypatch.setitem(loading.OPENERS, name, Openers(in_memory=note, as_files=note))
    for name in ("shapes", "folder:~/birds"):
        with pytest.raises(UserError, match="noted"):
            load_dataset(name, DataOptions(data_dir=tmp_path))
    assert given == [tmp_path, Path("~/birds").expanduser()]


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
        load_dataset(name, DataOptions(data_dir=tmp_path))
