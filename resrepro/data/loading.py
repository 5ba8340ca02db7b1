"""Each data set once: in memory, or as files with their mean; and runs' mini-batches from it."""

from __future__ import annotations

import importlib
from dataclasses import dataclass, field
from pathlib import Path

import torch

from resrepro.config.datasets import DATASETS, check_dataset
from resrepro.config.recipe import ScaleCrop
from resrepro.config.run import Run
from resrepro.data.dataset import InputPipeline, Progress, silent
from resrepro.data.image_files import packed
from resrepro.data.image_files.imagenet import open_image_folder
from resrepro.data.image_files.listing import ImageFolder
from resrepro.data.image_files.pipeline import ImageFilePipeline, streamed
from resrepro.data.in_memory.images import Images
from resrepro.data.in_memory.pipeline import InMemoryPipeline
from resrepro.errors import UserError


@dataclass(kw_only=True)
class Sources:
    """What runs read, made at the first of them that asks.

    Args:
        num_workers: threads that decode image files for a run.
        skip_corrupt: whether training goes on without images that cannot be decoded.
        progress: is told how far the per-pixel mean is.
    """

    data_dir: Path
    device: torch.device
    num_workers: int = 1
    skip_corrupt: bool = False
    progress: Progress = silent
    _images: dict[str, Images] = field(default_factory=dict)
    _trees: dict[str, ImageFolder] = field(default_factory=dict)
    _batches: dict[tuple[str, int, int | None, ScaleCrop | None], InputPipeline] = field(default_factory=dict)

    def load(self, run: Run) -> None:
        """Finds or downloads the run's data set. Raises UserError where it cannot be had."""
        name = run.dataset
        if run.recipe.scale_crop is None and name not in self._images:
            self._images[name] = load(name, data_dir=self.data_dir)
        if run.recipe.scale_crop is not None and name not in self._trees:
            self._trees[name] = open_image_folder(name, data_dir=self.data_dir)

    def num_classes(self, run: Run) -> int:
        return len(self._trees[run.dataset].classes) if run.recipe.scale_crop else self._images[run.dataset].num_classes

    def image_size(self, run: Run) -> tuple[int, int]:
        """(height, width) of the net's input, pixels."""
        crop = run.recipe.scale_crop
        return (crop.size, crop.size) if crop else self._images[run.dataset].size

    def check(self, run: Run) -> None:
        """Raises UserError where the data set has not what the recipe asks for."""
        if run.recipe.scale_crop is None:
            self._of_run(run)
        elif len(self._trees[run.dataset].train) < run.recipe.batch_size:
            tree = self._trees[run.dataset]
            raise UserError(
                f"{tree.place}: {len(tree.train)} training images, fewer than a mini-batch of {run.recipe.batch_size}; "
                "add images, or give a run with a smaller batch_size a name of its own in a TOML"
            )

    def batches(self, run: Run) -> InputPipeline:
        """Shared by the runs that read the same.

        Raises:
            UserError: an image cannot be decoded; the mean cannot be written.
        """
        recipe = run.recipe
        key = (run.dataset, recipe.crop_padding, recipe.train_images, recipe.scale_crop)
        if key not in self._batches:
            self._batches[key] = (
                InMemoryPipeline(self._of_run(run), padding=recipe.crop_padding, device=self.device)
                if recipe.scale_crop is None
                else self._streamed(run.dataset, recipe.scale_crop)
            )
        return self._batches[key]

    def _of_run(self, run: Run) -> Images:
        return self._images[run.dataset].first(run.recipe.train_images, str(run))

    def _streamed(self, dataset: str, crop: ScaleCrop) -> ImageFilePipeline:
        return streamed(
            self._trees[dataset], crop, dataset=dataset, data_dir=self.data_dir, num_workers=self.num_workers,
            skip_corrupt=self.skip_corrupt, progress=self.progress, device=self.device,
        )  # fmt: skip


def at_hand(dataset: str, *, data_dir: Path) -> bool:
    """Whether it is there, or can be downloaded: ImageNet cannot."""
    return (
        dataset != "imagenet"
        or (data_dir / "imagenet").is_dir()
        or packed.directory(dataset, data_dir=data_dir).is_dir()
    )


__all__ = ["Images", "load"]


def load(dataset: str, *, data_dir: Path) -> Images:
    """Loads a data set, downloading it to `data_dir` where it is not there yet and can be had.

    Raises:
        UserError: unknown data set; files absent, damaged or unreadable; no network.
    """
    check_dataset(dataset)
    kind, _, path = dataset.partition(":")
    if DATASETS[kind].module == "trees":
        raise UserError(
            f"dataset '{kind}': its images differ in size; it is for experiments with preset 'imagenet', such as "
            "plain34-vs-res34"
        )
    module = importlib.import_module(f"resrepro.data.in_memory.{DATASETS[kind].module}")
    images: Images = module.load(name=kind, path=path, data_dir=data_dir)
    return images
