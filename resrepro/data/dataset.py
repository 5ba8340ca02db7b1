"""The interfaces of datasets, and of the mini-batches a run reads from them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from torch import Tensor

from resrepro.config.recipe import Recipe

Inputs = Callable[[Tensor], tuple[Tensor, Tensor]]  # (N,) int64 -> (N, 3, H, W), labels (N,)


@dataclass(frozen=True, kw_only=True)
class Split:
    """Images with one view of each, in their order.

    Args:
        inputs: the net's input and the labels of the images with these numbers, on the device.
        load: is told, on the host, before each call of `inputs`, the first of the coming `at_once` images, and where
            this pass ends.
        at_once: how many images `inputs` gives at once, where it is bound to a number.
    """

    num_images: int
    inputs: Inputs
    load: Callable[[int, int], None] = lambda _start, _end: None
    at_once: int | None = None


class TrainingViews(Protocol):
    """The training views of one run, mini-batch by mini-batch."""

    def load(self, iteration: int) -> None:
        """On the host: makes mini-batch `iteration`, counted from 0, ready. Does not wait for the device."""

    def at(self, iteration: Tensor) -> Any:
        """On the device: what `InputPipeline.train` makes mini-batch `iteration`, () int64, of; it has been loaded."""


class InputPipeline(Protocol):
    """A data set as a run reads it, on its device; `fingerprint` tells its training images from others."""

    @property
    def fingerprint(self) -> str: ...
    @property
    def train_split(self) -> Split: ...
    @property
    def test_split(self) -> Split: ...
    def views(self, recipe: Recipe, seed: int, shard: slice = ...) -> TrainingViews:
        """`shard`: which images of each mini-batch; all without it."""

    def train(self, view: Any) -> tuple[Tensor, Tensor]:
        """Augmented training images: (N, 3, H, W) float32, channels-last; and labels (N,)."""


Progress = Callable[[str, int, int], None]  # what is done, how many of how many


def silent(_what: str, _done: int, _total: int) -> None:
    """Where nobody looks."""
