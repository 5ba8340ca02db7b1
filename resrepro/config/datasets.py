"""The datasets an experiment may name, and what figures and folders call them. Imports no torch."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from resrepro.errors import UserError, did_you_mean


class DatasetInfo(NamedTuple):
    """What figures call a data set, and the module of `resrepro.data` that loads it."""

    title: str
    module: str


DATASETS = {
    "cifar10": DatasetInfo("CIFAR-10", "cifar"),
    "cifar100": DatasetInfo("CIFAR-100", "cifar"),
    "shapes": DatasetInfo("shapes", "shapes"),
    "folder": DatasetInfo("a folder", "folder"),
    "imagenet": DatasetInfo("ImageNet", "trees"),
    "imagenette": DatasetInfo("Imagenette", "trees"),
}


def check_dataset(name: str) -> None:
    """Raises UserError unless `name` is in DATASETS, or `folder:PATH`."""
    if name.startswith("folder:") and len(name) > len("folder:"):
        return
    if name == "folder" or name not in DATASETS:
        known = [d for d in DATASETS if d != "folder"] + ["folder:PATH"]
        raise UserError(f"unknown dataset '{name}'{did_you_mean(name, known)}")


def dataset_folder(name: str) -> str:
    """Its runs' folder below the results directory: `folder:/some/birds` -> `folder-birds`."""
    kind, _, path = name.partition(":")
    return f"{kind}-{_last(path)}" if path else kind


def dataset_title(name: str) -> str:
    """What figures call it: `cifar10` -> `CIFAR-10`, `folder:/some/birds` -> `birds`."""
    kind, _, path = name.partition(":")
    return _last(path) if path else DATASETS[kind].title


def _last(path: str) -> str:
    return Path(path).expanduser().resolve().name
