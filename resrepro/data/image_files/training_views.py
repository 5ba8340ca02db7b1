"""Sec. 3.4's training view: shorter side drawn from [256, 480], random crop, random flip, color augmentation.

Mini-batches are a pure function of (seed, iteration), as in `in_memory/pipeline.py`: one endless stream, reshuffled
every epoch, of which mini-batch i is positions [B i, B (i+1)). Threads decode, resize and crop; the rest is done for
the whole mini-batch on the device.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from resrepro.data.image_files.decoding import center_view, decoded, resampled, resized_size
from resrepro.data.image_files.listing import ImageFiles
from resrepro.data.image_files.prefetch import HostBatch
from resrepro.errors import UserError

# AlexNet's principal components of ImageNet's RGB values on [0, 1], as published with fb.resnet.torch: the columns of
# EIGENVECTORS, whose rows are red, green, blue.
EIGENVALUES = (0.2175, 0.0188, 0.0045)
EIGENVECTORS = ((-0.5675, 0.7192, 0.4009), (-0.5808, -0.0045, -0.8140), (-0.5836, -0.6948, 0.4203))
ALPHA_STD = 0.1


@dataclass(frozen=True, kw_only=True)
class Draws:
    """Hold the draws of a mini-batch.

    Args:
        shorter_side: (N,), pixels.
        top, left: crop offsets, (N,) in [0, 1) of those possible.
        flip: (N,) bool.
        alphas: (N, 3) float32.
    """

    shorter_side: np.ndarray
    top: np.ndarray
    left: np.ndarray
    flip: np.ndarray
    alphas: np.ndarray


@dataclass(frozen=True, kw_only=True)
class ScaleCropSampler:
    """Say which images a mini-batch has, and which view of each."""

    num_images: int
    batch_size: int
    seed: int
    shorter_side: tuple[int, int]

    def index(self, position: int, later: int = 0) -> int:
        """Return the image at a position of the endless stream, or `later` places after it in the epoch's order."""
        epoch, place = divmod(position, self.num_images)
        return int(_order(self.num_images, self.seed, epoch)[(place + later) % self.num_images])

    def draws(self, iteration: int) -> Draws:
        """Return the draws of mini-batch `iteration`, counted from 0."""
        # the spawn key sets these apart from the shuffles, whose entropy is (seed, epoch)
        draw = _generator(np.random.SeedSequence((self.seed, iteration), spawn_key=(0,)))
        n, (low, high) = self.batch_size, self.shorter_side
        return Draws(
            shorter_side=draw.integers(low, high, n, endpoint=True),
            top=draw.random(n),
            left=draw.random(n),
            flip=draw.integers(0, 2, n).astype(bool),
            alphas=draw.normal(0, ALPHA_STD, (n, 3)).astype(np.float32),
        )


def _generator(seed: np.random.SeedSequence) -> np.random.Generator:
    return np.random.Generator(np.random.Philox(seed))


@lru_cache(maxsize=16)  # several runs at once, each with mini-batches of two epochs being made
def _order(num_images: int, seed: int, epoch: int) -> np.ndarray:
    """Return the order that `in_memory/pipeline.py` draws too."""
    return _generator(np.random.SeedSequence((seed, epoch))).permutation(num_images).astype(np.int32)


class ScaleCropViews:
    """Make mini-batches of training views; item i is mini-batch i, counted from 0, of as many as wanted.

    Args:
        image_size: side of the crop, pixels.
        batch_size: of the whole mini-batch.
        shard: what this process takes of each mini-batch; None: all of it.
        skip_corrupt: whether the next image of the epoch's order stands for one that cannot be decoded.

    Raises:
        UserError: the crop is larger than the shorter side; and from an item, an image that cannot be decoded.
    """

    def __init__(
        self,
        files: ImageFiles,
        *,
        image_size: int,
        shorter_side: tuple[int, int],
        batch_size: int,
        seed: int,
        shard: slice | None = None,
        skip_corrupt: bool = False,
    ) -> None:
        _check_sizes(image_size, shorter_side[0])
        self.files, self.image_size, self.skip_corrupt = files, image_size, skip_corrupt
        self.crops = ScaleCropSampler(
            num_images=len(files), batch_size=batch_size, seed=seed, shorter_side=shorter_side
        )
        self.shard = range(batch_size)[shard or slice(None)]
        self._memory = _Memory(len(self.shard), image_size)

    def __getitem__(self, iteration: int) -> HostBatch:
        draws = self.crops.draws(iteration)
        images = self._memory.lend(len(self.shard))
        indices, skipped = list[int](), list[str]()
        for row, i in enumerate(self.shard):
            position = iteration * self.crops.batch_size + i
            order = (self.crops.index(position, later) for later in range(len(self.files)))
            index, image = _first_readable(self.files, order, self.skip_corrupt, skipped)
            shorter_side, side = int(draws.shorter_side[i]), self.image_size
            height, width = resized_size(image.shape[1], image.shape[2], shorter_side)
            # both ends included: one more offset than pixels left over
            top, left = (int(u * (size - side + 1)) for u, size in ((draws.top[i], height), (draws.left[i], width)))
            crop = resampled(image, shorter_side=shorter_side, top=top, left=left, height=side, width=side)
            images[row] = _bytes(crop)
            indices.append(index)
        rows = list(self.shard)
        return HostBatch(
            images=torch.from_numpy(images).permute(0, 3, 1, 2),
            labels=torch.from_numpy(self.files.labels[indices]),
            flip=torch.from_numpy(draws.flip[rows]),
            alphas=torch.from_numpy(draws.alphas[rows]),
            skipped=skipped,
        )


