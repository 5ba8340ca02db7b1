"""Each data set once: in memory, or as files with their mean; and runs' mini-batches from it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import torch

from resrepro import data
from resrepro.data.batches import Batches, Source
from resrepro.data.images import Images
from resrepro.data.listing import ImageTree
from resrepro.data.progress import Progress, silent
from resrepro.data.streams import StreamedBatches, streamed
from resrepro.data.trees import load_tree
from resrepro.errors import UserError
from resrepro.experiment import Run
from resrepro.recipe import ScaleCrop


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
    _trees: dict[str, ImageTree] = field(default_factory=dict)
    _batches: dict[tuple[str, int, int | None, ScaleCrop | None], Source] = field(default_factory=dict)

    def load(self, run: Run) -> None:
        """Finds or downloads the run's data set. Raises UserError where it cannot be had."""
        name = run.dataset
        if run.recipe.scale_crop is None and name not in self._images:
            self._images[name] = data.load(name, data_dir=self.data_dir)
        if run.recipe.scale_crop is not None and name not in self._trees:
            self._trees[name] = load_tree(name, data_dir=self.data_dir)

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

    def batches(self, run: Run) -> Source:
        """Shared by the runs that read the same.

        Raises:
            UserError: an image cannot be decoded; the mean cannot be written.
        """
        recipe = run.recipe
        key = (run.dataset, recipe.crop_padding, recipe.train_images, recipe.scale_crop)
        if key not in self._batches:
            self._batches[key] = (
                Batches(self._of_run(run), padding=recipe.crop_padding, device=self.device)
                if recipe.scale_crop is None
                else self._streamed(run.dataset, recipe.scale_crop)
            )
        return self._batches[key]

    def _of_run(self, run: Run) -> Images:
        return self._images[run.dataset].first(run.recipe.train_images, str(run))

    def _streamed(self, dataset: str, crop: ScaleCrop) -> StreamedBatches:
        return streamed(
            self._trees[dataset], crop, dataset=dataset, data_dir=self.data_dir, num_workers=self.num_workers,
            skip_corrupt=self.skip_corrupt, progress=self.progress, device=self.device,
        )  # fmt: skip
