"""Say what is trained, and what the command line changes of it. Imports no torch."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

from pydantic import Field

from resrepro.config.datasets import dataset_folder
from resrepro.config.recipe import Recipe
from resrepro.config.strict import StrictModel

NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]*$"  # of files and folders
MAX_SEED = 2**63 - 1


class Run(StrictModel):
    """Say what is trained and stored once, whoever asks for it: (dataset, architecture, recipe, seed).

    Args:
        image_size: side of the crop, or of the resized image, pixels, where it is not the experiment's own.
        arch_sha256: of the source, where `arch` is code from outside the package and its source was read; else None.
        start_from: None, or the run with whose final weights it starts: those of a shallower plain net, with identity
            layers added (Sec. 1).
    """

    dataset: str
    name: str
    arch: str
    arch_sha256: str | None = None
    recipe: Recipe
    seed: int = Field(ge=0)
    schedule_scale: float = 1.0
    image_size: int | None = None
    label: str
    start_from: Run | None = None

    @property
    def first_iter(self) -> int:
        """Return the iteration it starts at: with trained weights the first drop, with the last rates only."""
        return next(iter(self.recipe.lr_drop_iters), 0) if self.start_from else 0

    def replace(self, **fields: Any) -> Run:
        """Return the same run with these fields; what it starts from changes alike."""
        source = self.start_from and self.start_from.replace(**fields)
        return self.model_copy(update={**fields, "start_from": source})

    def scaled(self, scale: float) -> Run:
        """Return the same run with a schedule `scale` times as long, and so what it starts from."""
        source = self.start_from and self.start_from.scaled(scale)
        recipe = self.recipe.scaled(scale)
        return self.model_copy(update={"schedule_scale": scale, "recipe": recipe, "start_from": source})

    def with_image_size(self, size: int) -> Run:
        """Return the same run on smaller images. Raises UserError where it takes images as they are."""
        return self._seeing(self.recipe.with_image_size(size), size)

    def resized(self, side: int) -> Run:
        """Return the same run on resized images, and so what it starts from. Raises UserError where it crops them."""
        source = self.start_from and self.start_from.resized(side)
        return self._seeing(self.recipe.resized(side), side).model_copy(update={"start_from": source})

    def _seeing(self, recipe: Recipe, size: int) -> Run:
        return self if recipe == self.recipe else self.model_copy(update={"image_size": size, "recipe": recipe})

    @property
    def stored_name(self) -> str:
        """Return the run's folder name; a shortened schedule, or images of another size, are another run."""
        return self.name + name_suffix(self.image_size, self.schedule_scale)

    @property
    def path(self) -> Path:
        """Return its folder below the results directory."""
        return Path(dataset_folder(self.dataset), self.stored_name, f"seed{self.seed}")

    def __str__(self) -> str:
        return str(self.path)


def name_suffix(image_size: int | None, schedule_scale: float) -> str:
    """Return what the name of a run's folder, or of a figure, ends with, such as `-64px-x0.1`."""
    size = "" if image_size is None else f"-{image_size}px"
    return size if schedule_scale == 1 else f"{size}-x{schedule_scale:g}"


class Variation(StrictModel):
    """Say what the command line changes of what an experiment trains; None: nothing.

    Args:
        dataset: another one than the experiment's own.
        image_size: side of the crop, pixels.
        resize: side of the square that images of any size become, pixels.
    """

    dataset: str | None = None
    schedule_scale: float = 1.0
    image_size: int | None = None
    resize: int | None = None

    @property
    def options(self) -> str:
        """Return the options as typed, with a space before each."""
        options = "" if self.dataset is None else f" --dataset {shlex.quote(self.dataset)}"
        options += "" if self.schedule_scale == 1 else f" --schedule-scale {self.schedule_scale:g}"
        options += "" if self.image_size is None else f" --image-size {self.image_size}"
        return options if self.resize is None else f"{options} --resize {self.resize}"

    @property
    def suffix(self) -> str:
        """Return what a figure's name ends with."""
        folder = "" if self.dataset is None else f"-{dataset_folder(self.dataset)}"
        return folder + name_suffix(self.image_size or self.resize, self.schedule_scale)
