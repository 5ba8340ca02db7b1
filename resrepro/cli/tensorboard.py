"""Write curve points as TensorBoard events beside the CSV, which stays the truth."""

from __future__ import annotations

import os
import platform
import shutil
import time
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from resrepro import results
from resrepro.config.run import Run
from resrepro.errors import UserError
from resrepro.files import user_errors
from resrepro.results.records import CurvePoint, RunRecord

if TYPE_CHECKING:
    from resrepro.training.reporter import Progress, Reporter


class TensorBoardReporter:
    """Passes all on to another reporter, and writes each curve point to the folder `tensorboard` of its run.

    Where a run begins or resumes, its events are written anew from the points so far, so none is there twice.

    Raises:
        UserError: TensorBoard is not installed.
    """

    def __init__(self, reporter: Reporter, results_dir: Path) -> None:
        try:
            import tensorboard  # noqa: F401
        except ModuleNotFoundError as error:
            raise UserError(
                "--log tensorboard: the package tensorboard is not installed; pip install 'resrepro[tensorboard]'"
            ) from error
        self.reporter, self.results_dir = reporter, results_dir
        self._events: dict[Run, _Events] = {}

    def preparing(self, what: str, done: int, total: int) -> None:
        self.reporter.preparing(what, done, total)

    def started(self, run: Run, training: Progress) -> None:
        self.reporter.started(run, training)
        self._events[run] = self._anew(run, training.points, training.elapsed_s)

    def advanced(self, run: Run, training: Progress, point: CurvePoint | None) -> None:
        self.reporter.advanced(run, training, point)
        if point is not None:
            self._events[run].add([point])

    def ended(self, run: Run, record: RunRecord | None, note: str) -> None:
        self.reporter.ended(run, record, note)
        self._events.pop(run, None)

    def write_finished(self, runs: Iterable[Run]) -> None:
        """Write the events of runs that were finished before, and have none."""
        for run in runs:
            files = results.run_files(self.results_dir, run)
            points = results.read_points(files)
            if points and not files.tensorboard.exists():
                self._anew(run, points, points[-1].elapsed_s)

    def _anew(self, run: Run, points: Iterable[CurvePoint], elapsed_s: float) -> _Events:
        folder = results.run_files(self.results_dir, run).tensorboard
        with user_errors(folder):
            if folder.exists():
                shutil.rmtree(folder)
            events = _Events(folder, began_at=time.time() - elapsed_s)
            events.add(points)
        return events


class _Events:
    """The events of one run, written in the thread that trains: that of the library cannot tell of a full disk.

    Args:
        began_at: seconds since the epoch; TensorBoard's relative time is then the training's.
    """

    def __init__(self, folder: Path, began_at: float) -> None:
        self._began_at = began_at
        self._path = folder / f"events.out.tfevents.{began_at:010.0f}.{platform.node()}.{os.getpid()}"
        folder.mkdir(parents=True, exist_ok=True)
        self._append([{"wall_time": began_at, "file_version": "brain.Event:2"}])

    def add(self, points: Iterable[CurvePoint]) -> None:
        """Write a scalar for each column of `curves.csv`, under its name.

        Raises:
            UserError: the file cannot be written; it is written anew when the run goes on.
        """
        from torch.utils.tensorboard.summary import scalar

        with user_errors(self._path):
            self._append(
                {
                    "wall_time": self._began_at + point.elapsed_s,
                    "step": point.iteration,
                    "summary": scalar(name, value),  # type: ignore[no-untyped-call]
                }
                for point in points
                for name, value in point
                if value is not None and name not in ("iteration", "elapsed_s")
            )

    def _append(self, events: Iterable[dict[str, Any]]) -> None:
        from tensorboard.compat.proto.event_pb2 import Event
        from tensorboard.summary.writer.record_writer import RecordWriter

        with self._path.open("ab") as file:
            for event in events:
                RecordWriter(file).write(Event(**event).SerializeToString())
