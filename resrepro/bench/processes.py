"""Processes that take turns: one works while the others wait, so that all see the same machine."""

from __future__ import annotations

import contextlib
import multiprocessing
from collections.abc import Callable
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from typing import Any

from resrepro.bench.loops import Job, Ready, Round, serve
from resrepro.errors import UserError, first_line


@dataclass(frozen=True, kw_only=True)
class Timed:
    """Hold one job's rounds."""

    job: Job
    ready: Ready
    rounds: list[Round] = field(default_factory=list)


def time_in_turns(jobs: list[Job], num_rounds: int, on_ready: Callable[[Timed], None]) -> list[Timed]:
    """Time each job in a process of its own, for peak memory and the allocator's settings belong to a process.

    Args:
        on_ready: called when a job's loop is warm; they are started one after another.

    Raises:
        UserError: a process ended early, or the images do not fit into shared memory.
    """
    context = multiprocessing.get_context("spawn")
    workers: list[tuple[Any, Connection, Timed]] = []
    try:
        for job in jobs:
            ours, theirs = context.Pipe()
            process = context.Process(target=serve, args=(job, theirs))
            try:
                process.start()
            except RuntimeError as error:  # of torch: the images do not fit
                raise UserError(f"bench: {first_line(error)}; make /dev/shm larger (Docker: --shm-size=1g)") from error
            theirs.close()  # so that the end of the process is the end of the pipe
            workers.append((process, ours, Timed(job=job, ready=_receive(ours, job))))
            on_ready(workers[-1][2])
        for _ in range(num_rounds):
            for _, pipe, timed in workers:
                pipe.send("go")
                timed.rounds.append(_receive(pipe, timed.job))
        return [timed for _, _, timed in workers]
    finally:
        for process, pipe, _ in workers:
            with contextlib.suppress(OSError):  # it has ended already
                pipe.send("stop")
            process.join()


def _receive(pipe: Connection, job: Job) -> Any:
    try:
        return pipe.recv()
    except EOFError as error:
        raise UserError(
            f"bench: the {job.loop} loop on {job.arch} ended early (its message is above); out of memory? take a "
            "shallower net"
        ) from error