class CenterCrops:
    """Make the center crops of all images in their order; item i is the i-th of `len` batches.

    Args:
        skip_corrupt: whether the next image stands for one that cannot be decoded.

    Raises:
        UserError: the crop is larger than the shorter side; and from an item, an image that cannot be decoded.
    """

    def __init__(
        self, files: ImageFiles, *, image_size: int, shorter_side: int, batch_size: int, skip_corrupt: bool = False
    ) -> None:
        _check_sizes(image_size, shorter_side)
        self.files, self.image_size, self.shorter_side, self.batch_size = files, image_size, shorter_side, batch_size
        self.skip_corrupt = skip_corrupt
        self._memory = _Memory(batch_size, image_size)

    def __len__(self) -> int:
        return -(-len(self.files) // self.batch_size)

    def indices(self, number: int) -> range:
        """Return the numbers of a batch's images."""
        if not 0 <= number < len(self):
            raise IndexError(number)
        return range(len(self.files))[number * self.batch_size : (number + 1) * self.batch_size]

    def crop(self, image: Tensor) -> Tensor:
        """Return the center crop of an image: (3, H, W) uint8 -> (3, S, S)."""
        return center_view(image, self.shorter_side, self.image_size)

    def __getitem__(self, number: int) -> HostBatch:
        indices, skipped = list(self.indices(number)), list[str]()
        images = self._memory.lend(len(indices))
        for row, index in enumerate(indices):
            order = (i % len(self.files) for i in range(index, index + len(self.files)))
            indices[row], image = _first_readable(self.files, order, self.skip_corrupt, skipped)
            images[row] = _bytes(self.crop(image))
        return HostBatch(
            images=torch.from_numpy(images).permute(0, 3, 1, 2),
            labels=torch.from_numpy(self.files.labels[indices]),
            flip=torch.zeros(len(indices), dtype=torch.bool),
            alphas=torch.zeros(len(indices), 3),
            skipped=skipped,
        )


def _first_readable(
    files: ImageFiles, order: Iterable[int], skip_corrupt: bool, skipped: list[str]
) -> tuple[int, Tensor]:
    """Return number and pixels of the first image that can be decoded; add the names of those before to `skipped`."""
    found = next(decoded(files, order, skip_corrupt=skip_corrupt, skipped=skipped.append), None)
    if found is None:
        raise UserError(f"{files.folder}: not one readable image in {len(files)}")
    return found


def _check_sizes(image_size: int, shorter_side: int) -> None:
    if image_size > shorter_side:
        raise UserError(
            f"shorter side {shorter_side}: smaller than the crop of {image_size}x{image_size} pixels; take a shorter "
            f"side of {image_size} or more"
        )


class _Memory:
    """Lend memory for mini-batches, and take it back once nothing refers to it.

    Memory new from the system can cost as much as all the work on an image, in a virtual machine.
    """

    def __init__(self, count: int, side: int) -> None:
        self.shape = count, side, side, 3
        self.unused: list[np.ndarray] = []

    def lend(self, count: int) -> np.ndarray:
        """Return (count, S, S, 3) uint8."""
        try:
            memory = self.unused.pop()
        except IndexError:
            memory = np.empty(self.shape, dtype=np.uint8)
        lent = memory[:count]
        weakref.finalize(lent, self.unused.append, memory).atexit = False  # a tensor made of it keeps it alive
        return lent


def _bytes(image: Tensor) -> np.ndarray:
    """View (3, H, W) as (H, W, 3) of numpy, whose copies are by this thread alone: torch's would start others."""
    return image.permute(1, 2, 0).numpy()


class NetInput:
    """Make the net's input of bytes on the device, by operations on tensors alone, as a CUDA graph needs it.

    As in `in_memory/pipeline.py` the input is 0 ... 255 minus the per-pixel mean, flipped after that, and divided by
    nothing.

    Args:
        mean: (S, S, 3) float32, 0 ... 255.
    """

    def __init__(self, mean: Tensor, *, device: torch.device) -> None:
        self.mean = mean.permute(2, 0, 1)[None].to(device)
        values = torch.tensor(EIGENVALUES, dtype=torch.float64)[:, None] * 255
        self.components = (values * torch.tensor(EIGENVECTORS, dtype=torch.float64).T).float().to(device)

    def single_view(self, images: Tensor) -> Tensor:
        """Return (N, 3, S, S) uint8 minus the mean, float32, channels-last."""
        return images.to(memory_format=torch.channels_last) - self.mean

    def augmented(self, images: Tensor, flip: Tensor, alphas: Tensor) -> Tensor:
        """Return augmented images: (N, 3, S, S) uint8, (N,) bool, (N, 3) float32 -> float32, channels-last.

        Each pixel of an image has the same sum of alpha_i * lambda_i * p_i added (AlexNet, Sec. 4.1).
        """
        x = self.single_view(images)
        color = (alphas @ self.components)[:, :, None, None]
        return torch.where(flip[:, None, None, None], x.flip(3), x) + color
