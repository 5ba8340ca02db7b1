"""Image files on their way into a run: the same mini-batches whenever and wherever they are asked for."""

from __future__ import annotations

import shutil
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from resrepro import results
from resrepro.config.recipe import Recipe, ScaleCrop
from resrepro.config.run import Run
from resrepro.data.dataset import DataOptions
from resrepro.data.image_files import pipeline
from resrepro.data.image_files.listing import list_image_folder
from resrepro.data.image_files.packing import prepare
from resrepro.data.image_files.pipeline import ImageFilePipeline
from resrepro.data.image_files.pixel_mean import pixel_mean
from resrepro.data.image_files.training_views import CenterCrops, ScaleCropViews
from resrepro.data.loading import load_dataset
from resrepro.errors import UserError
from resrepro.evaluation import batch_norm
from resrepro.evaluation.single_view import SingleView
from resrepro.evaluation.verify import Verifier
from resrepro.models import build
from resrepro.results.paths import RunFiles
from resrepro.runtime.device import Compute, choose
from resrepro.training import checkpoint
from resrepro.training.runner import Runner, Stopped
from resrepro.training.step import Engine
from support.recipes import tiny_recipe
from support.reporters import Silent
from support.trainings import rows, runner

CROP = ScaleCrop(size=32, shorter_side=(36, 44))
SIZES = ((60, 40), (40, 61), (50, 50), (38, 90))  # width, height


@pytest.fixture(autouse=True)
def few_mini_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    """BN is re-estimated on few mini-batches, for this net is a large one."""
    monkeypatch.setattr(batch_norm, "NUM_MINI_BATCHES", 3)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """20 training and 7 test JPEGs of several sizes, two classes: dark ones and bright ones."""
    draw = np.random.default_rng(0)
    for part, count in (("train", 20), ("val", 7)):
        for i in range(count):
            folder = tmp_path / "photos" / part / ("bright" if i % 2 else "dark")
            folder.mkdir(parents=True, exist_ok=True)
            width, height = SIZES[i % len(SIZES)]
            pixels = draw.integers(0, 120, (height, width, 3)) + 120 * (i % 2)
            Image.fromarray(pixels.astype(np.uint8)).save(folder / f"{i:02}.JPEG")
    return tmp_path / "photos"


def recipe(**changes: Any) -> Recipe:
    return tiny_recipe(**{"crop_padding": 0, "scale_crop": CROP.model_dump(), "bn_devices": 2, **changes})


def photo_run(tree: Path, **changes: Any) -> Run:
    return Run(
        dataset=f"folder:{tree}", name="plain8", arch="plain8", recipe=recipe(**changes), seed=3, label="plain-8"
    )


def batches(tree: Path, num_workers: int = 0) -> ImageFilePipeline:
    mean = torch.full((CROP.size, CROP.size, 3), 100.0)
    return ImageFilePipeline(list_image_folder(tree), CROP, mean, DataOptions(data_dir=tree, num_workers=num_workers))


def mini_batch(source: ImageFilePipeline, views: Any, iteration: int) -> tuple[torch.Tensor, torch.Tensor]:
    views.load(iteration)
    x, y = source.train(views.at(torch.tensor(iteration)))
    return x.clone(), y.clone()


@pytest.mark.parametrize("num_workers", [0, 3])
def test_a_mini_batch_depends_on_seed_and_iteration_alone(tree: Path, num_workers: int) -> None:
    source = batches(tree, num_workers)
    views = source.views(recipe(), 3)
    in_order = [mini_batch(source, views, i) for i in range(6)]
    for i in (4, 4, 1, 2, 5):  # again, back, on, and past one
        x, y = mini_batch(source, views, i)
        assert x.equal(in_order[i][0]) and y.equal(in_order[i][1])
    x, _ = mini_batch(source, source.views(recipe(), 4), 0)
    assert not x.equal(in_order[0][0])


def test_the_shares_of_processes_are_the_mini_batch(tree: Path) -> None:
    source = batches(tree)
    whole = mini_batch(source, source.views(recipe(), 3), 5)
    shares = [mini_batch(source, source.views(recipe(), 3, slice(4 * k, 4 * k + 4)), 5) for k in range(2)]
    assert torch.cat([x for x, _ in shares]).equal(whole[0]) and torch.cat([y for _, y in shares]).equal(whole[1])


