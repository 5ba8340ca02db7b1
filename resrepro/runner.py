"""From a Run to its files: builds the objects, trains, records."""

from __future__ import annotations

import datetime
import platform
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any, Protocol

import torch
import torchvision

import resrepro
from resrepro import data, results
from resrepro.data.batches import Batches
from resrepro.data.images import Images
from resrepro.device import Compute, out_of_memory
from resrepro.errors import UserError
from resrepro.experiment import Run
from resrepro.models import build
from resrepro.models.complexity import complexity
from resrepro.records import CurvePoint, RunRecord
from resrepro.results import RunFiles
from resrepro.training import checkpoint
from resrepro.training.engine import EagerEngine
from resrepro.training.loop import Diverged, Training

CHECKPOINT_EVERY_S = 60.0  # and at every curve point, and when stopped


class Stopped(Exception):
    """The user or the system asked the process to end; the run is checkpointed."""

    def __init__(self, run: Run, iteration: int, signal_number: int) -> None:
        super().__init__(f"{run}: stopped at iteration {iteration}, checkpoint written")
        self.signal_number = signal_number


class Reporter(Protocol):
    """Shows what happens; the terminal's is in `progress`."""

    def started(self, run: Run, training: Training) -> None: ...
    def advanced(self, run: Run, training: Training, point: CurvePoint | None) -> None: ...
    def ended(self, run: Run, record: RunRecord | None, note: str) -> None: ...


@dataclass
class Runner:
    """Trains runs one after the other, each into its folder below `results_dir`."""

    results_dir: Path
    data_dir: Path
    compute: Compute
    reporter: Reporter
    _images: dict[str, Images] = field(default_factory=dict)

    def run_all(self, runs: list[Run]) -> list[str]:
        """Trains what is not finished. A run that fails or diverges does not keep the others from going on.

        Returns:
            The errors of the runs that failed, one line each.

        Raises:
            UserError: the data cannot be had, or a recorded run is not the one asked for; nothing was started.
            Stopped: on SIGINT or SIGTERM, after a checkpoint.
        """
        missing = [run for run in runs if self._record_of(run) is None]
        for dataset in dict.fromkeys(run.dataset for run in missing):
            self._images[dataset] = data.load(dataset, data_dir=self.data_dir)
        errors = []
        with _Signals() as signals:
            for run in missing:
                try:
                    with out_of_memory(self.compute, str(run)):
                        record = self._train(run, signals)
                    note = "" if record.status == "finished" else f"diverged at iteration {record.diverged_iter}"
                    self.reporter.ended(run, record, note)
                except UserError as error:
                    errors.append(str(error))
                    self.reporter.ended(run, None, str(error))
        return errors

    def _record_of(self, run: Run) -> RunRecord | None:
        """The record of a run that needs nothing more; None where it, or a repair of its CSV, is to be done."""
        files = results.run_files(self.results_dir, run)
        record = results.finished(self.results_dir, run)
        return None if record is None or results.lacks_rows(files, record) else record

    def _train(self, run: Run, signals: _Signals) -> RunRecord:
        files = results.run_files(self.results_dir, run)
        with results.hold(files):
            done = self._record_of(run)  # another process may just have finished it
            return done or self._advance(run, files, self._resume(run, files), signals)

    def _resume(self, run: Run, files: RunFiles) -> Training:
        """The training at its last checkpoint, or at its start; the CSV has just the rows up to there."""
        images = self._images[run.dataset]
        net = build(run.arch, num_classes=images.num_classes, seed=run.seed)
        engine = EagerEngine(
            net,
            Batches(images, padding=run.recipe.crop_padding, device=self.compute.device),
            run.recipe,
            num_train_images=len(images.train_images),
            seed=run.seed,
            compute=self.compute,
        )
        training = Training(run.recipe, engine)
        if files.checkpoint.exists():
            checkpoint.load(files.checkpoint, run, training)
        results.rewrite_curves(files, training.points)
        self.reporter.started(run, training)
        return training

    def _advance(self, run: Run, files: RunFiles, training: Training, signals: _Signals) -> RunRecord:
        saved = time.monotonic()
        try:
            for point in training.steps():
                if point is not None:
                    results.append_point(files, point)
                if point or signals.received or time.monotonic() - saved > CHECKPOINT_EVERY_S:
                    checkpoint.save(files.checkpoint, run, training)
                    saved = time.monotonic()
                if signals.received:
                    raise Stopped(run, training.iteration, signals.received)
                self.reporter.advanced(run, training, point)
            with signals.raising(lambda number: Stopped(run, training.iteration, number)):
                outcome = _results(training)  # takes long for a deep net, and everything is on the disk
            record = self._record(run, training, **outcome)
        except Diverged as diverged:
            record = self._record(run, training, diverged_iter=diverged.iteration)
        results.write_record(files, record)
        return record

    def _record(self, run: Run, training: Training, **outcome: Any) -> RunRecord:
        images = self._images[run.dataset]
        counts = complexity(run.arch, num_classes=images.num_classes, image_size=images.size)
        return RunRecord(
            status="diverged" if "diverged_iter" in outcome else "finished",
            dataset=run.dataset,
            name=run.name,
            arch=run.arch,
            seed=run.seed,
            schedule_scale=run.schedule_scale,
            recipe=run.recipe.model_dump(mode="json"),
            num_parameters=counts.num_parameters,
            num_multiply_adds=counts.num_multiply_adds,
            warmup_opened_iter=training.warmup_opened_iter,
            wall_time_s=round(training.elapsed_s, 1),
            device=self.compute.name,
            precision=self.compute.precision,
            kernels=training.engine.arithmetic["kernels"],
            num_threads=torch.get_num_threads(),
            versions={
                "resrepro": resrepro.__version__,
                "python": platform.python_version(),
                "torch": torch.__version__,
                "torchvision": torchvision.__version__,
            },
            commit=_commit(),
            finished_at=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            **outcome,
        )


