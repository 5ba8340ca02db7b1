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
from typing import Any

from resrepro import results
from resrepro.config.run import Run
from resrepro.data.dataset import Dataset
from resrepro.errors import UserError
from resrepro.models import build
from resrepro.models.complexity import Complexity, complexity
from resrepro.models.weights import save_weights
from resrepro.results import csv_rows
from resrepro.results.paths import RunFiles
from resrepro.results.records import CurvePoint, LayerNorms, Prediction, Response, RunRecord
from resrepro.runtime import versions
from resrepro.runtime.device import Compute
from resrepro.runtime.distributed import World
from resrepro.runtime.signals import Interrupted, Signals
from resrepro.training import checkpoint, constructed_start
from resrepro.training.execution import Execution
from resrepro.training.last_measurements import Measured, measured
from resrepro.training.loop import Diverged, Training
from resrepro.training.reporter import Reporter
from resrepro.training.step import Engine

CHECKPOINT_EVERY_S = 60.0  # and when stopped, at the end, and on a CPU at every curve point
AGREE_EVERY_ITERS = 10  # how often processes ask each other whether one was told to stop

_setting_up = threading.Lock()  # torch's seed and compiler belong to the process, not to the thread


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
        versions.commit()  # of the source that trains, not of what lies there in the end
        with results.hold(self.files) if self.world.is_rank_zero else nullcontext(lambda: None) as check:
            done = self.world.on_rank_zero(lambda: results.read_complete(self.results_dir, self.run))
            if done:
                return done
            with _setting_up:
                training = self._resume(check)
                self.reporter.started(self.run, training)
            try:
                self._advance(training, check)
                found = measured(training, self.signals.check)  # long for a deep net, so all trained is on the disk
            except Interrupted as interrupted:
                saved_too = ", checkpoint written" if self.files.has_checkpoint else ""
                raise Interrupted(f"{self.run}: stopped at iteration {training.iteration}{saved_too}") from interrupted
            except Diverged as diverged:
                found = Measured(results={"diverged_iter": diverged.iteration})
            with _setting_up:
                counts = count(self.run, self.dataset)
            return self._finish(training, make_record(self.run, training, counts, **found.results), found, check)

    def _resume(self, check: Callable[[], None]) -> Training:
        """Return the training at its last checkpoint, or at its start; the CSVs then end there, too.

        Args:
            check: is called before each write, here and below; raises UserError where the folder is not this one's.

        Raises:
            UserError: the run is finished, and the checkpoint is not its last.
        """
        run, files = self.run, self.files
        batches = self.world.local_rank_zero_first(partial(self.dataset.input_pipeline, run.recipe))
        net = build(run.arch, num_classes=self.dataset.num_classes, seed=run.seed, recipe=run.recipe)
        engine = Engine(
            net, batches, run.recipe, seed=run.seed, compute=self.compute, execution=self.execution, world=self.world
        )
        training = Training(run.recipe, engine, run.first_iter)
        if self.world.on_rank_zero(lambda: files.has_checkpoint):
            checkpoint.load(files, run, training)
        finished = self.world.on_rank_zero(files.record.exists)
        if finished and training.iteration != run.recipe.total_iters:
            raise UserError(
                f"{files.checkpoint}: at iteration {training.iteration} of {run.recipe.total_iters}, but the run is "
                "finished, and what it lacks is made from its last checkpoint; restore that, or move this one away"
            )
        if self.world.is_rank_zero:
            check()
            if not finished:
                results.write_asked(files, run)
            if training.iteration == run.first_iter and (points := csv_rows.num_rows(files.curves)):
                training.engine.notes.append(
                    f"{run}: no checkpoint beside its {points} curve points, so it begins anew"
                )
            csv_rows.write_rows(files.curves, CurvePoint, training.points)
            csv_rows.write_rows(files.gradients, LayerNorms, training.norms)
        return training

    def _advance(self, training: Training, check: Callable[[], None]) -> None:
        """Train to the last iteration. On the disk a curve point comes before the checkpoint that holds it."""
        run, files = self.run, self.files
        if run.start_from is not None:
            constructed_start.construct(run, run.start_from, self.results_dir, training, self.signals.check, check)
        saved, num_norms, alone = time.monotonic(), len(training.norms), self.world.size == 1
        try:
            # Several processes would ask each other before each part of a curve point; there a stop waits for its end.
            for point in training.steps(self.signals.check) if alone else training.steps():
                if self.world.is_rank_zero:
                    due = self._checkpoint_due(training.iteration, point, time.monotonic() - saved)
                    if due or point is not None or len(training.norms) > num_norms:
                        check()
                    if point is not None:
                        csv_rows.append_row(files.curves, point)
                    if len(training.norms) > num_norms:
                        csv_rows.write_rows(files.gradients, LayerNorms, training.norms)
                        num_norms = len(training.norms)
                    if due:
                        checkpoint.save(files, run, training)
                        saved = time.monotonic()
                if alone or training.iteration % AGREE_EVERY_ITERS == 0:
                    self.signals.check()
                self.reporter.advanced(run, training, point)
        except Interrupted:
            if self.world.is_rank_zero:
                check()
                checkpoint.save(files, run, training)
            raise

    def _checkpoint_due(self, iteration: int, point: CurvePoint | None, age_s: float) -> bool:
        """Tell whether to write a checkpoint; on a GPU, whose curve points are a second apart, not at each of them."""
        at_point = point is not None and self.compute.device.type == "cpu"
        return at_point or iteration == self.run.recipe.total_iters or age_s > CHECKPOINT_EVERY_S

    def _finish(self, training: Training, record: RunRecord, found: Measured, check: Callable[[], None]) -> RunRecord:
        """Write what was measured, the weights, and the record last; of a finished run, only what it lacks.

        Returns:
            The record on the disk: a finished run keeps its own.
        """
        if not self.world.is_rank_zero:
            return record
        files, finished = self.files, results.read_record(self.files)
        once = (files.responses, files.identity, files.predictions, files.weights)
        kept = {path for path in once if finished and path.exists()}
        record = finished or record
        check()
        csv_rows.write_rows(files.gradients, LayerNorms, training.norms)
        if record.status == "finished":
            if files.responses not in kept:
                csv_rows.write_rows(files.responses, Response, found.responses)
            if files.predictions not in kept:
                self._write_predictions(record, found.predictions)
            if files.weights not in kept:
                about = results.weights_metadata(self.run, record, self.dataset.num_classes)
                save_weights(files.weights, training.engine.net, about)
        check()
        if results.read_points(files) != training.points:
            raise UserError(f"{files.curves}: not as this process wrote it; type the command again, and it is repaired")
        return results.write_record(files, record, {path.name for path in kept})

    def _write_predictions(self, record: RunRecord, predictions: list[Prediction]) -> None:
        """Write the predictions, unless the run finished elsewhere and they do not give its errors to the digit."""
        found = Prediction.errors_pct(predictions)
        recorded = record.final_test_error_pct, record.final_test_error_bn_reestimated_pct
        if found == recorded:
            csv_rows.write_rows(self.files.predictions, Prediction, predictions)
        else:
            why = f"no predictions.csv: test errors {found} % here, but {recorded} % where the run finished"
            self.reporter.ended(self.run, record, why)


def count(run: Run, dataset: Dataset) -> Complexity:
    """Return the parameters, multiply-adds and activations of the run's net on the images of its dataset."""
    return complexity(run.arch, num_classes=dataset.num_classes, image_size=dataset.image_size(run.recipe))


def make_record(run: Run, training: Training, counts: Complexity, **found: Any) -> RunRecord:
    """Return what `run.json` says of a run that ends now.

    Args:
        found: the `results` of `Measured`.
    """
    engine = training.engine
    *earlier, now = training.sessions
    return RunRecord(
        status="diverged" if "diverged_iter" in found else "finished",
        dataset=run.dataset,
        name=run.name,
        arch=run.arch,
        arch_sha256=run.arch_sha256,
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
