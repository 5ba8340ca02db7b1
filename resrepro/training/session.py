"""Train one run in this process: resume, train, checkpoint, take the last measurements, write the record."""

from __future__ import annotations

import datetime
import threading
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from resrepro import results
from resrepro.config.run import Run
from resrepro.data.dataset import Dataset
from resrepro.evaluation.batch_norm import NUM_MINI_BATCHES
from resrepro.evaluation.responses import Responses
from resrepro.models import build
from resrepro.models.complexity import Complexity, complexity
from resrepro.results import csv_rows
from resrepro.results.paths import RunFiles
from resrepro.results.records import CurvePoint, LayerNorms, Response, RunRecord
from resrepro.runtime import versions
from resrepro.runtime.device import Compute
from resrepro.runtime.distributed import World
from resrepro.runtime.signals import Interrupted, Signals
from resrepro.training import checkpoint, constructed_start
from resrepro.training.loop import Diverged, Training
from resrepro.training.step import Engine, Execution

CHECKPOINT_EVERY_S = 60.0  # and at every curve point, and when stopped
AGREE_EVERY_ITERS = 10  # how often processes ask each other whether one was told to stop

_setting_up = threading.Lock()  # torch's seed and compiler belong to the process, not to the thread


class Reporter(Protocol):
    """Shows the progress of runs; `cli.progress` does so in the terminal."""

    def preparing(self, what: str, done: int, total: int) -> None: ...
    def started(self, run: Run, training: Training) -> None: ...
    def advanced(self, run: Run, training: Training, point: CurvePoint | None) -> None: ...
    def ended(self, run: Run, record: RunRecord | None, note: str) -> None: ...


@dataclass(frozen=True, kw_only=True)
class RunSession:
    """Trains one run in this process, from its last checkpoint to its end.

    All processes of `world` train it together, and the first one writes its files.

    Args:
        signals: is asked after each iteration whether to stop.
    """

    run: Run
    results_dir: Path
    dataset: Dataset
    compute: Compute
    execution: Execution
    world: World
    reporter: Reporter
    signals: Signals

    @property
    def files(self) -> RunFiles:
        """Return the files of the run."""
        return results.run_files(self.results_dir, self.run)

    def train(self) -> RunRecord:
        """Train the run, and return its record; return it also where another command has just finished the run.

        Raises:
            UserError: another process trains the run, its checkpoint or data do not fit, or a file cannot be written.
            Interrupted: a signal came; says at which iteration, and whether there is a checkpoint.
        """
        with results.exclusive(self.files) if self.world.is_rank_zero else nullcontext():
            done = self.world.on_rank_zero(lambda: results.read_complete(self.results_dir, self.run))
            if done:
                return done
            with _setting_up:
                training = self._resume()
                self.reporter.started(self.run, training)
            try:
                self._advance(training)
                found = self._measure(training)
            except Interrupted as interrupted:
                saved_too = ", checkpoint written" if self.files.checkpoint.exists() else ""
                raise Interrupted(f"{self.run}: stopped at iteration {training.iteration}{saved_too}") from interrupted
            except Diverged as diverged:
                found = {"diverged_iter": diverged.iteration}
            return self._finish(training, make_record(self.run, training, count(self.run, self.dataset), **found))

    def _resume(self) -> Training:
        """Return the training at its last checkpoint, or at its start; the CSVs then end there, too."""
        run, files = self.run, self.files
        batches = self.world.local_rank_zero_first(partial(self.dataset.input_pipeline, run.recipe))
        net = build(run.arch, num_classes=self.dataset.num_classes, seed=run.seed, recipe=run.recipe)
        engine = Engine(
            net, batches, run.recipe, seed=run.seed, compute=self.compute, execution=self.execution, world=self.world
        )
        training = Training(run.recipe, engine, run.first_iter)
        if self.world.on_rank_zero(files.checkpoint.exists):
            checkpoint.load(files.checkpoint, run, training)
        if self.world.is_rank_zero:
            if not files.record.exists():
                results.write_asked(files, run)
            csv_rows.write_rows(files.curves, CurvePoint, training.points)
            csv_rows.write_rows(files.gradients, LayerNorms, training.norms)
        return training

    def _advance(self, training: Training) -> None:
        """Train to the last iteration. On the disk a curve point comes before the checkpoint that holds it."""
        run, files = self.run, self.files
        if run.start_from is not None:
            constructed_start.construct(run, run.start_from, self.results_dir, training, self.signals.check)
        saved, num_norms = time.monotonic(), len(training.norms)
        for point in training.steps():
            agreed = self.world.size == 1 or training.iteration % AGREE_EVERY_ITERS == 0
            stop = agreed and self.signals.received()
            if self.world.is_rank_zero:
                if point is not None:
                    csv_rows.append_row(files.curves, point)
                if len(training.norms) > num_norms:
                    csv_rows.write_rows(files.gradients, LayerNorms, training.norms)
                    num_norms = len(training.norms)
                if point or stop or time.monotonic() - saved > CHECKPOINT_EVERY_S:
                    checkpoint.save(files.checkpoint, run, training)
                    saved = time.monotonic()
            if stop:
                raise Interrupted
            self.reporter.advanced(run, training, point)

    def _measure(self, training: Training) -> dict[str, Any]:
        """Take the last measurements: long for a deep net, so all that was trained is on the disk before."""
        responses, errors = measured(training, self.signals.check)
        if self.world.is_rank_zero:
            csv_rows.write_rows(self.files.responses, Response, responses)
        return errors

    def _finish(self, training: Training, record: RunRecord) -> RunRecord:
        """Write the record, unless there is one and only a CSV was to be made again; return the one on the disk."""
        if not self.world.is_rank_zero:
            return record
        csv_rows.write_rows(self.files.gradients, LayerNorms, training.norms)
        finished = results.read_record(self.files)
        if finished is None:
            results.write_record(self.files, record)
        return finished or record


