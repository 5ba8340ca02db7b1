"""From a Run to its files: builds the objects, trains, records."""

from __future__ import annotations

import gc
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import torch

from resrepro import results
from resrepro.config.run import Run
from resrepro.data.dataset import DataOptions, Dataset
from resrepro.data.loading import load_dataset
from resrepro.errors import UserError
from resrepro.models import build
from resrepro.models.complexity import Complexity, complexity
from resrepro.results import csv_rows
from resrepro.results.paths import RunFiles
from resrepro.results.records import CurvePoint, LayerNorms, Response, RunRecord
from resrepro.runtime.device import Compute, device_errors, num_cores
from resrepro.runtime.distributed import ALONE, World
from resrepro.runtime.signals import Interrupted, Signals
from resrepro.training import checkpoint, constructed_start, session
from resrepro.training.loop import Diverged, Training
from resrepro.training.memory import needed_bytes, plan
from resrepro.training.session import AGREE_EVERY_ITERS, CHECKPOINT_EVERY_S, Reporter
from resrepro.training.step import Engine, Execution

AUTO_JOBS = {"cpu": 1, "cuda": 4}  # runs at once


class Stopped(Exception):
    """The user or the system asked the process to end; what was running is checkpointed."""

    def __init__(self, message: str, signal_number: int) -> None:
        super().__init__(message)
        self.signal_number = signal_number


