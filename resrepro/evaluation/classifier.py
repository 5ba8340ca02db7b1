"""A trained net that takes images as they are: with its preprocessing and the names of its classes."""

from __future__ import annotations

import io
from contextlib import suppress
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import ExifTags, Image, ImageOps
from torch import Tensor, nn

from resrepro.config.run import Run
from resrepro.data.dataset import DataOptions
from resrepro.data.image_files.decoding import center_view, decode
from resrepro.data.in_memory.cifar import cifar10_pixel_mean
from resrepro.data.loading import class_names, is_there, load_for
from resrepro.errors import UserError
from resrepro.evaluation.protocol_views import ProtocolViews
from resrepro.evaluation.trained_nets import find, read_net
from resrepro.results.records import RunRecord


class Classifier(nn.Module):
    """Compute logits of images: the mean of the training images is subtracted (Sec. 3.4, 4.2), and the net called.

    (N, 3, H, W), uint8 from 0 to 255 or floating-point from 0 to 1 -> (N, num_classes) float32.

    Attributes:
        net: takes pixels from 0 to 255 minus `pixel_mean`.
        pixel_mean: (3, H, W), from 0 to 255.
        class_names: in the order of the logits.
        run: what was trained.
        record: how it ended.

    Raises:
        ValueError: images of another size, which are not resized here; or floats above 1, on the CPU.
    """

    pixel_mean: Tensor

    def __init__(
        self, net: nn.Module, pixel_mean: Tensor, *, class_names: tuple[str, ...], run: Run, record: RunRecord
    ) -> None:
        super().__init__()
        self.net, self.class_names, self.run, self.record = net, class_names, run, record
        self.register_buffer("pixel_mean", pixel_mean)

    def forward(self, images: Tensor) -> Tensor:
        if not isinstance(images, Tensor):
            raise ValueError(
                f"images: expected a tensor of torch, got {type(images).__name__}; torch.as_tensor makes one"
            )
        if images.ndim != 4 or images.shape[1:] != self.pixel_mean.shape:
            raise ValueError(
                f"images {tuple(images.shape)}: expected (N, {', '.join(map(str, self.pixel_mean.shape))})"
            )
        pixels = images
        if images.is_floating_point():
            pixels = 255 * images.to(self.pixel_mean.dtype)
            if images.device.type == "cpu" and not torch.compiler.is_exporting() and bool((pixels > 255).any()):
                raise ValueError(f"images up to {images.max():g}: expected floats from 0 to 1, or integers to 255")
        logits: Tensor = self.net(pixels - self.pixel_mean)
        return logits


def load_classifier(folder: Path, data_dir: Path) -> Classifier:
    """Load a finished run's net on the CPU, in inference mode.

    Args:
        folder: of the run.
        data_dir: where the dataset lies, whose mean is subtracted; CIFAR-10's is known without it.

    Raises:
        UserError: no finished run, or no weights there; damaged, or another run's; no dataset to take the mean from.
    """
    (found,) = find([folder])
    run, record = found.run, found.record
    if run is None or record is None:
        raise UserError(f"{folder}: the run is not finished; the command that trains it goes on with it")
    net, _ = read_net(found)
    names = class_names(run.dataset, data_dir=data_dir)
    return Classifier(net, _pixel_mean(run, record, data_dir), class_names=names, run=run, record=record).eval()


def _pixel_mean(run: Run, record: RunRecord, data_dir: Path) -> Tensor:
    """Return the mean of the images that a run was trained on, (3, H, W)."""
    if run.dataset == "cifar10" and run.recipe.train_images is None:
        return cifar10_pixel_mean()
    if not is_there(run.dataset, data_dir=data_dir):
        raise UserError(
            f"{run}: its input is an image minus the mean of the training images, and there is no {run.dataset} in "
            f"{data_dir}; say with --data-dir where it is"
        )
    dataset = load_for(run.recipe, run.dataset, DataOptions(data_dir=data_dir))
    if record.images is not None and dataset.input_pipeline(run.recipe).fingerprint != record.images:
        raise UserError(
            f"{run}: the training images of {run.dataset} in {data_dir} are not those that it was trained on, so their "
            "mean is not its own; say with --data-dir where those are"
        )
    return dataset.pixel_mean(run.recipe)


def read_view(file: Path, classifier: Classifier) -> tuple[Tensor, str]:
    """Read an image file of any size, and cut from it what the net sees.

    Where the net was trained on crops of photographs this is the single view of the test protocols; where it was on
    resized ones, the same square as then; else the image with its shorter side resized to the net's, and the middle of
    the longer one. It is turned as a camera noted, but for that square, which training, too, takes as it is stored.

    Returns:
        The view, (3, H, W) uint8; and what was done to the image, such as `640 x 480, its middle resized to 32 x 32`.

    Raises:
        UserError: missing, damaged, or no image.
    """
    height, width = classifier.pixel_mean.shape[1:]
    fix = "expected PNG, JPEG or the like"
    try:
        data = file.read_bytes()
    except OSError as error:
        raise UserError(f"{file}: not a readable image ({error.strerror or error}); {fix}") from error
    pixels, recipe = decode(data, str(file), fix=fix), classifier.run.recipe
    if recipe.resize is not None:
        size = f"{pixels.shape[2]} x {pixels.shape[1]}"
        return center_view(pixels, height, height), f"{size}, its middle resized to {width} x {height}"
    image = _upright(pixels, data)
    size = f"{image.width} x {image.height}"
    if recipe.scale_crop is not None:
        (crop,) = ProtocolViews.of("single view", height).cut(_pixels(image))
        return crop[0], f"{size}, center crop of {width} x {height}"
    if image.size == (width, height):
        return _pixels(image), size
    fitted = ImageOps.fit(image, (width, height), Image.Resampling.BILINEAR)
    return _pixels(fitted), f"{size}, its middle resized to {width} x {height}"


def _upright(pixels: Tensor, data: bytes) -> Image.Image:
    """Return a decoded image, (3, H, W) uint8, turned as the camera noted in its file, `data`."""
    image = Image.fromarray(pixels.permute(1, 2, 0).numpy())
    with suppress(Exception), Image.open(io.BytesIO(data)) as stored:  # damaged notes make PIL raise almost anything
        image.getexif()[ExifTags.Base.Orientation] = stored.getexif()[ExifTags.Base.Orientation]
    return ImageOps.exif_transpose(image)


def _pixels(image: Image.Image) -> Tensor:
    """Return (3, H, W) uint8."""
    return torch.from_numpy(np.array(image)).permute(2, 0, 1)


@torch.no_grad()
def top_classes(classifier: Classifier, view: Tensor, count: int) -> list[tuple[str, float]]:
    """Return the most probable classes of a view, (3, H, W) uint8: name and probability in %, the first the highest."""
    probabilities = F.softmax(classifier(view[None])[0].float(), dim=0)
    values, labels = probabilities.topk(min(count, len(probabilities)))
    names = classifier.class_names
    return [(names[label], 100 * value) for label, value in zip(labels.tolist(), values.tolist(), strict=True)]
