"""Weights of any origin on a test set."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from resrepro import data
from resrepro.catalog import architecture
from resrepro.data.batches import Batches, Inputs, Part
from resrepro.data.images import Images
from resrepro.device import Compute, device_errors
from resrepro.errors import UserError, did_you_mean
from resrepro.evaluation.single_view import Measured, SingleView
from resrepro.models import build
from resrepro.weights import load_weights

PREPROCESSING = ("pixel-mean", "channel-mean-std")


def evaluate_weights(
    weights: Path,
    *,
    arch: str,
    dataset: str,
    data_dir: Path,
    preprocess: str,
    mean: str | None,
    std: str | None,
    compute: Compute,
) -> Measured:
    """Test loss and error.

    Args:
        preprocess: `pixel-mean` subtracts the training set's per-pixel mean (Sec. 4.2); `channel-mean-std`
            scales to 0...1, subtracts `mean` and divides by `std`, "r,g,b", by default the training set's.

    Raises:
        UserError: weights, data or preprocessing do not fit.
    """
    if preprocess not in PREPROCESSING:
        raise UserError(f"--preprocess {preprocess}: unknown{did_you_mean(preprocess, PREPROCESSING)}")
    if preprocess == "pixel-mean" and (mean or std):
        raise UserError("--mean and --std belong to --preprocess channel-mean-std")
    channels = [_triple(option, text) for option, text in (("--mean", mean), ("--std", std))]
    architecture(arch)  # before anything is downloaded
    images = data.load(dataset, data_dir=data_dir)
    net = build(arch, num_classes=images.num_classes)
    load_weights(net, weights, arch)
    net = net.to(compute.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    if preprocess == "pixel-mean":
        test: Inputs = Batches(images, padding=0, device=compute.device).test
    else:
        test = _normalized(images, channels[0], channels[1], compute.device)
    with device_errors(compute, f"evaluate {weights}"):
        return SingleView(net, Part(num_images=len(images.test_images), inputs=test), compute).measure()


def _triple(option: str, text: str | None) -> Tensor | None:
    if text is None:
        return None
    try:
        values = torch.tensor([float(part) for part in text.split(",")])
    except ValueError:
        values = torch.empty(0)
    if len(values) != 3:
        raise UserError(f"{option} {text}: expected three numbers, such as 0.485,0.456,0.406")
    return values


def _normalized(images: Images, mean: Tensor | None, std: Tensor | None, device: torch.device) -> Inputs:
    pixels = images.train_images.view(-1, 3).double() / 255
    mean = (pixels.mean(0).float() if mean is None else mean).to(device)
    std = (pixels.std(0).float() if std is None else std).to(device)
    test_images, test_labels = images.test_images.to(device), images.test_labels.to(device)

    def inputs(index: Tensor) -> tuple[Tensor, Tensor]:
        return ((test_images[index].float() / 255 - mean) / std).permute(0, 3, 1, 2), test_labels[index]

    return inputs
