"""From the bytes of an image file to pixels, and to the crop of the resized image that a view shows."""

from __future__ import annotations

import io
import math
import struct
import warnings
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torchvision.io import ImageReadMode, decode_image

from resrepro.data.image_files.listing import ImageFiles
from resrepro.errors import UserError, first_line

UNREADABLE = (  # PIL's errors
    OSError, ValueError, SyntaxError, EOFError, RuntimeError, struct.error, Image.DecompressionBombError,
)  # fmt: skip
JPEG = b"\xff\xd8"  # its first bytes
REPLACE_OR_SKIP = "replace the file, or, of training images, leave out such with --skip-corrupt"
MOST_PIXELS = Image.MAX_IMAGE_PIXELS or 0  # a small file may say that it has more than the memory holds; PIL only warns
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)


class CorruptImage(UserError):
    """Says that what was read is no whole image, and so may be skipped; only `decode` raises it."""


def decode(data: bytes, name: str, *, fix: str = REPLACE_OR_SKIP) -> Tensor:
    """Decode an image: (3, H, W) uint8, RGB, stored as (H, W, 3).

    JPEG (also grayscale and CMYK) by torchvision, which is fast; anything else by PIL: PNG (also named .JPEG, as one of
    ImageNet's is), WebP, GIF. Torchvision ends the process at a PNG with a wrong checksum. The orientation that a
    camera noted is ignored, as is usual on ImageNet.

    Args:
        fix: what the error says that one can do.

    Raises:
        CorruptImage: truncated, corrupt or no image; names the file.
    """
    frame = jpeg_frame(data)
    if data.startswith(JPEG) and (frame is None or frame.height * frame.width <= MOST_PIXELS):
        try:
            pixels: Tensor = decode_image(torch.frombuffer(bytearray(data), dtype=torch.uint8), mode=ImageReadMode.RGB)
            return pixels
        except (RuntimeError, ValueError):
            pass
    return _decode_with_pil(data, name, fix)


def _left_out(name: str) -> None:
    warnings.warn(f"{name}: cannot be decoded; left out", stacklevel=3)


def decoded(
    files: ImageFiles, indices: Iterable[int], *, skip_corrupt: bool, skipped: Callable[[str], object] = _left_out
) -> Iterator[tuple[int, Tensor]]:
    """Read and decode images in turn; yield the number and the pixels of each.

    Args:
        skip_corrupt: whether to leave out images that cannot be decoded.
        skipped: is told the name of each of these; by default it warns.

    Raises:
        UserError: a file cannot be read; or decoded, and is not to be left out.
    """
    for index in indices:
        name, data = files.name(index), files.read(index)
        try:
            pixels = decode(data, name)
        except CorruptImage:
            if not skip_corrupt:
                raise
            skipped(name)
        else:
            yield index, pixels


class JpegFrame(NamedTuple):
    """Hold what the frame header of a JPEG says; `components`: 1 for grayscale, 4 for CMYK."""

    height: int
    width: int
    components: int


def jpeg_frame(data: bytes) -> JpegFrame | None:
    """Return what a JPEG's frame header says; None where there is none, or the file is no JPEG."""
    at = 2 if data.startswith(JPEG) else len(data)
    while at + 9 < len(data) and data[at] == 0xFF:
        marker, size = data[at + 1], int.from_bytes(data[at + 2 : at + 4], "big")
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            return JpegFrame(*struct.unpack(">HHB", data[at + 5 : at + 10]))
        at += 1 if marker == 0xFF else 2 + size
    return None


def _decode_with_pil(data: bytes, name: str, fix: str) -> Tensor:
    try:
        with Image.open(io.BytesIO(data)) as image:  # which reads its header only
            if image.width * image.height > MOST_PIXELS:
                raise ValueError(f"{image.width} x {image.height} pixels, more than {MOST_PIXELS}")
            if image.format == "PNG" and image.mode in ("I", "I;16"):  # 16 bits
                pixels = np.stack([(np.array(image) // 257).astype(np.uint8)] * 3, axis=2)
            elif image.mode.startswith(("I", "F")):
                raise ValueError(f"pixels of mode {image.mode}")
            else:
                pixels = np.array(image.convert("RGB"))
    except UNREADABLE as error:
        why = first_line(error).split("<")[0].strip()  # without PIL's object in memory
        raise CorruptImage(f"{name}: not a readable image ({why}); {fix}") from error
    return torch.from_numpy(pixels).permute(2, 0, 1)


class Window(NamedTuple):
    """Mark a part of an image, in pixels from its upper left corner."""

    top: int
    left: int
    height: int
    width: int


def center_crop(height: int, width: int, size: int) -> Window:
    """Return the middle `size` x `size` pixels; where no middle pixel is, half to even, as in torchvision."""
    return Window(round((height - size) / 2), round((width - size) / 2), size, size)


def resized_size(height: int, width: int, shorter_side: int) -> tuple[int, int]:
    """Return (height, width) once the shorter side is `shorter_side`; the longer is rounded down, as torchvision does.

    The paper does not say how it rounds.
    """
    if height <= width:
        return shorter_side, shorter_side * width // height
    return shorter_side * height // width, shorter_side


def center_view(image: Tensor, shorter_side: int, size: int) -> Tensor:
    """Return the middle `size` x `size` pixels, (3, S, S) uint8, of the image resized to `shorter_side`.

    Args:
        image: (3, H, W) uint8.
    """
    middle = center_crop(*resized_size(image.shape[1], image.shape[2], shorter_side), size)
    return resampled(image, shorter_side=shorter_side, **middle._asdict())


def resampled(image: Tensor, *, shorter_side: int, top: int, left: int, height: int, width: int) -> Tensor:
    """Return the crop (3, height, width) uint8, at (top, left), of the image resized to `shorter_side`.

    Equal to resizing the whole of it (bilinear, antialiased) and cropping afterwards, but costs only the part up to
    the crop's lower right corner: torch's weights depend on the distance from the first pixel alone. Starting at the
    crop itself would shift them by a part of a pixel. Copies are numpy's, which use no more than this thread.

    Args:
        image: (3, H, W) uint8.
    """
    sides, sizes = image.shape[1:], resized_size(image.shape[1], image.shape[2], shorter_side)
    ends = [top + height, left + width]
    if top < 0 or left < 0 or ends[0] > sizes[0] or ends[1] > sizes[1]:
        raise ValueError(f"crop {height}x{width} at {top}, {left} of an image of {sizes[0]}x{sizes[1]}")
    needed = [
        min(side, math.ceil(end * side / size + max(1.0, side / size)))  # the filter reaches past the crop
        for side, size, end in zip(sides, sizes, ends, strict=True)
    ]
    for i in range(2):
        if needed[i] == ends[i] and sides[i] != sizes[i]:
            ends[i] += 1  # torch takes equal sizes for nothing to do, whatever the scale
    box = np.ascontiguousarray(image.permute(1, 2, 0).numpy()[: needed[0], : needed[1]])
    channels_last = torch.from_numpy(box)[None].permute(0, 3, 1, 2)  # the fast path, whose result is so too
    scales = [size / side for side, size in zip(sides, sizes, strict=True)]
    resized: Tensor = torch.ops.aten._upsample_bilinear2d_aa(channels_last, ends, False, *scales)
    return resized[0, :, top : top + height, left : left + width]
