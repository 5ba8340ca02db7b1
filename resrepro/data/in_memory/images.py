"""Small images of one size in memory, as bytes."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from resrepro.errors import UserError


@dataclass(frozen=True, kw_only=True)
class Images:
    """Hold equal-sized images of 8 bits a channel.

    Args:
        train_images, test_images: (N, H, W, 3) uint8.
        train_labels, test_labels: (N,) int64.
    """

    train_images: Tensor
    train_labels: Tensor
    test_images: Tensor
    test_labels: Tensor
    num_classes: int

    @classmethod
    def from_numpy(
        cls,
        train_images: np.ndarray,
        train_labels: np.ndarray,
        test_images: np.ndarray,
        test_labels: np.ndarray,
        *,
        num_classes: int,
    ) -> Images:
        return cls(
            train_images=torch.from_numpy(np.ascontiguousarray(train_images)),  # torchvision's CIFAR is a view
            train_labels=torch.from_numpy(train_labels),
            test_images=torch.from_numpy(np.ascontiguousarray(test_images)),
            test_labels=torch.from_numpy(test_labels),
            num_classes=num_classes,
        )

    @property
    def size(self) -> tuple[int, int]:
        """Height and width, pixels."""
        return self.train_images.shape[1], self.train_images.shape[2]

    def first(self, num_train: int | None, place: str) -> Images:
        """Return the same test set with the first training images in the dataset's order; None: with all of them.

        For CIFAR-10 that is the order of its files: 45000 leaves out the second half of data_batch_5.

        Raises:
            UserError: there are not so many, or a class has none among them.
        """
        if num_train is None:
            return self
        here = len(self.train_labels)
        if num_train > here:
            raise UserError(f"{place}: train_images {num_train}: expected at most the {here} of the dataset")
        images, labels = self.train_images[:num_train], self.train_labels[:num_train]
        num_classes = int(labels.bincount().count_nonzero())
        if num_classes < self.num_classes:
            raise UserError(
                f"{place}: train_images {num_train}: the first {num_train} are of {num_classes} of the "
                f"{self.num_classes} classes only; take more of the {here}"
            )
        return replace(self, train_images=images, train_labels=labels)

    def pixel_mean(self) -> Tensor:
        """Return the mean of the training images for each pixel and channel: (H, W, 3) float32, 0 ... 255."""
        return self.train_images.sum(dim=0, dtype=torch.int64).div(len(self.train_images)).float()
