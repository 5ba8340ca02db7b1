"""What `resrepro submit` hands to a cluster: the training of a run, as it is called there."""

from __future__ import annotations

import signal
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rich.console import Console

from resrepro.config.run import Run
from resrepro.errors import UserError

if TYPE_CHECKING:
    import submitit

GRACE_S = 300.0  # how long a job with a checkpoint waits for Slurm to requeue or kill it


@dataclass(frozen=True)
class Job:
    """Trains runs as a task of a cluster's job; submitit pickles it, and calls it where the cluster has a place.

    With several tasks for a job they train together, as under torchrun.

    Args:
        options: of `Runner`.
    """

    runs: list[Run]
    device: str
    precision: str
    options: dict[str, Any]

    def __call__(self) -> None:
        """Train until all runs are finished, or a signal comes; then act as the cluster expects it."""
        import submitit

        place = submitit.JobEnvironment()
        if place.num_tasks > 1:
            submitit.helpers.TorchDistributedEnvironment().export(set_cuda_visible_devices=False, overwrite=True)
        try:
            errors, signal_number = self._train()
        except UserError as error:
            errors, signal_number = [str(error)], 0
        if signal_number:
            signal.raise_signal(signal_number)  # submitit's handlers are in place again: that of USR2 requeues the job
            if place.cluster == "slurm":  # with --local it is not, also within an allocation of Slurm
                time.sleep(GRACE_S)  # after SIGTERM it is Slurm that decides: USR2, to be requeued, or SIGKILL
            sys.exit(128 + signal_number)
        for line in errors:
            print(f"error: {line}", file=sys.stderr, flush=True)
        if errors:
            sys.exit(1)

    def checkpoint(self) -> submitit.helpers.DelayedSubmission:
        """Return what is to be called after a requeue; the runs have their checkpoints already."""
        import submitit

        return submitit.helpers.DelayedSubmission(self)

    def _train(self) -> tuple[list[str], int]:
        """Return the errors, one line each, and the number of the signal that stopped the training, or 0."""
        from resrepro.cli.progress import TerminalReporter
        from resrepro.runtime.device import choose
        from resrepro.runtime.distributed import World
        from resrepro.training.runner import Runner, Stopped

        world = World.from_environment()
        output = Console(quiet=not world.is_rank_zero, highlight=False, markup=False)
        with world.process_group(), TerminalReporter(output) as reporter:
            compute = choose(world.device(self.device), self.precision)
            output.print(f"{world.size} x {compute.name}, {compute.precision}")
            stop_signals = (signal.SIGTERM, signal.SIGUSR2)
            runner = Runner(compute=compute, reporter=reporter, world=world, stop_signals=stop_signals, **self.options)
            try:
                return runner.run_all(self.runs), 0
            except Stopped as stopped:
                output.print(str(stopped), soft_wrap=True)
                return [], stopped.signal_number
