"""Have submitit run jobs: as an array on a Slurm cluster, or one by one here."""

from __future__ import annotations

import contextlib
import io
import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import typer

from resrepro.cli.job import Job
from resrepro.cli.options import console, say
from resrepro.errors import UserError

SIGNAL_S = 120  # before the end of its time a job is told to write its checkpoint; Slurm may do so 30 s earlier
MAX_REQUEUES = 1000  # after the end of its time


def check_submitit() -> None:
    """Check that submitit is installed.

    Raises:
        UserError: it is not.
    """
    try:
        import submitit  # noqa: F401
    except ImportError as error:
        raise UserError("submit: the library submitit is not installed; pip install 'resrepro[slurm]'") from error


def submit_array(folder: Path, jobs: list[Job], limit_min: int, **asked: Any) -> str:
    """Submit the jobs as an array.

    Args:
        asked: parameters of submitit's executor; those that are None are left to the cluster.

    Returns:
        The number of the job.

    Raises:
        UserError: Slurm refuses the jobs, or has no cluster here: its own words.
    """
    import submitit

    executor = submitit.SlurmExecutor(folder, max_num_timeout=MAX_REQUEUES)
    given = {key: value for key, value in asked.items() if value is not None}
    executor.update_parameters(job_name="resrepro", time=limit_min, signal_delay_s=signal_s(limit_min), **given)
    try:
        with contextlib.redirect_stderr(io.StringIO()), executor.batch():
            submitted = [executor.submit(job) for job in jobs]
    except submitit.core.utils.FailedJobError as error:
        said = [line.removeprefix("sbatch: ").removeprefix("error: ") for line in str(error).splitlines()]
        fix = "; --gpus 0 trains on the CPU" if "(gres)" in str(error) else ""
        if "fetch_config" in str(error):
            fix = "; no cluster is configured on this machine: --local runs the jobs here"
        raise UserError(f"sbatch: {'; '.join(dict.fromkeys(said)) or 'failed, and does not say why'}{fix}") from error
    return str(submitted[0].job_id).partition("_")[0]


def run_here(folder: Path, jobs: list[Job], limit_min: int, gpus: int) -> None:
    """Run the jobs one by one, each as the cluster would: in a process that is signalled and requeued."""
    import submitit

    from resrepro.runtime.signals import Signals

    executor = submitit.LocalExecutor(folder, max_num_timeout=MAX_REQUEUES)
    executor.update_parameters(
        timeout_min=limit_min, signal_delay_s=signal_s(limit_min), tasks_per_node=max(1, gpus), gpus_per_node=gpus
    )
    with Signals() as signals:
        for job in jobs:
            with _ignoring_ctrl_c():  # it reaches the job, too, which is told by the SIGTERM below
                started = executor.submit(job)
            say(f"{', '.join(map(str, job.runs))}: {started.paths.stdout}")
            while not started.done() and not signals.received():
                time.sleep(0.2)
            if number := signals.received():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(int(started.job_id), signal.SIGTERM)
                started.wait()
                console.print("stopped; the same command goes on from the checkpoint")
                raise typer.Exit(128 + number)


@contextmanager
def _ignoring_ctrl_c() -> Iterator[None]:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def signal_s(limit_min: int) -> int:
    """Return how long before the end of its time, minutes, a job is told of it, s."""
    return min(SIGNAL_S, max(5, 15 * (limit_min - 1)))  # in a minute, too, most of the time is for training
