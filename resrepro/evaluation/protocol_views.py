"""What the net sees of an image in a test: where each protocol resizes it to, and cuts it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from resrepro.config.recipe import IMAGENET_CROP
from resrepro.data.image_files.decoding import Window, center_crop, resampled, resized_size
from resrepro.errors import UserError
from resrepro.paper import EVALUATION_SCALES, EvaluationProtocol

MIN_SCALE = 32  # what the net's last map has a pixel for


def in_proportion(scale: int, image_size: int) -> int:
    """The shorter side for nets that are trained on images of another size than the paper's."""
    return round(scale * image_size / IMAGENET_CROP.size)


def five_crops(height: int, width: int, size: int) -> tuple[Window, ...]:
    """Upper left, upper right, lower left, lower right, center (Sec. 3.4: "10-crop testing", with their mirrors)."""
    bottom, right = height - size, width - size
    corners = (Window(top, left, size, size) for top in (0, bottom) for left in (0, right))
    return *corners, center_crop(height, width, size)


@dataclass(frozen=True, kw_only=True)
class ProtocolViews:
    """The views of a test protocol: windows of the image, resized to each of the shorter sides, and their mirrors.

    Single view: the center crop. 10-crop: five crops and their mirrors. Multi-scale: the whole image at each scale, and
    its mirror, which Sec. 3.4 leaves open and both tests it refers to, [41] and [13], have.

    Args:
        image_size: side of the images that the net was trained on, pixels.
        scales: shorter sides for a net that was trained on 224 pixels; for another they change in proportion.

    Raises:
        UserError: several scales where a protocol has one, or a resized image is smaller than the crop.
    """

    protocol: EvaluationProtocol
    image_size: int
    scales: tuple[int, ...]

    @classmethod
    def of(cls, protocol: EvaluationProtocol, image_size: int, scales: tuple[int, ...] | None = None) -> ProtocolViews:
        """With the paper's scales where none are given."""
        return cls(protocol=protocol, image_size=image_size, scales=scales or EVALUATION_SCALES[protocol])

    def __post_init__(self) -> None:
        given = f"--scales {','.join(map(str, self.scales))}"
        if self.protocol == "multi-scale":
            if min(self.scales) < MIN_SCALE:
                raise UserError(f"{given}: expected at least {MIN_SCALE}, such as {EVALUATION_SCALES[self.protocol]}")
        elif len(self.scales) != 1 or self.scales[0] < IMAGENET_CROP.size:
            raise UserError(
                f"{given}: the {self.protocol} test has one scale of at least {IMAGENET_CROP.size} (the paper's is "
                f"{EVALUATION_SCALES[self.protocol][0]}); several belong to --protocol multi-scale"
            )

    @property
    def shorter_sides(self) -> tuple[int, ...]:
        """Pixels, each once."""
        return tuple(dict.fromkeys(in_proportion(scale, self.image_size) for scale in self.scales))

    @property
    def mirrored(self) -> bool:
        return self.protocol != "single view"

    def windows(self, height: int, width: int) -> tuple[Window, ...]:
        """Of a resized image; those of one image have one size."""
        if self.protocol == "multi-scale":
            return (Window(0, 0, height, width),)
        if self.protocol == "10-crop":
            return five_crops(height, width, self.image_size)
        return (center_crop(height, width, self.image_size),)

    def cut(self, image: Tensor) -> list[Tensor]:
        """(3, H, W) uint8 -> for each shorter side (K, 3, h, w) uint8: its windows, not yet mirrored."""
        cut = []
        for side in self.shorter_sides:
            height, width = resized_size(image.shape[1], image.shape[2], side)
            resized = resampled(image, shorter_side=side, top=0, left=0, height=height, width=width)
            windows = self.windows(height, width)
            cut.append(torch.stack([resized[:, w.top : w.top + w.height, w.left : w.left + w.width] for w in windows]))
        return cut


# Pixels of the views that the net sees at a time, of one size; no result depends on it but by rounding.
BATCH_PIXELS = {"cpu": 32 * 224 * 224, "cuda": 512 * 224 * 224}


HELD_BATCHES = 8  # waiting for others of their size


Piece = tuple[int, Tensor]  # image's number; (K, 3, h, w) uint8 views of it


def same_sized(pieces: Iterable[Piece], batch_pixels: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Batches of views of one size: image numbers (N,), views (N, K, 3, h, w).

    A batch is full at `batch_pixels`. Photographs have hundreds of sizes, so that some wait for others of their size:
    as many as `HELD_BATCHES` full batches have pixels, then the largest batch leaves before it is full.
    """
    waiting: dict[torch.Size, list[Piece]] = {}

    def pixels(shape: torch.Size) -> int:
        return len(waiting[shape]) * shape[0] * shape[2] * shape[3]

    def leave(shape: torch.Size) -> tuple[Tensor, Tensor]:
        numbers, views = zip(*waiting.pop(shape), strict=True)
        return torch.tensor(numbers), torch.stack(views)

    held = 0
    for number, views in pieces:
        shape = views.shape
        waiting.setdefault(shape, []).append((number, views))
        held += math.prod(shape) // 3
        if pixels(shape) < batch_pixels:
            if held <= HELD_BATCHES * batch_pixels:
                continue
            shape = max(waiting, key=pixels)
        held -= pixels(shape)
        yield leave(shape)
    for shape in list(waiting):
        yield leave(shape)
