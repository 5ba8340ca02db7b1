"""How bytes become a net's input: the paper's way, or that of other people's weights."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from resrepro.config.recipe import Recipe
from resrepro.data.dataset import Dataset
from resrepro.errors import UserError, did_you_mean

PREPROCESSING = ("pixel-mean", "channel-mean-std")


def normalization(
    preprocess: str, mean: str | None, std: str | None, dataset: Dataset, recipe: Recipe
) -> Normalization:
    """Choose how the net's input is made of bytes, on the dataset's device.

    Args:
        preprocess: `pixel-mean` subtracts the training set's per-pixel mean (Sec. 3.4, 4.2); `channel-mean-std`
            scales to 0...1, subtracts `mean` and divides by `std`, "r,g,b", by default the dataset's
            (ImageNet's, for images of any size).
        recipe: of the net's training; says which images the mean is of, and how they are cut.
    """
    device = dataset.options.device
    if preprocess == "pixel-mean":
        return Normalization(mean=dataset.pixel_mean(recipe).to(device), std=torch.ones(3, 1, 1, device=device))
    given = _triple("--mean", mean), _triple("--std", std)
    own = dataset.channel_mean_std()
    means, stds = (255 * (o if g is None else g).view(3, 1, 1).to(device) for g, o in zip(given, own, strict=True))
    return Normalization(mean=means, std=stds)


def check(preprocess: str, mean: str | None, std: str | None) -> None:
    """Raise UserError, before anything is downloaded, where the options do not go together."""
    if preprocess not in PREPROCESSING:
        raise UserError(f"--preprocess {preprocess}: unknown{did_you_mean(preprocess, PREPROCESSING)}")
    if preprocess == "pixel-mean" and (mean or std):
        raise UserError("--mean and --std belong to --preprocess channel-mean-std")
    for option, text in (("--mean", mean), ("--std", std)):
        _triple(option, text)


def _triple(option: str, text: str | None) -> Tensor | None:
    if text is None:
        return None
    try:
        values = torch.tensor([float(part) for part in text.split(",")])
    except ValueError:
        values = torch.empty(0)
    if len(values) != 3 or not values.isfinite().all():
        raise UserError(f"{option} {text}: expected three numbers, such as 0.485,0.456,0.406")
    if option == "--std" and not (values > 0).all():
        raise UserError(f"{option} {text}: expected three numbers above 0, such as 0.229,0.224,0.225")
    if (values.abs() > 1).any():
        raise UserError(f"{option} {text}: expected three numbers up to 1, of pixels from 0 to 1; divide yours by 255")
    return values


@dataclass(frozen=True, kw_only=True)
class Normalization:
    """Make the net's input of bytes: (x - mean) / std, on 0 ... 255.

    Args:
        mean: (3, H, W), for a view of another size bilinearly resized to it (the paper is silent there); or (3, 1, 1).
        std: (3, 1, 1); ones where nothing is divided.
    """

    mean: Tensor
    std: Tensor

    def __call__(self, views: Tensor) -> Tensor:
        """Normalize (N, 3, h, w) uint8 to float32, channels-last."""
        mean, size = self.mean, views.shape[2:]
        if mean.shape[1:] != (1, 1) and mean.shape[1:] != size:
            mean = F.interpolate(mean[None], size=size, mode="bilinear", align_corners=False)[0]
        return ((views - mean) / self.std).contiguous(memory_format=torch.channels_last)
