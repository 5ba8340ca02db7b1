"""The interfaces of datasets, and of the mini-batches that a run reads from them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from resrepro.config.recipe import Recipe
from resrepro.errors import UserError

Inputs = Callable[[Tensor], tuple[Tensor, Tensor]]  # (N,) int64 -> (N, 3, H, W), labels (N,)
CPU = torch.device("cpu")
ProgressCallback = Callable[[str, int, int], None]  # what is done, how many of how many


def silent(_what: str, _done: int, _total: int) -> None:
    """Report progress to nobody."""


@dataclass(frozen=True, kw_only=True)
class DataOptions:
    """Say where data lies and how it is read; no result depends on it but by `skip_corrupt`.

    Args:
        device: where the net's input is made.
        num_workers: threads that decode image files for a run; 0: an image is decoded when it is asked for.
        skip_corrupt: whether training goes on without images that cannot be decoded; tests read all images.
        progress: is told how far long preparations are.
    """

    data_dir: Path
    device: torch.device = CPU
    num_workers: int = 0
    skip_corrupt: bool = False
    progress: ProgressCallback = silent


@dataclass(frozen=True, kw_only=True)
class Split:
    """Hold the images of a split, `train` or `test`, with one view of each, in their order.

    Args:
        inputs: returns the net's input and the labels of the images with these numbers, on the device.
        load: is told, on the host, before each call of `inputs`, the first of the coming `at_once` images, and where
            this pass ends.
        at_once: how many images `inputs` returns at once, where that number is fixed.
    """

    num_images: int
    inputs: Inputs
    load: Callable[[int, int], None] = lambda _start, _end: None
    at_once: int | None = None


class TrainingViews(Protocol):
    """Give the training views of one run, mini-batch by mini-batch."""

    def load(self, iteration: int) -> None:
        """Make mini-batch `iteration`, counted from 0, ready, on the host; do not wait for the device."""

    def at(self, iteration: Tensor) -> Any:
        """Return, on the device, what `InputPipeline.train` makes the loaded mini-batch `iteration`, () int64, of."""


class InputPipeline(Protocol):
    """Make a run's inputs on its device; `fingerprint` tells its training images from others."""

    @property
    def fingerprint(self) -> str: ...
    @property
    def train_split(self) -> Split: ...
    @property
    def test_split(self) -> Split: ...
    def views(self, recipe: Recipe, seed: int, shard: slice = ...) -> TrainingViews:
        """Return the views of a run: of the `shard` of each mini-batch, or of all of it."""

    def train(self, view: Any) -> tuple[Tensor, Tensor]:
        """Return augmented training images, (N, 3, H, W) float32, channels-last, and labels (N,)."""


def mini_batch(pipeline: InputPipeline, views: TrainingViews, iteration: Tensor) -> tuple[Tensor, Tensor]:
    """Return what a run trains on: inputs (N, 3, H, W) float32, channels-last, and labels (N,).

    Args:
        iteration: () int64, on the device; its views are loaded.
    """
    return pipeline.train(views.at(iteration))


def check_batch_size(recipe: Recipe, num_images: int, place: str) -> None:
    """Raise UserError, which begins with `place`, if so many training images are fewer than a mini-batch."""
    if num_images < recipe.batch_size:
        raise UserError(
            f"{place}: {num_images} training images, fewer than a mini-batch of {recipe.batch_size}; add images, or "
            "give a run with a smaller batch_size a name of its own in a TOML"
        )


class Dataset(Protocol):
    """Hold a dataset, opened once, for training and evaluation.

    Args:
        options: may be replaced until the first input pipeline is made.
        resizes_images: whether views are crops of resized images; else the net sees whole images of one size.
    """

    options: DataOptions
    resizes_images: bool

    @property
    def num_classes(self) -> int: ...
    @property
    def test_labels(self) -> Tensor:
        """The classes of the test images, (N,) int64."""

    def test_image(self, index: int) -> Tensor:
        """Return a test image as it is, (3, H, W) uint8.

        Raises:
            UserError: it cannot be read or decoded.
        """

    def image_size(self, recipe: Recipe) -> tuple[int, int]:
        """Return (height, width) of the net's input, pixels."""

    def check(self, recipe: Recipe, place: str) -> None:
        """Raise UserError, which may begin with `place`, if the recipe asks for images that are not there."""

    def pixel_mean(self, recipe: Recipe) -> Tensor:
        """Return the mean of the training images for each pixel and channel, (3, H, W) float32, 0 ... 255.

        Raises:
            UserError: an image cannot be decoded; the mean cannot be written.
        """

    def channel_mean_std(self) -> tuple[Tensor, Tensor]:
        """Return mean and standard deviation of each channel, (3,) each, on [0, 1]."""

    def input_pipeline(self, recipe: Recipe) -> InputPipeline:
        """Return the inputs of a run; runs that read the same share one pipeline. Raises as `pixel_mean` does."""
