"""`resrepro submit` on a real Slurm, which is started here; and without Slurm by submitit's own processes."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from resrepro import results
from resrepro.results.paths import RunFiles
from slurm.cluster import cluster, lacking
from support.processes import command, error, run
from support.recipes import tiny_run
from support.trainings import rows, state

pytest.importorskip("submitit", reason="submitit is not installed")
pytestmark = pytest.mark.slow
RUN = tiny_run("resnet8")
LENGTH = ("total_iters = 12", "total_iters = 1500"), ("curve_every_iters = 5", "curve_every_iters = 100")
CHOSEN = ("--only", "resnet8", "--seeds", "0", "--precision", "fp32")


@pytest.fixture(scope="module")
def slurm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    if reason := lacking():
        pytest.skip(reason)
    with cluster(tmp_path_factory.mktemp("slurm")) as environment, pytest.MonkeyPatch.context() as patch:
        for name, value in environment.items():
            patch.setenv(name, value)
        yield


def files_of(results_dir: Path) -> RunFiles:
    return results.run_files(results_dir, RUN)


def wait_for(what: Callable[[], Any], results_dir: Path, seconds: float = 900) -> None:
    until = time.monotonic() + seconds
    while not what():
        logs = "\n".join(path.read_text() for path in sorted((results_dir / "jobs").glob("*_log.*")))
        assert time.monotonic() < until, logs
        time.sleep(0.1)


def assert_same_as_alone(toml: Path, results_dir: Path, alone: Path) -> None:
    run("run", toml, "--results-dir", alone, "--device", "cpu", *CHOSEN)
    assert rows(results_dir, RUN) == rows(alone, RUN)
    assert state(results_dir, RUN) == state(alone, RUN)
    one, other = (results.read_record(files_of(folder)) for folder in (results_dir, alone))
    assert one is not None and other is not None
    differing = {key for key in vars(one) if getattr(one, key) != getattr(other, key)}
    assert differing <= {"wall_time_s", "finished_at", "sha256"}  # the curves have times, too


def num_points(results_dir: Path) -> int:
    files = files_of(results_dir)
    return len(results.read_points(files)) if files.curves.exists() else 0


@pytest.mark.usefixtures("slurm")
def test_a_run_that_is_preempted_twice_ends_bit_identical(toml: Callable[..., Path], tmp_path: Path) -> None:
    """First Slurm takes the node away by SIGTERM and SIGKILL; then it warns by USR2, and the job requeues itself."""
    path, where = toml(*LENGTH), tmp_path / "results"
    said = run("submit", path, "--results-dir", where, "--gpus", 0, "--time", "1:00:00", *CHOSEN)
    number = said.split()[1].rstrip(":")
    output = where / "jobs" / f"{number}_0_log.out"
    for words in (["scontrol", "requeue", number], ["scancel", "--signal=USR2", number]):
        before = num_points(where)
        wait_for(lambda before=before: num_points(where) > before, where)  # type: ignore[misc]
        subprocess.run(words, check=True)
        stops = output.read_text().count("checkpoint written")
        wait_for(lambda stops=stops: output.read_text().count("checkpoint written") > stops, where)  # type: ignore[misc]
        assert not files_of(where).record.exists()
    wait_for(files_of(where).record.exists, where)
    text = output.read_text()
    assert text.count("stopped at iteration ") == text.count("resumed at iteration ") == 2
    assert f"Requeued job {number}" in text
    assert_same_as_alone(path, where, tmp_path / "alone")
    assert "all runs are finished" in run("submit", path, "--results-dir", where, "--time", "1:00:00", *CHOSEN)


@pytest.mark.usefixtures("slurm")
def test_what_slurm_refuses_is_one_line(toml: Callable[..., Path], tmp_path: Path) -> None:
    words = ("submit", toml(), "--results-dir", tmp_path, "--gpus", 0, "--time", "1:00:00")
    assert error(*words, "--partition", "nope").startswith("sbatch: invalid partition specified: nope")
    assert error(*words, "--sbatch", "nope=1").startswith("sbatch: unrecognized option")


def test_without_slurm_ctrl_c_stops_with_a_checkpoint_and_the_same_command_goes_on(
    toml: Callable[..., Path], tmp_path: Path
) -> None:
    path, where = toml(*LENGTH), tmp_path / "results"
    words = command("submit", path, "--results-dir", where, "--local", "--gpus", 0, "--time", "1:00:00", *CHOSEN)
    process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True, start_new_session=True)
    wait_for(lambda: num_points(where) > 0, where)
    os.killpg(process.pid, signal.SIGINT)
    said, _ = process.communicate(timeout=120)
    assert process.returncode == 128 + signal.SIGINT
    assert "the same command goes on from the checkpoint" in said
    assert files_of(where).checkpoint.exists() and not files_of(where).record.exists()
    assert "1 run(s) finished" in run(*words[3:])
    assert_same_as_alone(path, where, tmp_path / "alone")