def count(run: Run, dataset: Dataset) -> Complexity:
    """Return the parameters, multiply-adds and activations of the run's net on the images of its dataset."""
    return complexity(run.arch, num_classes=dataset.num_classes, image_size=dataset.image_size(run.recipe))


def measured(training: Training, check_stop: Callable[[], None]) -> tuple[list[Response], dict[str, Any]]:
    """Measure the trained net.

    Args:
        check_stop: is called between mini-batches, and may raise to stop.

    Returns:
        The responses of the layers (Fig. 7), and the errors that the record holds, in %.
    """
    last, engine = training.points[-1], training.engine
    best = min(training.points, key=lambda p: p.test_error_pct)
    with Responses(engine.net, engine.clean_view.num_here, engine.world) as responses:
        clean_train = engine.clean_train(check_stop)
    return responses.rows(), {
        "final_train_error_pct": last.train_error_pct,
        "final_test_error_pct": last.test_error_pct,
        "best_test_error_pct": best.test_error_pct,
        "best_test_error_iter": best.iteration,
        "final_test_error_bn_reestimated_pct": last.test_error_bn_averaged_pct
        if last.test_error_bn_averaged_pct is not None
        else engine.test_bn_averaged(last.iteration, NUM_MINI_BATCHES, check_stop).error_pct,
        "final_train_error_clean_pct": clean_train.error_pct,
    }


def make_record(run: Run, training: Training, counts: Complexity, **found: Any) -> RunRecord:
    """Return what `run.json` says of a run that ends now.

    Args:
        found: the errors of `measured`, or `diverged_iter`.
    """
    engine = training.engine
    *earlier, now = training.sessions
    return RunRecord(
        status="diverged" if "diverged_iter" in found else "finished",
        dataset=run.dataset,
        name=run.name,
        arch=run.arch,
        seed=run.seed,
        schedule_scale=run.schedule_scale,
        start_from=run.start_from.name if run.start_from else None,
        recipe=run.recipe.model_dump(mode="json"),
        num_parameters=counts.num_parameters,
        num_multiply_adds=counts.num_multiply_adds,
        warmup_opened_iter=training.warmup_opened_iter,
        lr_drop_iters=tuple(training.drops),
        wall_time_s=round(training.elapsed_s, 1),
        device=now.device,
        precision=engine.compute.precision,
        kernels=engine.kernels,
        num_threads=now.num_threads,
        num_processes=now.num_processes,
        earlier=tuple(earlier),
        images=engine.batches.fingerprint,
        versions=versions.versions(),
        commit=versions.commit(),
        finished_at=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        **found,
    )
