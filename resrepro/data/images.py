"""A data set in memory, as bytes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class Images:
    """Equal-sized images of 8 bits a channel.

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
        """(height, width), pixels."""
        return self.train_images.shape[1], self.train_images.shape[2]

    def pixel_mean(self) -> Tensor:
        """Mean of the training images for each pixel and channel: (H, W, 3) float32, 0 ... 255."""
        return self.train_images.sum(dim=0, dtype=torch.int64).div(len(self.train_images)).float()
