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
from resrepro.config.run import Run
from resrepro.results.paths import RunFiles
from slurm.cluster import NODES, Cluster, cluster, lacking
from support.processes import command, error, run
from support.recipes import tiny_run
from support.trainings import rows, state

pytest.importorskip("submitit", reason="submitit is not installed")
pytestmark = pytest.mark.slow
RUN, PLAIN = tiny_run("resnet8"), tiny_run("plain8")
LENGTH = ("total_iters = 12", "total_iters = 1500"), ("curve_every_iters = 5", "curve_every_iters = 100")
CHOSEN = ("--seeds", "0", "--precision", "fp32")
SLOW_NET = """
import os, time, torch

class Net(torch.nn.Sequential):
    def __init__(self, num_classes):
        super().__init__(
            torch.nn.Conv2d(3, 8, 3), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(), torch.nn.Linear(8, num_classes)
        )

    def forward(self, images):
        time.sleep(float(os.environ["PAUSE_S"]) if self.training else 0)
        return super().forward(images)
"""


@pytest.fixture(scope="module")
def slurm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    if reason := lacking():
        pytest.skip(reason)
    with cluster(tmp_path_factory.mktemp("slurm")) as started, pytest.MonkeyPatch.context() as patch:
        for name, value in started.environment.items():
            patch.setenv(name, value)
        yield started


def files_of(results_dir: Path, trained: Run = RUN) -> RunFiles:
    return results.run_files(results_dir, trained)


def wait_for(what: Callable[[], Any], results_dir: Path, seconds: float = 900) -> None:
    until = time.monotonic() + seconds
    while not what():
        logs = "\n".join(path.read_text() for path in sorted((results_dir / "jobs").glob("*_log.*")))
        assert time.monotonic() < until, logs
        time.sleep(0.1)


def assert_same_as_alone(toml: Path, results_dir: Path, alone: Path, trained: Run = RUN) -> None:
    run("run", toml, "--results-dir", alone, "--device", "cpu", "--only", trained.name, *CHOSEN)
    assert rows(results_dir, trained) == rows(alone, trained)
    assert state(results_dir, trained) == state(alone, trained)
    one, other = (results.read_record(files_of(folder, trained)) for folder in (results_dir, alone))
    assert one is not None and other is not None
    differing = {key for key in vars(one) if getattr(one, key) != getattr(other, key)}
    assert differing <= {"wall_time_s", "finished_at", "sha256"}  # the curves have times, too


def num_points(results_dir: Path, trained: Run = RUN) -> int:
    files = files_of(results_dir, trained)
    return len(results.read_points(files)) if files.curves.exists() else 0


def submitted(*words: object) -> str:
    """Submit; return the number of the job."""
    said = run("submit", *words, "--gpus", 0, *CHOSEN)
    assert said.startswith("job ")
    return said.split()[1].rstrip(":")


@pytest.mark.usefixtures("slurm")
def test_a_run_that_is_preempted_twice_ends_bit_identical(toml: Callable[..., Path], tmp_path: Path) -> None:
    """First Slurm takes the node away by SIGTERM and SIGKILL; then it warns by USR2, and the job requeues itself."""
    path, where = toml(*LENGTH), tmp_path / "results"
    chosen = (path, "--results-dir", where, "--only", RUN.name, "--time", "1:00:00")
    number = submitted(*chosen)
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
    assert "all runs are finished" in run("submit", *chosen, *CHOSEN)


@pytest.mark.usefixtures("slurm")
def test_a_run_that_is_longer_than_its_jobs_time_ends_bit_identical(
    toml: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Slurm's least time is a minute; the net's pauses are longer than that together, on any machine."""
    (tmp_path / "slow_net.py").write_text(SLOW_NET)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PAUSE_S", "0.1")
    path = toml(
        ("total_iters = 12", "total_iters = 600"), ("curve_every_iters = 5", "curve_every_iters = 300"),
        ('arch = "resnet8"', 'arch = "slow_net:Net"'), ('lower = "resnet8"', 'lower = "Net"'), ('"resnet8"', '"Net"'),
    )  # fmt: skip
    where, slow = tmp_path / "results", Run(**{**dict(RUN), "name": "Net"})
    number = submitted(path, "--results-dir", where, "--only", slow.name, "--time", "1")
    wait_for(files_of(where, slow).record.exists, where)
    text, said = ((where / "jobs" / f"{number}_0_log.{end}").read_text() for end in ("out", "err"))
    assert text.count("stopped at iteration ") == text.count("resumed at iteration ") >= 1
    assert "this job is timed-out" in said
    monkeypatch.setenv("PAUSE_S", "0")
    assert_same_as_alone(path, where, tmp_path / "alone", slow)


def test_an_array_spreads_over_two_nodes_and_where_one_dies_the_other_goes_on(
    toml: Callable[..., Path], tmp_path: Path, slurm: Cluster
) -> None:
    path, where = toml(*LENGTH), tmp_path / "results"
    number = submitted(path, "--results-dir", where, "--time", "1:00:00")
    asked = ["squeue", "-h", "--array", "--job", number, "-o", "%K %N"]  # the task, the node
    wait_for(lambda: num_points(where) and num_points(where, PLAIN), where)
    placed = subprocess.run(asked, capture_output=True, text=True, check=True).stdout.split()
    task_on = dict(zip(placed[1::2], placed[::2], strict=True))
    assert sorted(task_on) == [*NODES]
    slurm.kill_node("node2")
    output = where / "jobs" / f"{number}_{task_on['node2']}_0_log.out"
    try:
        wait_for(lambda: files_of(where).record.exists() and files_of(where, PLAIN).record.exists(), where)
    finally:
        slurm.start_node("node2")
        slurm.wait_until_idle()
    assert output.read_text().count("resumed at iteration ") == 1
    for trained in (RUN, PLAIN):
        assert_same_as_alone(path, where, tmp_path / "alone", trained)


@pytest.mark.usefixtures("slurm")
def test_what_slurm_refuses_is_one_line(toml: Callable[..., Path], tmp_path: Path) -> None:
    words = ("submit", toml(), "--results-dir", tmp_path, "--time", "1:00:00")
    assert "generic resource" in (said := error(*words)) and said.endswith("; --gpus 0 trains on the CPU")
    words = (*words, "--gpus", 0)
    assert error(*words, "--partition", "nope").startswith("sbatch: invalid partition specified: nope")
    assert error(*words, "--sbatch", "nope=1").startswith("sbatch: unrecognized option")
    assert error(*words, "--sbatch", "mem=100T").startswith("sbatch: Memory specification can not be satisfied")


def test_without_slurm_ctrl_c_stops_with_a_checkpoint_and_the_same_command_goes_on(
    toml: Callable[..., Path], tmp_path: Path
) -> None:
    path, where = toml(*LENGTH), tmp_path / "results"
    chosen = ("--only", RUN.name, *CHOSEN)
    words = command("submit", path, "--results-dir", where, "--local", "--gpus", 0, "--time", "1:00:00", *chosen)
    process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True, start_new_session=True)
    wait_for(lambda: num_points(where) > 0, where)
    os.killpg(process.pid, signal.SIGINT)
    said, _ = process.communicate(timeout=120)
    assert process.returncode == 128 + signal.SIGINT
    assert "the same command goes on from the checkpoint" in said
    assert files_of(where).checkpoint.exists() and not files_of(where).record.exists()
    assert "1 run(s) finished" in run(*words[3:])
    assert_same_as_alone(path, where, tmp_path / "alone")