def test_what_a_recording_reads_stays_in_place(tree: Path) -> None:
    source = batches(tree)
    views = source.views(recipe(), 3)
    views.load(0)
    before = [t.data_ptr() for t in views.at(torch.tensor(0))[:4]]
    views.load(1)
    assert [t.data_ptr() for t in views.at(torch.tensor(1))[:4]] == before


def test_the_views_are_those_of_the_recipe(tree: Path) -> None:
    """Bytes to input: crop, flip, mean and color as `ScaleCropViews` and the formula say."""
    source = batches(tree)
    x, y = mini_batch(source, source.views(recipe(), 3), 2)
    made = ScaleCropViews(
        list_image_folder(tree).train, image_size=CROP.size, shorter_side=CROP.shorter_side, batch_size=8, seed=3
    )[2]
    assert y.equal(made.labels) and made.flip.any() and not made.flip.all()
    for row in range(8):
        wanted = made.images[row].float() - 100
        wanted = wanted.flip(2) if made.flip[row] else wanted
        shift = x[row] - wanted
        assert shift.std(dim=(1, 2)).max() < 1e-4 and shift.abs().max() > 0  # one color for all pixels of an image


def test_all_test_images_are_measured_also_in_a_last_part_that_is_short(
    tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pipeline, "AT_ONCE", {"cpu": 3})
    source, fp32 = batches(tree), choose("cpu", "fp32")
    net = build("plain18", num_classes=2, seed=0)
    small = source.test_split
    views = CenterCrops(source.folder.test, image_size=CROP.size, shorter_side=36, batch_size=7)
    made = views[0]
    logits = net.eval()(source.net_input.single_view(made.images))
    loss = torch.nn.functional.cross_entropy(logits, made.labels).item()
    measured = SingleView(net, small, fp32)
    for _ in range(2):  # the second time from what is loaded
        assert measured.measure().loss == pytest.approx(loss, rel=1e-5)


