"""CIFAR-10 and CIFAR-100 in the official python version, read by torchvision."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torchvision.datasets import CIFAR10, CIFAR100
from torchvision.datasets.utils import check_integrity

from resrepro.data.download import downloaded
from resrepro.data.in_memory.images import Images
from resrepro.errors import UserError

CLASSES = {"cifar10": CIFAR10, "cifar100": CIFAR100}
CIFAR10_NAMES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
CIFAR10_PIXEL_MEAN = Path(__file__).with_name("cifar10_pixel_mean.npy")


def load(name: str, data_dir: Path) -> Images:
    """Read 50k training and 10k test images of 32x32 pixels; download them where they are absent.

    Args:
        name: `cifar10` or `cifar100`.

    Raises:
        UserError: absent and not to be downloaded, truncated, or a wrong md5.
    """
    dataset = CLASSES[name]
    folder = data_dir / dataset.base_folder
    if folder.is_dir():
        _check(folder, dataset)
    else:
        _download(dataset, data_dir)
    train, test = (dataset(data_dir, train=is_train, download=False) for is_train in (True, False))
    labels, test_labels = np.asarray(train.targets), np.asarray(test.targets)
    return Images.from_numpy(train.data, labels, test.data, test_labels, num_classes=len(train.classes))


def cifar10_pixel_mean() -> Tensor:
    """Return the mean of the 50,000 training images for each pixel and channel, (3, 32, 32), without the dataset."""
    return torch.from_numpy(np.load(CIFAR10_PIXEL_MEAN))


def cifar100_names(data_dir: Path) -> tuple[str, ...]:
    """Return the names of the classes, which the dataset has.

    Raises:
        UserError: as `load`.
    """
    _check(data_dir / CIFAR100.base_folder, CIFAR100)
    return tuple(CIFAR100(data_dir, train=False).classes)


def _check(folder: Path, dataset: type[CIFAR10]) -> None:
    meta = [dataset.meta["filename"], dataset.meta["md5"]]
    for file, md5 in [*dataset.train_list, *dataset.test_list, meta]:
        found = folder / file
        if not found.is_file():
            raise UserError(f"{found}: missing; delete {folder} to have it downloaded anew, or put the file there")
        if not check_integrity(found, md5):
            raise UserError(
                f"{found}: {found.stat().st_size} bytes with a wrong md5, expected {md5}; it is truncated or "
                f"altered: delete {folder} to have it downloaded anew"
            )


def _download(dataset: type[CIFAR10], data_dir: Path) -> None:
    with downloaded(data_dir, dataset.base_folder, dataset.filename, dataset.url) as place:
        dataset(place, download=True)
