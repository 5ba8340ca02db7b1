"""A finished run, opened for an experiment on its trained net."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from resrepro.config.presets import PRESETS
from resrepro.config.recipe import Recipe
from resrepro.config.run import Run
from resrepro.data.dataset import DataOptions, InputPipeline, Split
from resrepro.data.loading import differs_in_size, load_dataset, load_for
from resrepro.errors import UserError
from resrepro.evaluation.trained_nets import find, read_net
from resrepro.results.digests import sha256
from resrepro.results.paths import RunFiles
from resrepro.runtime.device import Compute
from resrepro.runtime.versions import versions


@dataclass(frozen=True, kw_only=True)
class StoredNet:
    """Hold a run's net on its device, the file of its weights, and its images."""

    files: RunFiles
    weights: Path
    run: Run
    net: nn.Module
    images: InputPipeline

    def asked(self, compute: Compute, **options: int) -> str:
        """Say all that a measurement depends on: the weights, the arithmetic, and the command's options."""
        return repr((sha256(self.weights), compute.name, compute.precision, versions(), options))


def open_run(files: RunFiles, data_dir: Path, compute: Compute) -> StoredNet:
    """Open a finished run and its dataset.

    Raises:
        UserError: no finished run with its weights, or one of image files, which are not in memory.
    """
    (trained,) = find([files.folder])
    if trained.run is None or trained.record is None:
        raise UserError(f"{files.folder}: the run is not finished; train it first")
    dataset = load_for(trained.run.recipe, trained.dataset, DataOptions(data_dir=data_dir, device=compute.device))
    if dataset.resizes_images:
        raise UserError(
            f"{files.folder}: of {trained.dataset}; expected a run on images in memory, such as those of CIFAR-10"
        )
    net, _ = read_net(trained, dataset.num_classes)
    net = compute.move(net)
    pipeline = dataset.input_pipeline(trained.run.recipe)
    return StoredNet(files=files, weights=trained.weights, run=trained.run, net=net, images=pipeline)


def open_images(dataset: str, num_images: int, data_dir: Path, compute: Compute) -> tuple[Tensor, Tensor, int]:
    """Return training images without augmentation as nets of Sec. 4.2 see them, for nets that no run trained.

    Returns:
        Inputs (N, 3, H, W), labels (N,), and the number of classes.

    Raises:
        UserError: no such dataset, or its images differ in size.
    """
    if differs_in_size(dataset):
        raise UserError(f"--dataset {dataset}: expected images of one size, such as those of cifar10")
    data = load_dataset(dataset, DataOptions(data_dir=data_dir, device=compute.device))
    split = data.input_pipeline(Recipe.model_validate(PRESETS["cifar"])).train_split
    return *inputs_of(evenly_spread(split, num_images), compute), data.num_classes


def inputs_of(split: Split, compute: Compute) -> tuple[Tensor, Tensor]:
    """Return all inputs (N, 3, H, W) and labels (N,) of a small split."""
    return split.inputs(torch.arange(split.num_images, device=compute.device))


def evenly_spread(split: Split, num_images: int) -> Split:
    """Return so many images of a split in memory, evenly spread, or all if it has no more."""
    count = min(num_images, split.num_images)
    numbers = torch.arange(count) * split.num_images // count
    return Split(num_images=count, inputs=lambda at: split.inputs(numbers.to(at.device)[at]))