@dataclass
class Runner:
    """Trains runs, one or several at once, each into its folder below `results_dir`.

    Several share a GPU, each in a thread and a CUDA stream of its own; on a CPU they share its cores. A run's result
    is what it gives alone (on a CPU: with as many threads), for nothing passes between them.

    The processes of a `world` train the same runs in the same order, one at a time, and the first one writes.

    Args:
        num_workers: threads that decode image files, for each run; None: the cores that training leaves.
        skip_corrupt: whether training goes on without images that cannot be decoded.
    """

    results_dir: Path
    data_dir: Path
    compute: Compute
    reporter: Reporter
    world: World = ALONE
    num_workers: int | None = None
    skip_corrupt: bool = False
    _datasets: dict[tuple[str, bool], Dataset] = field(default_factory=dict)
    _setting_up: threading.Lock = field(default_factory=threading.Lock)  # torch's seed and compiler are the process's
    _execution: Execution = field(default_factory=Execution)

    def run_all(self, runs: list[Run], jobs: int | None = 1) -> list[str]:
        """Trains what is not finished, and before it what it starts from.

        A run that fails or diverges does not keep the others from going on.

        Args:
            jobs: runs at once; None: as many as are known to help, and fit.

        Returns:
            The errors of the runs that failed, one line each.

        Raises:
            UserError: the data cannot be had, a recorded run is not the one asked for, or `jobs` does not fit the
                memory; nothing was started.
            Stopped: on SIGINT or SIGTERM, after a checkpoint.
        """
        auto = AUTO_JOBS[self.compute.device.type] if self.world.size == 1 else 1
        if self.world.size > 1 and (jobs or 1) > 1:
            raise UserError(f"--jobs {jobs}: the processes of torchrun train one run at a time; leave --jobs away")
        missing = self.world.on_rank_zero(lambda: self._missing(runs))
        for run in missing:
            self.world.check(run.recipe.batch_size, run.recipe.bn_devices, str(run))
            self.world.local_rank_zero_first(partial(self._dataset, run)).check(run.recipe, str(run))
        needs = [self._needs(run) for run in missing]
        jobs, activation_checkpointing = plan(needs, self._free_bytes(), jobs, auto)
        self._execution = Execution(activation_checkpointing=bool(self.world.all_reduce_max(activation_checkpointing)))
        num_workers = self._num_workers(jobs) if self.num_workers is None else self.num_workers
        num_threads = torch.get_num_threads()
        torch.set_num_threads(max(1, num_threads // jobs))
        with Signals(self.world.all_reduce_max) as signals, ThreadPoolExecutor(jobs) as pool:
            for dataset in self._datasets.values():
                preparing = partial(self._preparing, signals)
                dataset.options = replace(dataset.options, num_workers=num_workers, progress=preparing)
            each = map if jobs == 1 else pool.map
            scratch, built = ([run for run in missing if bool(run.start_from) == needs] for needs in (False, True))
            outcomes = [o for group in (scratch, built) for o in [*each(partial(self._attempt, signals), group)]]
        torch.set_num_threads(num_threads)
        received = signals.received()  # also waits for the first process, which may still be writing
        if received:
            raise Stopped("; ".join(filter(None, outcomes)) or "stopped between two runs", received)
        return [outcome for outcome in outcomes if outcome]

    def _dataset(self, run: Run) -> Dataset:
        """Return the run's dataset, opened once for all runs that read it the same way."""
        key = run.dataset, run.recipe.scale_crop is not None
        if key not in self._datasets:
            options = DataOptions(data_dir=self.data_dir, device=self.compute.device, skip_corrupt=self.skip_corrupt)
            self._datasets[key] = load_dataset(run.dataset, options, as_files=key[1])
        return self._datasets[key]

    def _preparing(self, signals: Signals, what: str, done: int, total: int) -> None:
        self.reporter.preparing(what, done, total)
        if self.world.size == 1:  # else another process may be alone in this
            signals.check()

    def _num_workers(self, jobs: int) -> int:
        """Threads that decode for one run: on a CPU the training needs the cores."""
        if self.compute.device.type == "cpu":
            return 1
        return max(1, num_cores() // (jobs * self.world.local_size))

    def _missing(self, runs: list[Run]) -> list[Run]:
        """Those of the runs that are not finished, and before them what they start from."""
        missing = [run for run in runs if self._record_of(run) is None]
        sources = [run.start_from for run in missing if run.start_from]
        return [*dict.fromkeys([*(s for s in sources if self._record_of(s) is None), *missing])]

    def _free_bytes(self) -> int | None:
        """Memory that this process may take; those of a machine share that of a CPU."""
        free = self.compute.free_bytes()
        return free and (free if self.compute.device.type == "cuda" else free // self.world.local_size)

    def _attempt(self, signals: Signals, run: Run) -> str:
        """Empty if the run is finished; else its error, or where it was stopped."""
        if signals.received():
            return ""
        try:
            with device_errors(self.compute, str(run)), self.compute.stream():
                record = self._train(run, signals)
        except UserError as error:
            if self.world.size > 1:  # the other processes do not know of it: all end
                raise
            self.reporter.ended(run, None, str(error))
            return "" if self._finished(run) else str(error)  # what an analysis lacks is no error of the run
        except Interrupted as interrupted:
            return str(interrupted)
        finally:
            gc.collect()  # an engine's step refers to its engine: net and threads go now, not beside the next run
        note = "" if record.status == "finished" else f"diverged at iteration {record.diverged_iter}"
        self.reporter.ended(run, record, note)
        return ""

    def _counts(self, run: Run) -> Complexity:
        dataset = self._dataset(run)
        return complexity(run.arch, num_classes=dataset.num_classes, image_size=dataset.image_size(run.recipe))

    def _needs(self, run: Run) -> tuple[int, int]:
        counts = self._counts(run)
        as_is, activation_checkpointing = (
            needed_bytes(counts, run.recipe, self.compute, activation_checkpointing=r, num_processes=self.world.size)
            for r in (False, True)
        )
        return as_is, activation_checkpointing

    def _finished(self, run: Run) -> RunRecord | None:
        """The record of a run that is finished, and its curves whole."""
        record = results.read_finished(self.results_dir, run)
        whole = record and not results.lacks_rows(results.run_files(self.results_dir, run), record)
        return record if whole else None

    def _record_of(self, run: Run) -> RunRecord | None:
        """The record of a run that needs nothing more; None where it, or a repair of its CSVs, is to be done."""
        record = self._finished(run)
        lacks = record is not None and results.lacks_analyses(results.run_files(self.results_dir, run), record)
        return None if lacks else record

    def _train(self, run: Run, signals: Signals) -> RunRecord:
        files = results.run_files(self.results_dir, run)
        with results.hold(files) if self.world.is_rank_zero else nullcontext():
            done = self.world.on_rank_zero(lambda: self._record_of(run))  # another command may just have finished it
            if done:
                return done
            with self._setting_up:
                training = self._resume(run, files)
            return self._advance(run, files, training, signals)

    def _resume(self, run: Run, files: RunFiles) -> Training:
        """The training at its last checkpoint, or at its start; the CSV has just the rows up to there."""
        dataset = self._dataset(run)
        batches = self.world.local_rank_zero_first(partial(dataset.input_pipeline, run.recipe))
        net = build(run.arch, num_classes=dataset.num_classes, seed=run.seed)
        engine = Engine(
            net, batches, run.recipe, seed=run.seed, compute=self.compute, execution=self._execution, world=self.world
        )
        training = Training(run.recipe, engine, run.first_iter)
        if self.world.on_rank_zero(files.checkpoint.exists):
            checkpoint.load(files.checkpoint, run, training)
        if self.world.is_rank_zero:
            if not files.record.exists():
                results.write_asked(files, run)
            csv_rows.write_rows(files.curves, CurvePoint, training.points)
            csv_rows.write_rows(files.gradients, LayerNorms, training.norms)
        self.reporter.started(run, training)
        return training

    def _advance(self, run: Run, files: RunFiles, training: Training, signals: Signals) -> RunRecord:
        saved, num_norms = time.monotonic(), len(training.norms)
        try:
            if run.start_from is not None:
                constructed_start.construct(run, run.start_from, self.results_dir, training, signals.check)
            for point in training.steps():
                stop = (
                    training.iteration % (1 if self.world.size == 1 else AGREE_EVERY_ITERS) == 0 and signals.received()
                )
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
            responses, outcome = session.measured(training, signals.check)  # long for a deep net; all is on the disk
            if self.world.is_rank_zero:
                csv_rows.write_rows(files.responses, Response, responses)
            record = session.make_record(run, training, self._counts(run), **outcome)
        except Interrupted as interrupted:
            saved_too = ", checkpoint written" if files.checkpoint.exists() else ""
            raise Interrupted(f"{run}: stopped at iteration {training.iteration}{saved_too}") from interrupted
        except Diverged as diverged:
            record = session.make_record(run, training, self._counts(run), diverged_iter=diverged.iteration)
        if not self.world.is_rank_zero:
            return record
        csv_rows.write_rows(files.gradients, LayerNorms, training.norms)
        finished = results.read_record(files)  # it is there where only a CSV was to be made anew
        if finished is None:
            results.write_record(files, record)
        return finished or record
