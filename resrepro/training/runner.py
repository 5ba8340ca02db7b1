"""Train several runs: what is missing, how many at once, and how each ended."""

from __future__ import annotations

import gc
from collections.abc import Hashable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Literal

import torch

from resrepro import results
from resrepro.config.run import Run
from resrepro.data.dataset import DataOptions, Dataset
from resrepro.data.loading import load_for, way
from resrepro.errors import UserError
from resrepro.models.own import with_source
from resrepro.results.lock import RunLocked
from resrepro.runtime.device import Compute, device_errors
from resrepro.runtime.distributed import ALONE, World
from resrepro.runtime.machine import num_cores
from resrepro.runtime.signals import Interrupted, Signals
from resrepro.training.execution import Execution
from resrepro.training.memory import check_shares, needed_bytes, plan
from resrepro.training.reporter import Reporter
from resrepro.training.session import RunSession, count

AUTO_JOBS = {"cpu": 1, "cuda": 4}  # runs at once


@dataclass(frozen=True)
class Outcome:
    """Says how the attempt to train a run ended.

    Args:
        kind: `done` also where the run diverged: it has a record, and is not trained again; `held`: by another process.
        message: where it was stopped, or the error, in one line; empty where there is nothing to say.
    """

    kind: Literal["done", "stopped", "failed", "held"]
    message: str = ""


class Stopped(Exception):
    """Reports that the user or the system asked the process to end; what was running has a checkpoint.

    It says how the runs ended, errors included.
    """

    def __init__(self, outcomes: list[Outcome], signal_number: int) -> None:
        super().__init__("; ".join(o.message for o in outcomes if o.message) or "stopped between two runs")
        self.signal_number = signal_number


def missing_runs(results_dir: Path, runs: list[Run]) -> list[Run]:
    """Return the runs that are not finished, and before them those that they start from.

    Raises:
        UserError: a recorded run is not the one asked for, or its files are damaged; or there is no source of a net of
            other code.
    """

    def incomplete(run: Run) -> bool:
        return results.read_complete(results_dir, run) is None

    missing = [run for run in map(with_source, runs) if incomplete(run)]
    sources = [run.start_from for run in missing if run.start_from]
    return [*dict.fromkeys([*filter(incomplete, sources), *missing])]


