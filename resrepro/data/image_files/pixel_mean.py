"""The per-pixel mean of Sec. 3.4: that of the training set's center crops.

The paper says "per-pixel mean" alone, and its training crops lie anywhere. The author's published models come with a
mean image of 224x224.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from resrepro.config.recipe import ScaleCrop
from resrepro.data.dataset import DataOptions
from resrepro.data.image_files.decoding import decoded
from resrepro.data.image_files.listing import ImageFiles
from resrepro.data.image_files.prefetch import prefetched
from resrepro.data.image_files.training_views import CenterCrops
from resrepro.errors import UserError
from resrepro.files import exclusive, user_errors, write_atomically

CHUNK = 256  # images a worker sums
SAVE_EVERY = 20  # chunks
LISTEN_EVERY_S = 0.5  # how long a signal may wait while another process computes


def pixel_mean(files: ImageFiles, crop: ScaleCrop, dataset: str, options: DataOptions) -> Tensor:
    """Return the mean of the center crops for each pixel and channel: (S, S, 3) float32, 0 ... 255.

    It is computed once for these files and sizes and kept below `data_dir`; stopped, it goes on from the last sums
    kept. Where another process computes it, this one waits.

    Raises:
        UserError: an image is corrupt, and not to be skipped; `data_dir` cannot be written.
    """
    image_size, shorter_side = crop.size, crop.shorter_side[0]
    name = f"{dataset.partition(':')[0]}-{image_size}-of-{shorter_side}-{files.fingerprint()}"
    path = options.data_dir / "pixel_mean" / f"{name}{'-skip-corrupt' if options.skip_corrupt else ''}.npz"
    num_chunks = -(-len(files) // CHUNK)
    sums, count, chunks = _read(path, image_size)
    if chunks < num_chunks:

        def waiting() -> None:
            *_, done = _read(path, image_size)
            options.progress("per-pixel mean, by another process,", min(done * CHUNK, len(files)), len(files))

        with _alone(path, waiting):
            sums, count, chunks = _read(path, image_size)
            views = CenterCrops(files, image_size=image_size, shorter_side=shorter_side, batch_size=CHUNK)
            chunk_sums = _Sums(views, options.skip_corrupt)
            left = range(chunks, num_chunks)
            for of_chunk, num_images in prefetched(chunk_sums, left, num_workers=options.num_workers):
                sums, count, chunks = sums + of_chunk.numpy(), count + num_images, chunks + 1
                if chunks % SAVE_EVERY == 0 or chunks == num_chunks:
                    _write(path, sums, count, chunks)
                options.progress("per-pixel mean", min(chunks * CHUNK, len(files)), len(files))
    if not count:
        raise UserError(f"{files.folder}: not one readable image")
    return torch.from_numpy(sums / count).float()


class _Locked(UserError):
    """Another process computes the mean."""


@contextmanager
def _alone(path: Path, waiting: Callable[[], object]) -> Iterator[None]:
    """Hold the lock beside a file; where another process holds it, wait and call `waiting` again and again."""
    with user_errors(path, "--data-dir"):
        path.parent.mkdir(parents=True, exist_ok=True)
    lock = path.with_suffix(".lock")
    with ExitStack() as stack:
        while True:
            try:
                stack.enter_context(exclusive(lock, lambda: _Locked(str(lock)), "--data-dir", wait_s=LISTEN_EVERY_S))
                break
            except _Locked:
                waiting()
        yield


class _Sums:
    """Sum the crops of chunk i, (S, S, 3) int64, which is exact in any order, and count them: item i."""

    def __init__(self, views: CenterCrops, skip_corrupt: bool) -> None:
        self.views, self.skip_corrupt = views, skip_corrupt

    def __getitem__(self, chunk: int) -> tuple[Tensor, int]:
        side = self.views.image_size
        sums, count = torch.zeros(3, side, side, dtype=torch.int64), 0
        for _, image in decoded(self.views.files, self.views.indices(chunk), skip_corrupt=self.skip_corrupt):
            sums += self.views.crop(image)
            count += 1
        return sums.permute(1, 2, 0), count


def _read(path: Path, side: int) -> tuple[np.ndarray, int, int]:
    """Return the sums kept, the number of their images and chunks; zeros where there are none, or damaged ones."""
    nothing = np.zeros((side, side, 3), dtype=np.int64), 0, 0
    try:
        with path.open("rb") as file, np.load(file) as kept:  # numpy leaves a damaged file open
            sums, count, chunks = kept["sums"], int(kept["count"]), int(kept["chunks"])
    except Exception:  # damaged bytes make numpy and zipfile raise almost anything
        return nothing
    return (sums, count, chunks) if sums.shape == (side, side, 3) else nothing


def _write(path: Path, sums: np.ndarray, count: int, chunks: int) -> None:
    write_atomically(path, lambda file: np.savez(file, sums=sums, count=count, chunks=chunks), "--data-dir")