def _results(training: Training) -> dict[str, Any]:
    last = training.points[-1]
    best = min(training.points, key=lambda p: p.test_error_pct)
    return {
        "final_train_error_pct": last.train_error_pct,
        "final_test_error_pct": last.test_error_pct,
        "best_test_error_pct": best.test_error_pct,
        "best_test_error_iter": best.iteration,
        "final_test_error_bn_reestimated_pct": training.engine.test_bn_reestimated().error_pct,
        "final_train_error_clean_pct": training.engine.clean_train().error_pct,
    }


class _Signals:
    """Inside, the first SIGINT or SIGTERM is noted; the loop acts on it between iterations. The second acts at once."""

    def __init__(self) -> None:
        self.received: int | None = None
        self._before: dict[int, Any] = {}
        self._error: Callable[[int], Exception] | None = None

    def __enter__(self) -> _Signals:
        self._before = {n: signal.signal(n, self._note) for n in (signal.SIGINT, signal.SIGTERM)}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, number: int, _frame: FrameType | None) -> None:
        self.received = number
        self.__exit__()
        if self._error is not None:
            raise self._error(number)

    @contextmanager
    def raising(self, error: Callable[[int], Exception]) -> Iterator[None]:
        """Inside, a signal raises at once what `error` makes of its number."""
        self._error = error
        try:
            if self.received is not None:
                raise error(self.received)
            yield
        finally:
            self._error = None


def _commit() -> str | None:
    """The commit of this source tree, `+changes` if it was altered; None where it is no checkout."""
    root = Path(__file__).parent.parent
    if not (root / ".git").exists():
        return None
    try:
        commit = _git(root, "rev-parse", "HEAD")
        return f"{commit}+changes" if _git(root, "status", "--porcelain", "--", "resrepro", "experiments") else commit
    except (OSError, subprocess.SubprocessError):
        return None


def _git(root: Path, *words: str) -> str:
    return subprocess.run(["git", "-C", str(root), *words], capture_output=True, text=True, check=True).stdout.strip()
