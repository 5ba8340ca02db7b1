"""Write curve points as TensorBoard events beside the CSV, which stays the truth."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

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
        if run in self._events:
            self._events.pop(run).close()

    def write_finished(self, runs: Iterable[Run]) -> None:
        """Write the events of runs that were finished before, and have none."""
        for run in runs:
            files = results.run_files(self.results_dir, run)
            points = results.read_points(files)
            if points and not files.tensorboard.exists():
                self._anew(run, points, points[-1].elapsed_s).close()

    def _anew(self, run: Run, points: Iterable[CurvePoint], elapsed_s: float) -> _Events:
        folder = results.run_files(self.results_dir, run).tensorboard
        with user_errors(folder):
            if folder.exists():
                shutil.rmtree(folder)
            events = _Events(folder, began_at=time.time() - elapsed_s)
            events.add(points)
        return events


class _Events:
    """The events of one run.

    Args:
        began_at: seconds since the epoch; TensorBoard's relative time is then the training's.
    """

    def __init__(self, folder: Path, began_at: float) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self._writer = SummaryWriter(folder)
        self._began_at = began_at

    def add(self, points: Iterable[CurvePoint]) -> None:
        """Write a scalar for each column of `curves.csv`, under its name."""
        for point in points:
            at = self._began_at + point.elapsed_s
            for name, value in point:
                if value is not None and name not in ("iteration", "elapsed_s"):
                    self._writer.add_scalar(name, value, point.iteration, walltime=at)
        self._writer.flush()

    def close(self) -> None:
        self._writer.close()
