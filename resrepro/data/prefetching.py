"""Mini-batches made ahead of time by worker processes."""

from __future__ import annotations

import multiprocessing
import signal
import warnings
from collections.abc import Iterator, Sequence
from typing import Generic, NamedTuple, TypeVar

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from resrepro.errors import UserError

Item = TypeVar("Item")


class HostBatch(NamedTuple):
    """What a worker process makes of a mini-batch.

    Args:
        images: (N, 3, S, S) uint8, channels-last; cropped, not flipped yet.
        labels: (N,) int64.
        flip: (N,) bool.
        alphas: (N, 3) float32, for the color augmentation.
        skipped: corrupt files that another image stands for.
    """

    images: Tensor
    labels: Tensor
    flip: Tensor
    alphas: Tensor
    skipped: Sequence[str] = ()


def prefetched(
    dataset: Dataset[Item], order: Sequence[int] | range, *, num_workers: int, pin: bool = False
) -> Iterator[Item]:
    """The items of `dataset` in `order`, such as mini-batches, each made by one worker process; 0: made here.

    May be closed at any time, and several may be open at once.

    Args:
        pin: into page-locked memory, from which a copy to the GPU need not wait.

    Raises:
        UserError: of an item; or a worker process ended.
    """
    named: set[str] = set()
    loader = DataLoader(
        _Guarded(dataset),
        batch_size=None,
        sampler=order,
        num_workers=num_workers,
        pin_memory=pin,
        worker_init_fn=_ignore_interrupts,
        multiprocessing_context=_context() if num_workers else None,
        generator=torch.Generator(),  # its draw of a seed must not move the generator of all
    )
    items = iter(loader)
    while True:
        try:
            item = next(items, None)
        except RuntimeError as error:
            if "DataLoader worker" not in str(error):
                raise
            raise UserError(
                f"{str(error).splitlines()[0]}: a process that reads images ended; is the memory full, or the shared "
                "memory (df -h /dev/shm)? take fewer workers"
            ) from error
        if item is None:
            return
        if isinstance(item, UserError):
            raise item
        if isinstance(item, HostBatch):
            for name in set(item.skipped) - named:
                named.add(name)
                warnings.warn(f"{name}: cannot be decoded; the next image of the epoch stands for it", stacklevel=2)
        yield item


def _context() -> multiprocessing.context.BaseContext:
    """Workers are forked from a process of their own, which has imported torch and has neither threads nor CUDA.

    Forked from this process, they would inherit locks that its threads hold, and a CUDA they cannot use; spawned, each
    would import torch anew (seconds, and its memory).
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["resrepro.data.scale_crops"])
    return context


def _ignore_interrupts(_worker: int) -> None:
    """Ctrl-C reaches every process of the terminal; the main one ends its workers."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


class _Guarded(Dataset[Item | UserError], Generic[Item]):
    """Hands a UserError on as an item: raised in a worker, it would come back as a traceback."""

    def __init__(self, dataset: Dataset[Item]) -> None:
        self.dataset = dataset

    def __getitem__(self, item: int) -> Item | UserError:
        try:
            return self.dataset[item]
        except UserError as error:
            return error
