"""Train in several processes under torchrun: who takes part, what the processes exchange, and how they end together.

After each step every process has the same weights, momenta, BN averages and totals. So all make the same decisions,
and what the first process writes holds for all. A collective is called by all processes, in the same order.
"""

from __future__ import annotations

import gc
import os
import signal
import sys
import time
import traceback
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from inspect import signature
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.distributed_c10d import PrefixStore, Store
from torch.distributed.rendezvous import rendezvous
from torch.nn.parallel import DistributedDataParallel

from resrepro.errors import UserError
from resrepro.runtime.torchrun import torchrun_numbers

TIMEOUT = timedelta(hours=6)  # the others wait while one computes ImageNet's mean; one that ends is noticed at once
RESULT = TypeVar("RESULT")


@dataclass(frozen=True, kw_only=True)
class World:
    """Holds the numbers of the processes that train a run together; the `local` ones are those of one machine."""

    rank: int = 0
    size: int = 1
    local_rank: int = 0
    local_size: int = 1

    @classmethod
    def from_environment(cls) -> World:
        """Read the numbers that torchrun sets; without torchrun the process is alone."""
        return cls(**torchrun_numbers())

    @property
    def is_rank_zero(self) -> bool:
        """Tell whether this process is the one that writes files and prints."""
        return self.rank == 0

    def device(self, asked: str) -> str:
        """Return the device of this process: of the GPUs, the one with its local rank.

        Args:
            asked: the value of `--device`.

        Raises:
            UserError: a certain GPU is asked for, or there are more processes than GPUs.
        """
        if self.size == 1 or asked == "cpu" or (asked == "auto" and not torch.cuda.is_available()):
            return asked
        if asked not in ("auto", "cuda"):
            raise UserError(f"--device {asked}: under torchrun process N takes GPU N; expected auto, cuda or cpu")
        if self.local_size > torch.cuda.device_count():
            raise UserError(
                f"--nproc-per-node {self.local_size}: {torch.cuda.device_count()} CUDA device(s) here; take as many "
                "processes, or --device cpu"
            )
        return f"cuda:{self.local_rank}"

    def check(self, batch_size: int, bn_devices: int, what: str) -> None:
        """Check that the processes can have equal shares of a mini-batch, and of the parts of it that BN sees.

        Args:
            batch_size: images of a mini-batch.
            bn_devices: parts of a mini-batch that BN sees alone.
            what: the run's name; the message begins with it.

        Raises:
            UserError: one of the numbers is not a multiple of the number of processes.
        """
        if batch_size % self.size:
            raise UserError(
                f"{what}: {self.size} processes do not divide the mini-batch of {batch_size} images; start "
                "torchrun with a number that does"
            )
        if bn_devices % self.size:
            raise UserError(
                f"{what}: {self.size} processes do not divide the parts of a mini-batch that BN sees alone, bn_devices "
                f"= {bn_devices}; start torchrun with a number that does, or give a run with recipe = "
                f"{{ bn_devices = {self.size} }} a name of its own, for its result is another one"
            )

    def shard(self, whole: int) -> slice:
        """Return which images of a mini-batch of `whole` images this process computes."""
        share = whole // self.size
        return slice(self.rank * share, (self.rank + 1) * share)

    def wrap_ddp(self, net: nn.Module) -> nn.Module:
        """Return the net with gradients averaged over the processes, and with the weights of the first process."""
        if self.size == 1:
            return net
        # of BN's averages it would keep those of the first process alone
        known = signature(DistributedDataParallel).parameters
        word = "forward_sync_buffers" if "forward_sync_buffers" in known else "broadcast_buffers"  # of older torch
        options: dict[str, Any] = {word: False}
        return DistributedDataParallel(net, **options)

    def all_reduce_sum(self, tensor: Tensor) -> None:
        """Replace a tensor by its sum over the processes."""
        if self.size > 1:
            dist.all_reduce(tensor)

    def all_reduce_mean(self, tensors: Sequence[Tensor]) -> None:
        """Replace tensors by their means over the processes, in one message."""
        if self.size > 1 and tensors:
            flat = torch.cat([t.flatten() for t in tensors])  # one message
            dist.all_reduce(flat)
            means = torch.split(flat / self.size, [t.numel() for t in tensors])
            torch._foreach_copy_([*tensors], [mean.view_as(t) for mean, t in zip(means, tensors, strict=True)])

    def broadcast(self, tensors: Sequence[Tensor]) -> None:
        """Replace tensors by those of the first process."""
        if self.size > 1:
            for tensor in tensors:
                dist.broadcast(tensor.data, 0)

    def all_reduce_max(self, number: int) -> int:
        """Return the largest of the processes' numbers. The hosts wait for each other, not for their devices."""
        if self.size == 1:
            return number
        found = torch.tensor(number)
        dist.all_reduce(found, dist.ReduceOp.MAX)
        return int(found)

    def barrier(self) -> None:
        """Wait until all processes are here."""
        self.all_reduce_max(0)

    def on_rank_zero(self, work: Callable[[], RESULT]) -> RESULT:
        """Run `work` in the first process, and return its result in all: the others need not see its files."""
        if self.size == 1:
            return work()
        told = [work() if self.is_rank_zero else None]
        dist.broadcast_object_list(told, 0, device=torch.device("cpu"))
        return told[0]  # type: ignore[return-value]

    def local_rank_zero_first(self, work: Callable[[], RESULT]) -> RESULT:
        """Run `work` in all processes, and return the result of each.

        One process of each machine goes first; the others find what it left on the disk.
        """
        if self.local_rank:
            self.barrier()
        result = work()
        if not self.local_rank:
            self.barrier()
        return result

    @contextmanager
    def process_group(self) -> Iterator[None]:
        """Connect the processes. An error in one of them ends all, and is printed once."""
        if self.size == 1:
            yield
            return
        if "OMP_NUM_THREADS" not in os.environ:
            torch.set_num_threads(max(1, torch.get_num_threads() // self.local_size))
        has_cuda = torch.cuda.is_available()
        if has_cuda and self.local_rank < torch.cuda.device_count():
            torch.cuda.set_device(self.local_rank)
        store = _fresh(next(rendezvous("env://", timeout=TIMEOUT))[0], self)
        # torchrun ends the others where one has ended, and what they have to say comes first; training listens to it
        before = signal.signal(signal.SIGTERM, signal.SIG_IGN)
        try:
            backend = "cpu:gloo,cuda:nccl" if has_cuda else "gloo"
            dist.init_process_group(backend, store=store, rank=self.rank, world_size=self.size, timeout=TIMEOUT)
            yield
        except Exception as error:
            _end(error, store)
        gc.collect()  # nets that are gone still hold the group, whose threads must end before Python does
        dist.destroy_process_group()
        signal.signal(signal.SIGTERM, before)


ALONE = World()


def _fresh(store: Store, world: World) -> Store:
    """Return a part of the store for these processes alone.

    Torchrun keeps the store over restarts, with what dead processes left in it. The first process names the part, and
    answers each of the others by a name that only the living one knows.
    """
    mine = uuid.uuid4().hex
    if not world.is_rank_zero:
        store.set(f"here is {world.rank}", mine)
        start = store.get(f"to {mine}").decode()  # waits
        store.set(f"{world.rank} knows {start}", "")
        return PrefixStore(start, store)
    silent, until = set(range(1, world.size)), time.monotonic() + TIMEOUT.total_seconds()
    while silent:
        for rank in filter(lambda r: store.check([f"here is {r}"]), silent):
            store.set(f"to {store.get(f'here is {rank}').decode()}", mine)
        silent = {rank for rank in silent if not store.check([f"{rank} knows {mine}"])}
        if time.monotonic() > until:
            raise UserError(
                f"torchrun: of {world.size} processes {len(silent)} did not come within {TIMEOUT}; see theirs"
            )
        time.sleep(0.01)
    return PrefixStore(mine, store)


def _end(error: Exception, store: Store) -> None:
    """End this process, and so the others, which lose it. The first one that ends prints why."""
    try:
        is_first = store.add("said why", 1) == 1
    except RuntimeError:  # the process that keeps the store is gone
        is_first = True
    if is_first and isinstance(error, UserError):
        print(f"error: {error}", file=sys.stderr)
    elif is_first and _is_loss(error):
        print(
            "error: another process of this training ended; the checkpoints are intact: the same command goes on from "
            "them, as does torchrun --max-restarts 3 by itself",
            file=sys.stderr,
        )
    elif is_first:
        traceback.print_exception(error)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(1)  # an orderly end would wait for a device that waits for the process that is gone


def _is_loss(error: Exception) -> bool:
    return isinstance(error, dist.DistError) or (isinstance(error, RuntimeError) and "gloo" in str(error))
