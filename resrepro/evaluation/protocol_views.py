"""Views of test images: to which sizes each protocol resizes an image, and where it cuts it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain

import torch
from torch import Tensor

from resrepro.config.recipe import IMAGENET_CROP
from resrepro.data.dataset import Dataset
from resrepro.data.image_files.decoding import Window, center_crop, resampled, resized_size
from resrepro.data.image_files.prefetch import prefetched
from resrepro.errors import UserError
from resrepro.evaluation.single_view import EVALUATION_BATCH
from resrepro.paper import EVALUATION_SCALES, EvaluationProtocol

MIN_SCALE = 32  # what the net's last map has a pixel for
# Pixels of the views that the net sees at a time, of one size; no result depends on it but by rounding.
BATCH_PIXELS = {"cpu": 32 * 224 * 224, "cuda": 512 * 224 * 224}
HELD_BATCHES = 8  # waiting for others of their size
IMAGES_AT_A_TIME = 8  # that a thread cuts before it hands them over

Piece = tuple[int, Tensor]  # image's number; (K, 3, h, w) uint8 views of it


def five_crops(height: int, width: int, size: int) -> tuple[Window, ...]:
    """Return upper left, upper right, lower left, lower right, center (Sec. 3.4: "10-crop testing", with mirrors)."""
    bottom, right = height - size, width - size
    corners = (Window(top, left, size, size) for top in (0, bottom) for left in (0, right))
    return *corners, center_crop(height, width, size)


@dataclass(frozen=True, kw_only=True)
class ProtocolViews:
    """Cut the views of a test protocol: windows of the image, resized to each of the shorter sides, and mirrors.

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
        """Take the paper's scales where none are given."""
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
        """Shorter sides in pixels, each once; in proportion to the size of the images that the net was trained on."""
        return tuple(dict.fromkeys(round(scale * self.image_size / IMAGENET_CROP.size) for scale in self.scales))

    @property
    def mirrored(self) -> bool:
        return self.protocol != "single view"

    def windows(self, height: int, width: int) -> tuple[Window, ...]:
        """Return the windows of a resized image; those of one image have one size."""
        if self.protocol == "multi-scale":
            return (Window(0, 0, height, width),)
        if self.protocol == "10-crop":
            return five_crops(height, width, self.image_size)
        return (center_crop(height, width, self.image_size),)

    def cut(self, image: Tensor) -> list[Tensor]:
        """Cut (3, H, W) uint8 into (K, 3, h, w) uint8 for each shorter side: its windows, not yet mirrored."""
        cut = []
        for side in self.shorter_sides:
            height, width = resized_size(image.shape[1], image.shape[2], side)
            resized = resampled(image, shorter_side=side, top=0, left=0, height=height, width=width)
            windows = self.windows(height, width)
            cut.append(torch.stack([resized[:, w.top : w.top + w.height, w.left : w.left + w.width] for w in windows]))
        return cut


class CutImages:
    """Cut the views of test images; item i has those of the i-th few images.

    Args:
        numbers: the test images; a piece has the place of its image among them.
        cut: returns the views of an image, (3, H, W) uint8 -> (K, 3, h, w) for each size.
    """

    def __init__(self, dataset: Dataset, numbers: Sequence[int], cut: Callable[[Tensor], list[Tensor]]) -> None:
        self.dataset, self.numbers, self.cut = dataset, numbers, cut

    def __len__(self) -> int:
        return -(-len(self.numbers) // IMAGES_AT_A_TIME)

    def __getitem__(self, item: int) -> list[Piece]:
        places = range(len(self.numbers))[item * IMAGES_AT_A_TIME : (item + 1) * IMAGES_AT_A_TIME]
        return [(place, cut) for place in places for cut in self.cut(self.dataset.test_image(self.numbers[place]))]


def view_batches(dataset: Dataset, numbers: Sequence[int], views: ProtocolViews) -> Iterator[tuple[Tensor, Tensor]]:
    """Return batches of the views of these test images: places in `numbers` (N,), and views (N, K, 3, h, w) uint8.

    Raises:
        UserError: views are cut where the dataset's images are seen whole; an image cannot be decoded.
    """
    device = dataset.options.device.type
    cut, batch_pixels = views.cut, BATCH_PIXELS[device]
    if not dataset.resizes_images:
        height, width = dataset.test_image(0).shape[1:]
        if views.protocol != "single view":
            raise UserError(
                f"--protocol {views.protocol}: these images are {width}x{height} pixels, all of which the net sees: "
                "there is no larger image to cut crops from, and Sec. 4.2 tests the single view; use --protocol center"
            )
        cut, batch_pixels = lambda image: [image[None]], EVALUATION_BATCH[device] * height * width
    items = CutImages(dataset, numbers, cut)
    pieces = prefetched(items, range(len(items)), num_workers=dataset.options.num_workers)
    return same_sized(chain.from_iterable(pieces), batch_pixels)


def same_sized(pieces: Iterable[Piece], batch_pixels: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield batches of views of one size: image numbers (N,), views (N, K, 3, h, w).

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
