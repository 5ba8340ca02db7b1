"""Train runs in a worker process: the parent sends them through a pipe, and gets their progress back."""

from __future__ import annotations

import contextlib
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

from resrepro.config.run import Run
from resrepro.errors import UserError
from resrepro.results.records import CurvePoint, RunRecord
from resrepro.runtime.device import choose
from resrepro.runtime.signals import Signals, stopping
from resrepro.training.reporter import Progress
from resrepro.training.runner import Outcome, Runner

SHOW_EVERY_S = 0.1
LISTEN_EVERY_S = 0.2  # how long a SIGTERM to this process alone may wait


@dataclass(frozen=True)
class Snapshot:
    """Says how far a training in another process was. The first of a run has all its points, others the last one."""

    iteration: int
    elapsed_s: float
    lr: float
    points: tuple[CurvePoint, ...]
    notes: tuple[str, ...]
    measuring_iters: float


class _PipeReporter:
    """Sends what a `Reporter` shows to the parent. What it tells after the parent's death is lost."""

    def __init__(self, pipe: Connection) -> None:
        self._pipe, self._lock = pipe, threading.Lock()
        self._sent_s: dict[Run, float] = {}

    def send(self, *message: Any) -> None:
        with self._lock, contextlib.suppress(OSError):
            self._pipe.send(message)

    def preparing(self, what: str, done: int, total: int) -> None:
        self.send("preparing", what, done, total)

    def started(self, run: Run, training: Progress) -> None:
        self.send("started", run, _snapshot(training, training.points))

    def advanced(self, run: Run, training: Progress, point: CurvePoint | None) -> None:
        now = time.monotonic()
        if point is not None or now - self._sent_s.get(run, 0.0) > SHOW_EVERY_S:
            self._sent_s[run] = now
            self.send("advanced", run, _snapshot(training, training.points[-1:]), point)

    def ended(self, run: Run, record: RunRecord | None, note: str) -> None:
        self.send("ended", run, record, note)


def _snapshot(training: Progress, points: Sequence[CurvePoint]) -> Snapshot:
    return Snapshot(
        training.iteration, training.elapsed_s, training.lr, tuple(points), tuple(training.notes),
        training.measuring_iters,
    )  # fmt: skip


def serve(
    pipe: Connection, device: str, precision: str, missing: list[Run], jobs: int | None, options: dict[str, Any]
) -> None:
    """Train the runs that come through the pipe until it ends, or says None; then stop them with a checkpoint.

    Args:
        missing: all runs that may come.
        jobs: as in `Runner.run_all`.
        options: of `Runner`.
    """
    for number in set(stopping()) - {signal.SIGTERM}:  # Ctrl-C reaches this process, too; the parent tells it to stop
        signal.signal(number, signal.SIG_IGN)
    reporter, stop = _PipeReporter(pipe), threading.Event()
    try:
        runner = Runner(compute=choose(device, precision), reporter=reporter, **options)
        jobs = runner.prepare(missing, jobs)
    except UserError as error:
        reporter.send("error", str(error))
        return
    except Exception:
        reporter.send("bug", traceback.format_exc())
        return

    def signal_to_act_on(noted: int) -> int:
        return noted or (signal.SIGTERM if stop.is_set() else 0)

    with Signals(signal_to_act_on, (signal.SIGTERM,)) as signals, ThreadPoolExecutor(jobs) as pool:
        runner.listen(signals)
        reporter.send("ready", jobs)
        while not signals.received():
            if pipe.poll(LISTEN_EVERY_S):
                run: Run | None = None  # all are to stop, nothing is left to do, or the parent has died
                with contextlib.suppress(EOFError, OSError):
                    run = pipe.recv()
                if run is None:
                    stop.set()
                else:
                    pool.submit(_attempt, reporter, runner.attempt, signals, run)
    if not stop.is_set():
        sys.exit(128 + signal.SIGTERM)


def _attempt(reporter: _PipeReporter, attempt: Callable[[Signals, Run], Outcome], signals: Signals, run: Run) -> None:
    try:
        reporter.send("outcome", run, attempt(signals, run))
    except Exception:
        reporter.send("bug", traceback.format_exc())
