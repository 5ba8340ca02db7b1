"""Mini-batches made ahead of time by threads.

Decoding and resizing release Python's lock; what holds it is some 30 microseconds an image. So threads do what torch's
DataLoader does with processes, without copying each mini-batch through shared memory (where one was measured to take as
long as decoding it), without a second copy of the list of files, and with no processes to start, lose or interrupt.
"""

from __future__ import annotations

import itertools
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import NamedTuple, Protocol, TypeVar

from torch import Tensor

AHEAD = 2  # items a worker has begun or finished before they are asked for

Item = TypeVar("Item", covariant=True)


class Items(Protocol[Item]):
    """Make items in any order, and several at once."""

    def __getitem__(self, index: int, /) -> Item: ...


class HostBatch(NamedTuple):
    """Hold what a worker makes of a mini-batch.

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

    def pin_memory(self) -> HostBatch:
        """Copy it to page-locked memory, from which a copy to the GPU need not wait."""
        images, labels, flip, alphas = (tensor.pin_memory() for tensor in self[:4])
        return HostBatch(images, labels, flip, alphas, self.skipped)


def prefetched(
    items: Items[Item],
    order: Iterable[int],
    *,
    num_workers: int,
    pin: bool = False,
    stop: Callable[[], object] = lambda: None,
) -> Iterator[Item]:
    """Yield `items` in `order`, such as mini-batches, each made by one of `num_workers` threads; 0: when asked for.

    May be closed at any time, and several may be open at once. What an item raises is raised here.

    Args:
        pin: calls `pin_memory` of each item, in the thread that made it.
        stop: is called at the end, before the threads are waited for: it may let them give up long items.
    """

    def make(index: int) -> Item:
        item = items[index]
        return item.pin_memory() if pin else item  # type: ignore[attr-defined]

    named: set[str] = set()
    for item in _made_ahead(make, order, num_workers, stop) if num_workers else map(make, order):
        if isinstance(item, HostBatch):
            for name in set(item.skipped) - named:
                named.add(name)
                warnings.warn(f"{name}: cannot be decoded; the next image stands for it", stacklevel=2)
        yield item


def _made_ahead(
    make: Callable[[int], Item], order: Iterable[int], num_workers: int, stop: Callable[[], object]
) -> Iterator[Item]:
    pool = ThreadPoolExecutor(num_workers, thread_name_prefix="images")
    indices = iter(order)
    begun: deque[Future[Item]] = deque()
    try:
        while True:
            missing = AHEAD * num_workers - len(begun)
            begun.extend(pool.submit(make, index) for index in itertools.islice(indices, missing))
            if not begun:
                return
            yield begun.popleft().result()
    finally:
        stop()
        pool.shutdown(cancel_futures=True)