@pytest.mark.usefixtures("few_images")  # their few mini-batches
def test_a_run_stopped_anywhere_ends_with_the_same_bits(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Killed(BaseException): ...

    def die(place: RunFiles, run: Run, training: Any) -> None:
        save(place, run, training)
        if training.iteration == 5:
            raise Killed

    run, save = photo_run(tree), checkpoint.save
    whole, parts = tree.parent / "whole", tree.parent / "parts"
    assert runner(whole).run_all([run]) == []
    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(checkpoint, "save", die)
        runner(parts).run_all([run])
    assert runner(parts).run_all([run]) == []
    assert rows(parts, run) == rows(whole, run)
    states = [torch.load(results.run_files(place, run).checkpoint)["engine"]["model"] for place in (whole, parts)]
    assert all(a.equal(b) for a, b in zip(*(s.values() for s in states), strict=True))
    record = results.read_finished(whole, run)
    assert record is not None and record.lr_drop_iters == (6, 9)
    assert Path(run.path).parts == ("folder-photos", "plain8", "seed3")


@pytest.mark.parametrize("skip_corrupt", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_a_corrupt_training_image_is_named_and_can_be_left_out(tree: Path, skip_corrupt: bool) -> None:
    bad = tree / "train" / "dark" / "04.JPEG"
    bad.write_bytes(bad.read_bytes()[:200])
    run, where = photo_run(tree, bn_average_batches=2), tree.parent / "results"
    trainer = Runner(
        results_dir=where, data_dir=where, compute=choose("cpu", "fp32"), reporter=Silent(), skip_corrupt=skip_corrupt
    )
    if skip_corrupt:
        with pytest.warns(UserWarning, match=r"04\.JPEG: cannot be decoded"):
            assert trainer.run_all([run]) == []
            files = results.run_files(where, run)
            record = results.read_record(files)
            assert record is not None
            ((_, found),) = Verifier(data_dir=where, skip_corrupt=True).verify({files: record})
            assert not found.differences and len(found.equal) > 3
    else:
        (error,) = trainer.run_all([run])
        assert "04.JPEG" in error and "--skip-corrupt" in error


@pytest.mark.slow
def test_a_run_does_not_go_on_with_other_images(tree: Path) -> None:
    run, where = photo_run(tree), tree.parent / "results"
    assert runner(where).run_all([run]) == []
    files = results.run_files(where, run)
    files.record.unlink()
    assert runner(where).run_all([run]) == []  # the same
    files.record.unlink()
    prepare(list_image_folder(tree), run.dataset, DataOptions(data_dir=where))
    assert runner(where).run_all([run]) == []  # a store of the files as they are: no image is above 480 pixels
    files.record.unlink()
    shutil.rmtree(where / "prepared")
    (tree / "train" / "dark" / "00.JPEG").unlink()
    (error,) = runner(where).run_all([run])
    assert error.startswith(f"{files.checkpoint}: the training images are not those that the run began with")


def test_a_signal_stops_also_while_the_mean_is_made(tree: Path) -> None:
    class Stopping(Silent):
        def preparing(self, *_: object) -> None:
            signal.raise_signal(signal.SIGTERM)

    run, where = photo_run(tree), tree.parent / "results"
    trainer = Runner(results_dir=where, data_dir=where, compute=choose("cpu", "fp32"), reporter=Stopping())
    with pytest.raises(Stopped, match="stopped between two runs"):
        trainer.run_all([run])
    assert not results.run_files(where, run).checkpoint.exists()


def test_the_mean_is_of_the_recipes_center_crops_and_shared(tree: Path, tmp_path: Path) -> None:
    options, asked = DataOptions(data_dir=tmp_path), recipe()
    dataset = load_dataset(f"folder:{tree}", options, as_files=True)
    source = dataset.input_pipeline(asked)
    assert dataset.input_pipeline(asked.model_copy(update={"lr": 1.0})) is source
    assert dataset.num_classes == 2 and dataset.image_size(asked) == (32, 32)
    crop = ScaleCrop(size=32, shorter_side=(36, 68))
    mean = pixel_mean(list_image_folder(tree).train, crop, "x", options)
    assert isinstance(source, ImageFilePipeline) and source.net_input.mean[0].permute(1, 2, 0).equal(mean)


def test_small_images_of_one_size_are_not_for_these_recipes_nor_these_for_cifars(tree: Path) -> None:
    expected = "image files are expected here: folder:PATH, imagenet, imagenette, tiny-imagenet"
    with pytest.raises(UserError, match=expected):
        runner(tree.parent / "r").run_all([photo_run(tree).replace(dataset="shapes")])
    run = photo_run(tree, scale_crop=None)
    with pytest.raises(UserError, match="pixels, but the first image is"):
        runner(tree.parent / "r").run_all([run])


def test_fewer_images_than_a_mini_batch_are_one_line(tree: Path) -> None:
    with pytest.raises(UserError, match=r"photos: 20 training images, fewer than a mini-batch of 22; add images"):
        runner(tree.parent / "r").run_all([photo_run(tree, batch_size=22)])


def test_smaller_crops_keep_the_proportions_and_name_the_run() -> None:
    paper = ScaleCrop(size=224, shorter_side=(256, 480))
    assert paper.of_size(64) == ScaleCrop(size=64, shorter_side=(73, 137))
    with pytest.raises(UserError, match="takes images as they are"):
        tiny_recipe().with_image_size(64)


def test_a_step_neither_knows_nor_cares_where_its_images_come_from(tree: Path, fp32: Compute) -> None:
    source = batches(tree)
    engine = Engine(build("plain18", num_classes=2, seed=0), source, recipe(), seed=3, compute=fp32)
    engine.step(0, 0.1)
    assert engine.totals().num_images == 8 and engine.test().error_pct <= 100


def test_the_host_waits_for_a_device_that_is_behind(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recorded, waited_for = [], []

    class Event:
        def __init__(self, *, blocking: bool) -> None:
            assert blocking

        def record(self) -> None:
            recorded.append(self)

        def synchronize(self) -> None:
            waited_for.append(self)

    monkeypatch.setattr(torch.cuda, "Event", Event)
    loaded = batches(tree).views(recipe(), seed=0)
    for _ in range(7):
        loaded._wait()
    assert waited_for == recorded[:3] and len(recorded) == 7
