"""Train runs in several processes of this machine: one for each GPU, or several that share the CPU.

The parent hands out the runs, shows their progress and stops all; it computes nothing. A worker (`worker.serve`) trains
the runs that it is given, and tells of them through a pipe. Where a worker dies, another goes on with its runs from
their checkpoints.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import signal
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

from resrepro.config.run import Run
from resrepro.errors import UserError
from resrepro.runtime.signals import Signals
from resrepro.training.reporter import Reporter
from resrepro.training.runner import Outcome, Stopped, missing_runs
from resrepro.training.worker import serve

CONTEXT = multiprocessing.get_context("spawn")  # CUDA does not survive a fork
MAX_DEATHS = 3  # of workers that train the same run
RETRY_S = 10.0  # between two looks at a run that another process holds
LISTEN_EVERY_S = 0.2  # how long a signal may wait


@dataclass
class _Worker:
    """Holds what the parent knows of a worker.

    Args:
        num_jobs: runs that it trains at once; 0 while it starts.
        runs: those that it was given, and has not ended.
        is_second: it starts in place of one that died before it could train.
    """

    device: str
    process: Any
    pipe: Connection
    num_jobs: int = 0
    runs: list[Run] = field(default_factory=list)
    is_second: bool = False


@dataclass
class Dispatcher:
    """Spreads runs over worker processes, each with a `Runner` for a device.

    Args:
        devices: of each worker; the same several times where they share a CPU.
        options: of `Runner`: `data_dir`, `num_workers`, `skip_corrupt`.
    """

    results_dir: Path
    devices: Sequence[str]
    precision: str
    reporter: Reporter
    options: dict[str, Any]
    _workers: list[_Worker] = field(default_factory=list)
    _waiting: list[Run] = field(default_factory=list)
    _held: dict[Run, float] = field(default_factory=dict)  # when to try it again
    _deaths: Counter[Run] = field(default_factory=Counter)
    _said: set[str] = field(default_factory=set)
    _begun: bool = False
    _outcomes: list[Outcome] = field(default_factory=list)
    _signals: Signals = field(default_factory=Signals)

    def run_all(self, runs: list[Run], jobs: int | None) -> list[str]:
        """Train the runs that are not finished, and before them those whose weights they start from.

        A run that another process trains is tried again until that process has left it.

        Args:
            jobs: runs at once on each device; None: as many as are known to help, and fit into memory.

        Returns:
            The errors of the runs that failed, or of which several workers died, and of the devices whose workers died
            before they could train, one line each.

        Raises:
            UserError: as `Runner.run_all`.
            Stopped: on SIGINT or SIGTERM, after a checkpoint of each run.
        """
        missing = missing_runs(self.results_dir, runs)
        self._waiting = list(missing)
        with self._signals as signals:
            try:
                for device in self.devices[: len(missing)]:
                    self._start(device, missing, jobs)
                while self._workers and (self._waiting or self._held or self._running()):
                    if signals.received():
                        self._stop()
                        break
                    self._hand_out()
                    self._poll_workers(missing, jobs)
            finally:
                self._end()
        if number := signals.received():
            raise Stopped(self._outcomes, number)
        return [outcome.message for outcome in self._outcomes if outcome.kind == "failed"]

    def _running(self) -> list[Run]:
        return [run for worker in self._workers for run in worker.runs]

    def _start(self, device: str, missing: list[Run], jobs: int | None, *, is_second: bool = False) -> None:
        ours, theirs = CONTEXT.Pipe()
        options = {
            **self.options, "results_dir": self.results_dir, "num_sharing": min(len(self.devices), len(missing)),
            "replaces": self._begun,
        }  # fmt: skip
        process = CONTEXT.Process(target=serve, args=(theirs, device, self.precision, missing, jobs, options))
        listening = signal.signal(signal.SIGINT, signal.SIG_IGN)  # as the worker must from its start
        try:
            process.start()
        finally:
            signal.signal(signal.SIGINT, listening)
        theirs.close()  # so that the end of the process is the end of the pipe
        self._workers.append(_Worker(device=device, process=process, pipe=ours, is_second=is_second))

    def _hand_out(self) -> None:
        """Give waiting runs to the workers with the fewest; not before the runs whose weights they start from.

        The first are given when all workers are ready, for each measures the free memory, and takes its share of it.
        """
        self._begun = self._begun or all(worker.num_jobs for worker in self._workers)
        if not self._begun:
            return
        now = time.monotonic()
        for run in [run for run, due in self._held.items() if due <= now]:
            del self._held[run]
            self._waiting.append(run)
        unfinished = {*self._waiting, *self._held, *self._running()}
        for run in [run for run in self._waiting if run.start_from not in unfinished]:
            free = [worker for worker in self._workers if len(worker.runs) < worker.num_jobs]
            if not free:
                return
            worker = min(free, key=lambda worker: len(worker.runs))
            self._waiting.remove(run)
            worker.runs.append(run)
            with contextlib.suppress(OSError):  # it has died, which `_poll_workers` will hear
                worker.pipe.send(run)

    def _poll_workers(self, missing: list[Run], jobs: int | None) -> None:
        """Hear what the workers tell, and start another in place of one that died."""
        for worker in self._telling(LISTEN_EVERY_S):
            dead = not self._hear(worker)
            if dead and self._remove_dead(worker) and (self._waiting or self._held):
                self._start(worker.device, missing, jobs, is_second=not worker.num_jobs)

    def _telling(self, timeout_s: float | None = None) -> list[_Worker]:
        """Wait until workers have something to tell, or have died; return them."""
        pipes = wait([worker.pipe for worker in self._workers], timeout_s)
        return [worker for worker in self._workers if worker.pipe in pipes]

    def _hear(self, worker: _Worker) -> bool:
        """Act on what a worker tells; return whether it lives."""
        try:
            what, *arguments = worker.pipe.recv()
        except (EOFError, OSError):
            return False
        if what == "ready":
            (worker.num_jobs,) = arguments
        elif what == "error":
            raise UserError(*arguments)
        elif what == "bug":
            raise RuntimeError(*arguments)
        elif what == "outcome":
            self._ended(worker, *arguments)
        else:
            getattr(self.reporter, what)(*arguments)
        return True

    def _ended(self, worker: _Worker, run: Run, outcome: Outcome) -> None:
        if outcome.kind == "stopped" and not self._signals.received():
            return  # the worker alone had the signal: it ends, and another goes on
        worker.runs.remove(run)
        if outcome.kind != "held":
            self._outcomes.append(outcome)
            return
        if outcome.message not in self._said:
            self._said.add(outcome.message)
            self.reporter.ended(run, None, f"{outcome.message.partition(';')[0]}; it is tried again later")
        self._held[run] = time.monotonic() + RETRY_S

    def _remove_dead(self, worker: _Worker) -> bool:
        """Put the runs of a worker that died back; say whether another worker may start in its place."""
        worker.process.join()
        self._workers.remove(worker)
        how = _how_it_ended(worker.process.exitcode)
        for run in worker.runs:
            self._deaths[run] += 1
            if self._deaths[run] < MAX_DEATHS:
                self.reporter.ended(run, None, f"its process {how}; another goes on from the last checkpoint")
                self._waiting.insert(0, run)
            else:
                what = f"{MAX_DEATHS} processes that trained it ended, the last one {how}"
                self.reporter.ended(run, None, what)
                fix = "is the memory full? the same command, with fewer --jobs, goes on from its checkpoint"
                self._outcomes.append(Outcome("failed", f"{run}: {what}; {fix}"))
        if worker.num_jobs or not worker.is_second:
            return True
        error = (
            f"--device {worker.device}: two processes for it ended before they could train, the last one {how}; is "
            "its memory full, or the device broken?"
        )
        self._outcomes.append(Outcome("failed", error))
        return False

    def _stop(self) -> None:
        """Stop all workers, and wait for their checkpoints."""
        for worker in self._workers:
            with contextlib.suppress(OSError):  # it has died
                worker.pipe.send(None)
        while self._running():
            for worker in self._telling():
                if not self._hear(worker):
                    self._workers.remove(worker)

    def _end(self) -> None:
        """End the workers: those that still train write a checkpoint."""
        for worker in self._workers:
            worker.pipe.close()
            if not worker.num_jobs:  # it still starts
                worker.process.terminate()
        for worker in self._workers:
            worker.process.join()


def _how_it_ended(code: int) -> str:
    return f"was killed ({signal.Signals(-code).name})" if code < 0 else f"ended with code {code}"