@dataclass
class Runner:
    """Trains runs, one or several at once, each in its folder below `results_dir`.

    Several runs share a GPU, each in a thread and a CUDA stream of its own; on a CPU they share its cores. The result
    of a run does not depend on the others (on a CPU: with the same number of threads), for they share no state.

    The processes of a `world` train the same runs in the same order, one at a time, and the first one writes.

    Args:
        num_workers: threads that decode image files, for each run; None: one for each core that training leaves.
        skip_corrupt: whether training goes on without images that cannot be decoded.
        num_sharing: processes like this one, with a `world` of their own each, that share the machine.
        replaces: whether one of these died, and this is in its place: then the others have their shares already.
        stop_signals: those that end `run_all` with a checkpoint, if not the usual ones.
    """

    results_dir: Path
    data_dir: Path
    compute: Compute
    reporter: Reporter
    world: World = ALONE
    num_workers: int | None = None
    skip_corrupt: bool = False
    num_sharing: int = 1
    replaces: bool = False
    stop_signals: Sequence[int] = ()
    _datasets: dict[Hashable, Dataset] = field(default_factory=dict)
    _execution: Execution = field(default_factory=Execution)

    def run_all(self, runs: list[Run], jobs: int | None = 1) -> list[str]:
        """Train the runs that are not finished, and before them those whose weights they start from.

        The others go on where a run fails or diverges, or another process trains it.

        Args:
            jobs: runs at once; None: as many as are known to help, and fit into memory.

        Returns:
            The errors of the runs that failed, one line each, and of those that another process trains.

        Raises:
            UserError: a dataset cannot be loaded, a recorded run is not the one asked for, or `jobs` runs do not fit
                into memory; no run was started.
            Stopped: on SIGINT or SIGTERM, after a checkpoint.
        """
        if self.world.size > 1 and (jobs or 1) > 1:
            raise UserError(f"--jobs {jobs}: the processes of torchrun train one run at a time; leave out --jobs")
        missing = self.world.on_rank_zero(lambda: missing_runs(self.results_dir, runs))
        num_threads = torch.get_num_threads()
        outcomes: list[Outcome] = []
        try:
            jobs = self.prepare(missing, jobs)
            with Signals(self.world.all_reduce_max, self.stop_signals) as signals, ThreadPoolExecutor(jobs) as pool:
                self.listen(signals)
                each = map if jobs == 1 else pool.map
                for from_weights in (False, True):  # the weights come first
                    group = [run for run in missing if bool(run.start_from) is from_weights]
                    outcomes += each(partial(self._attempt, signals), group)
        finally:
            torch.set_num_threads(num_threads)
        received = signals.received()  # also waits for the first process, which may still be writing
        if received:
            raise Stopped(outcomes, received)
        return [outcome.message for outcome in outcomes if outcome.kind in ("failed", "held")]

    def prepare(self, missing: list[Run], jobs: int | None) -> int:
        """Open the datasets of runs, and share memory, cores and threads among those that train at once.

        Args:
            missing: runs that are not finished, which `attempt` is to train.
            jobs: as in `run_all`.

        Returns:
            The number of runs at once.

        Raises:
            UserError: a dataset cannot be loaded, or the runs do not fit into memory.
        """
        for run in missing:
            self.world.check(run.recipe.batch_size, run.recipe.bn_devices, str(run))
            self.world.local_rank_zero_first(partial(self._dataset, run)).check(run.recipe, str(run))
        auto = AUTO_JOBS[self.compute.device.type] if self.world.size == 1 else 1
        needs = [self._needs(run) for run in missing]
        free = self._free_bytes()
        if self.replaces:  # fewer at once rather than an error, which would stop the others, too
            jobs, auto = None, jobs or auto
        elif self.num_sharing > 1 and self.compute.device.type == "cpu":
            check_shares(needs, free, self.num_sharing)
        jobs, activation_checkpointing = plan(needs, free, jobs, auto)
        self._execution = Execution(activation_checkpointing=bool(self.world.all_reduce_max(activation_checkpointing)))
        num_workers = self._num_workers(jobs) if self.num_workers is None else self.num_workers
        torch.set_num_threads(max(1, torch.get_num_threads() // (jobs * self.num_sharing)))
        for dataset in self._datasets.values():
            dataset.options = replace(dataset.options, num_workers=num_workers)
        return jobs

    def listen(self, signals: Signals) -> None:
        """Let a signal stop what the runs prepare of the datasets, such as the per-pixel mean."""
        for dataset in self._datasets.values():
            dataset.options = replace(dataset.options, progress=partial(self._preparing, signals))

    def _dataset(self, run: Run) -> Dataset:
        """Return the run's dataset, opened once for all runs that read it the same way."""
        key = run.dataset, way(run.recipe)
        if key not in self._datasets:
            options = DataOptions(
                data_dir=self.data_dir, device=self.compute.device, skip_corrupt=self.skip_corrupt,
                progress=self.reporter.preparing,
            )  # fmt: skip
            self._datasets[key] = load_for(run.recipe, run.dataset, options)
        return self._datasets[key]

    def _preparing(self, signals: Signals, what: str, done: int, total: int) -> None:
        self.reporter.preparing(what, done, total)
        if self.world.size == 1:  # else another process may be alone in this
            signals.check()

    def _num_workers(self, jobs: int) -> int:
        """Return the number of threads that decode for one run: on a CPU the training needs the cores."""
        if self.compute.device.type == "cpu":
            return 1
        return max(1, num_cores() // (jobs * self._num_on_machine))

    def _needs(self, run: Run) -> tuple[int, int]:
        """Return the bytes that a run needs: as it is, and with activation checkpointing."""
        counts = count(run, self._dataset(run))
        as_is, activation_checkpointing = (
            needed_bytes(counts, run.recipe, self.compute, activation_checkpointing=r, num_processes=self.world.size)
            for r in (False, True)
        )
        return as_is, activation_checkpointing

    def _free_bytes(self) -> int | None:
        """Return the memory that this process may use; on a CPU the processes of a machine share it equally."""
        free = self.compute.free_bytes()
        whole = self.replaces or self.compute.device.type == "cuda"
        return free and (free if whole else free // self._num_on_machine)

    @property
    def _num_on_machine(self) -> int:
        return self.world.local_size * self.num_sharing

    def _attempt(self, signals: Signals, run: Run) -> Outcome:
        outcome = self.attempt(signals, run)
        if outcome.kind == "held":
            self.reporter.ended(run, None, outcome.message)
        return outcome

    def attempt(self, signals: Signals, run: Run) -> Outcome:
        """Train a run from its last checkpoint to its end, or until a signal comes.

        Raises:
            UserError: in a `world` of several processes, where the run fails.
        """
        if signals.received():
            return Outcome("stopped")
        session = RunSession(
            run=run, results_dir=self.results_dir, dataset=self._dataset(run), compute=self.compute,
            execution=self._execution, world=self.world, reporter=self.reporter, signals=signals,
        )  # fmt: skip
        try:
            with device_errors(self.compute, str(run)), self.compute.stream():
                record = session.train()
        except RunLocked as error:
            if self.world.size > 1:
                raise
            return Outcome("held", str(error))
        except UserError as error:
            if self.world.size > 1:  # the other processes do not know of it: all end
                raise
            self.reporter.ended(run, None, str(error))
            return Outcome("done") if self._is_whole(run) else Outcome("failed", str(error))
        except Interrupted as interrupted:
            return Outcome("stopped", str(interrupted))
        finally:
            gc.collect()  # an engine's step refers to its engine: net and threads go now, not beside the next run
        note = "" if record.status == "finished" else f"diverged at iteration {record.diverged_iter}"
        self.reporter.ended(run, record, note)
        return Outcome("done")

    def _is_whole(self, run: Run) -> bool:
        """Tell whether a run that failed is finished all the same: then only an analysis did, no error of it."""
        try:
            return results.read_whole(self.results_dir, run) is not None
        except (UserError, OSError):  # its files are damaged
            return False
