"""`resrepro submit` as far as it needs no cluster; tests/slurm has the rest."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest
from typer.testing import CliRunner

from resrepro.cli import app
from resrepro.cli.executors import signal_s
from resrepro.cli.job import Job
from resrepro.cli.submit import _is_held, _together, minutes
from resrepro.config.run import Run
from resrepro.config.toml_files import find_experiment
from resrepro.errors import UserError
from resrepro.results.lock import hold
from resrepro.results.paths import run_files
from support.processes import error
from support.recipes import tiny_run


@pytest.mark.parametrize(
    ("text", "expected"),
    [("90", 90), ("90:30", 90), ("1:30:00", 90), ("2-12", 3600), ("2-12:30", 3630), ("2-00:00:59", 2880)],
)
def test_a_time_is_read_as_slurm_writes_it(text: str, expected: int) -> None:
    assert minutes(text) == expected


@pytest.mark.parametrize("text", ["0", "0:59", "1h", "", "1:2:3", "-5"])
def test_no_time_is_one_line(text: str) -> None:
    with pytest.raises(UserError, match=f"--time {text}: expected at least a minute"):
        minutes(text)


def test_also_a_short_job_has_most_of_its_time_for_training() -> None:
    assert [signal_s(limit_min) for limit_min in (1, 2, 5, 9, 60)] == [5, 15, 60, 120, 120]


def test_a_run_that_starts_from_anothers_weights_is_in_its_job() -> None:
    first, second = tiny_run("plain8"), tiny_run("resnet8")
    deeper = Run(**{**dict(tiny_run("plain14")), "name": "deeper", "start_from": first})
    assert _together([first, second, deeper]) == [[first, deeper], [second]]
    assert _together([deeper, second]) == [[deeper], [second]]  # where the first is finished


def test_without_slurm_or_a_place_for_the_jobs_it_is_one_line(
    toml: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("submitit")
    monkeypatch.setenv("PATH", str(tmp_path))
    words = ("submit", toml(), "--time", "1:00:00", "--results-dir")
    assert error(*words, tmp_path) == (
        "submit: there is no sbatch here; give the command on a machine of the cluster, or add --local"
    )
    assert error(*words, tmp_path, "--sbatch", "account") == (
        "--sbatch account: expected KEY=VALUE, such as account=me"
    )
    assert error(*words, tmp_path, "--local", "--gpus", 99).startswith("--gpus 99: ")
    (tmp_path / "file").touch()
    assert "cannot be written" in error(*words, tmp_path / "file" / "results", "--local", "--gpus", 0)


@pytest.mark.parametrize(("executor", "waits"), [("local", False), ("slurm", True)])
def test_a_job_that_is_stopped_waits_for_slurm_only_where_slurm_started_it(
    monkeypatch: pytest.MonkeyPatch, executor: str, waits: bool
) -> None:
    pytest.importorskip("submitit")
    monkeypatch.setenv("SLURM_JOB_ID", "7")  # of an interactive allocation, or of the job
    monkeypatch.setenv("SUBMITIT_EXECUTOR", executor)
    monkeypatch.setattr(Job, "_train", lambda _: ([], signal.SIGTERM))
    monkeypatch.setattr(signal, "raise_signal", lambda _: None)
    waited: list[float] = []
    monkeypatch.setattr(time, "sleep", waited.append)
    with pytest.raises(SystemExit) as end:
        Job([], "cpu", "fp32", {})()
    assert end.value.code == 128 + signal.SIGTERM and bool(waited) == waits


def test_a_run_that_another_process_trains_is_left_out(toml: Callable[..., Path], tmp_path: Path) -> None:
    runs = find_experiment(str(toml())).runs
    submit = ["submit", str(toml()), "--time", "1:00:00", "--results-dir", str(tmp_path)]
    with ExitStack() as held:
        for run in runs:
            held.enter_context(hold(run_files(tmp_path, run)))
        done = CliRunner().invoke(app, submit)
    *left_out, last = done.output.splitlines()
    assert (done.exit_code, last) == (0, "all other runs are finished")
    assert [line.split(" on ")[0] for line in left_out] == [
        f"left out: {tmp_path}/{run}: process {os.getpid()}" for run in runs
    ]


def test_a_run_is_left_out_while_the_one_that_it_starts_from_is_trained(tmp_path: Path) -> None:
    first, other = (run for run in find_experiment("constructed-identity").runs if run.name in ("plain20", "plain56"))
    submit = ["submit", "constructed-identity", "--local", "--time", "1:00:00", "--results-dir", str(tmp_path)]
    with hold(run_files(tmp_path, first)), hold(run_files(tmp_path, other)):
        done = CliRunner().invoke(app, [*submit, "--only", "plain20,plain56,plain56-from-plain20"])
    assert (done.exit_code, done.output.splitlines()[-1]) == (0, "all other runs are finished")


def test_a_holder_that_a_dead_machine_left_does_not_hold_a_run(tmp_path: Path) -> None:
    files = run_files(tmp_path, tiny_run("plain8"))
    files.folder.mkdir(parents=True)
    files.holder.write_text("process 1 on a-node-that-failed\nstarted 1")
    assert not _is_held(files)
