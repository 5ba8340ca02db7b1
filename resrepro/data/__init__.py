"""Data sets in memory, and the mini-batches drawn from them."""

from __future__ import annotations

import importlib
from pathlib import Path

from resrepro.catalog import DATASETS, check_dataset
from resrepro.data.images import Images
from resrepro.errors import UserError

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
    module = importlib.import_module(f"resrepro.data.{DATASETS[kind].module}")
    images: Images = module.load(name=kind, path=path, data_dir=data_dir)
    return images
