"""The datasets an experiment may name, and what figures and folders call them. Imports no torch."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

from resrepro.errors import UserError, did_you_mean, first_line, printable

DEFAULT_DATA = Path("data")
DATA_DIR_VARIABLE = "RESREPRO_DATA"  # names another folder in which datasets are looked for
MAX_NAME = 100  # of a folder or file; systems have 255 bytes, of which suffixes take some
DATASETS = {  # and what figures call them; `resrepro.data.loading` opens them
    "cifar10": "CIFAR-10",
    "cifar100": "CIFAR-100",
    "shapes": "shapes",
    "folder": "a folder",
    "imagenet": "ImageNet",
    "imagenette": "Imagenette",
    "tiny-imagenet": "Tiny ImageNet",
}
SMALL_IMAGES = ("cifar10", "cifar100", "shapes")  # of 32 pixels a side, or fewer


class Sizes(NamedTuple):
    """Hold how many images of training and of test a dataset has, and how many classes."""

    num_train: int
    num_test: int
    num_classes: int


SIZES = {  # of a folder they are known once it is opened
    "cifar10": Sizes(50_000, 10_000, 10),
    "cifar100": Sizes(50_000, 10_000, 100),
    "shapes": Sizes(20_000, 2_000, 10),
    "imagenet": Sizes(1_281_167, 50_000, 1_000),
    "imagenette": Sizes(9_469, 3_925, 10),  # version 2
    "tiny-imagenet": Sizes(100_000, 10_000, 200),
}


def chance_error_pct(dataset: str, guesses: int = 1) -> float | None:
    """Return the error of guessing, %: 90 with ten classes, of five guesses 50; None of a folder."""
    sizes = SIZES.get(dataset)
    return None if sizes is None else 100 * (1 - guesses / sizes.num_classes)


def check_dataset(name: str) -> None:
    """Raise UserError unless `name` is in DATASETS, or `folder:PATH`."""
    if name.startswith("folder:") and len(name) > len("folder:"):
        try:
            folder = dataset_folder(name)
        except (OSError, RuntimeError, ValueError) as error:  # no such user, a loop of links, a zero byte
            raise UserError(f"dataset '{name}': {first_line(error)}; expected the path of a folder") from error
        if folder == "folder-" or len(os.fsencode(folder)) > MAX_NAME or folder != printable(folder):
            raise UserError(f"dataset '{name}': expected a folder with a printable name of at most {MAX_NAME} bytes")
        return
    if name == "folder" or name not in DATASETS:
        known = [d for d in DATASETS if d != "folder"] + ["folder:PATH"]
        raise UserError(f"unknown dataset '{name}'{did_you_mean(name, known)}")


def dataset_folder(name: str) -> str:
    """Return the folder of its runs below the results directory: `folder:/some/birds` -> `folder-birds`."""
    kind, _, path = name.partition(":")
    return f"{kind}-{_last(path)}" if path else kind


def dataset_title(name: str) -> str:
    """Return what figures call it: `cifar10` -> `CIFAR-10`, `folder:/some/birds` -> `birds`."""
    kind, _, path = name.partition(":")
    return _last(path) if path else DATASETS[kind]


def _last(path: str) -> str:
    return Path(path).expanduser().resolve().name
