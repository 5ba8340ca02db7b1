"""Runs on the first of the training images."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from resrepro import results
from resrepro.config.run import Run
from resrepro.config.toml_files import find_experiment
from resrepro.data.dataset import DataOptions
from resrepro.data.in_memory.dataset import InMemoryDataset
from resrepro.data.in_memory.images import Images
from resrepro.data.in_memory.pipeline import InMemoryPipeline
from resrepro.errors import UserError
from support.recipes import tiny_run
from support.trainings import runner

pytestmark = pytest.mark.usefixtures("few_images")


def test_fewer_training_images_have_their_own_mean_and_the_same_test_set(images: Images) -> None:
    part = images.first(20, "here")
    assert torch.equal(part.train_images, images.train_images[:20])
    assert torch.equal(part.train_labels, images.train_labels[:20])
    assert torch.equal(part.test_images, images.test_images)
    cpu = torch.device("cpu")
    torch.testing.assert_close(
        InMemoryPipeline(part, padding=0, device=cpu).mean, images.train_images[:20].float().mean(0)
    )
    assert images.first(None, "here") is images
    with pytest.raises(UserError, match=r"^here: train_images 31: expected at most the 30 of the dataset"):
        images.first(31, "here")
    by_class = Images(**{**vars(images), "train_labels": images.train_labels.sort().values})
    with pytest.raises(UserError, match=r"train_images 12: the first 12 are of 2 of the 3 classes only; take more"):
        by_class.first(12, "here")


def few(**changes: Any) -> Run:
    run = tiny_run(train_images=300, **changes)
    return run.model_copy(update={"name": "few"})


def test_runs_with_and_without_all_images_do_not_share_them(tmp_path: Path) -> None:
    """In one process, as `run ambiguities` has them."""
    assert runner(tmp_path / "both").run_all([tiny_run(), few()]) == []
    assert runner(tmp_path / "alone").run_all([few()]) == []
    both, alone = (results.read_finished(tmp_path / name, few()) for name in ("both", "alone"))
    assert both is not None and alone is not None
    assert both.recipe["train_images"] == 300
    wrong = (both.final_train_error_clean_pct or 0) * 300 / 100  # of 300 images
    assert wrong == pytest.approx(round(wrong))
    assert both.final_test_error_pct == alone.final_test_error_pct
    assert both.final_train_error_clean_pct == alone.final_train_error_clean_pct


def test_too_many_images_are_one_line_and_nothing_is_started(tmp_path: Path) -> None:
    many = tiny_run(train_images=501)
    with pytest.raises(UserError, match=r"^shapes/resnet8/seed0: train_images 501: expected at most the 500"):
        runner(tmp_path).run_all([few(), many])
    assert list(tmp_path.iterdir()) == []


def test_the_45k_are_the_first_of_cifars_files(tmp_path: Path) -> None:
    pixels = torch.arange(50000)[:, None, None, None].expand(-1, 1, 1, 3).to(torch.uint8)
    labels = torch.arange(50000) % 10
    images = Images(
        train_images=pixels, train_labels=labels, test_images=pixels[:10], test_labels=labels[:10], num_classes=10
    )
    run = next(r for r in find_experiment("split-45k").runs if r.name == "resnet20-45k")
    recipe = run.recipe.model_copy(update={"crop_padding": 0})  # so that the pipeline holds the images as they are
    pipeline = InMemoryDataset(images, DataOptions(data_dir=tmp_path)).input_pipeline(recipe)
    assert len(pipeline.train_labels) == 45000 and pipeline.train_images[-1, 0, 0, 0] == 44999 % 256
