"""Several worker processes: real ones, which are killed, stopped and orphaned."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import torch

from resrepro import results
from resrepro.config.run import Run
from resrepro.errors import UserError
from resrepro.runtime.device import spread
from resrepro.training import dispatcher, worker
from resrepro.training.dispatcher import MAX_DEATHS, Dispatcher
from resrepro.training.loop import Training
from resrepro.training.memory import check_shares
from resrepro.training.runner import Runner, Stopped
from support.processes import error, few_images
from support.processes import run as run_command
from support.recipes import tiny_run
from support.reporters import Silent
from support.trainings import rows, runner, state

CONTEXT = multiprocessing.get_context("forkserver")  # has imported torch already
CONTEXT.set_forkserver_preload(["resrepro.training.runner", "resrepro.cli.experiments", "pytest"])
RUNS = [tiny_run("resnet8"), tiny_run("plain8")]
DEEPER = Run(**{**dict(tiny_run("plain14")), "name": "deeper", "start_from": RUNS[1]})


def test_the_first_runs_are_given_when_all_workers_have_taken_their_shares_of_the_memory(tmp_path: Path) -> None:
    spreading = Dispatcher(results_dir=tmp_path, devices=["cpu"] * 2, precision="fp32", reporter=Silent(), options={})
    pipes = [multiprocessing.Pipe() for _ in range(2)]
    spreading._workers = [dispatcher._Worker(device="cpu", process=None, pipe=ours) for ours, _ in pipes]
    spreading._waiting = list(RUNS)
    for ready, given in (((0, 0), 0), ((1, 0), 0), ((1, 1), 2)):
        for w, number in zip(spreading._workers, ready, strict=True):
            w.num_jobs = number
        spreading._hand_out()
        assert sum(theirs.poll() for _, theirs in pipes) == given


def serve_few(*arguments: Any) -> None:
    few_images()
    worker.serve(*arguments)


def serve_and_die(*arguments: Any) -> None:
    """Die in the seventh iteration of the residual net: the first time only if `once` is in the folder's name."""
    steps, missing, options = Training.steps, arguments[3], arguments[5]
    given = f"{options['replaces']}-{len(missing)}-{options['num_sharing']}"
    (options["results_dir"] / f"replaces-{given}-{os.getpid()}").touch()

    def dying(self: Training, *arguments: Any) -> Any:
        results_dir = options["results_dir"]
        died = results_dir / "died"
        for point in steps(self, *arguments):
            residual = self.engine.net.layer2[0].downsample is not None
            if self.iteration == 7 and residual and not (died.exists() and "once" in results_dir.name):
                died.touch()
                os.kill(os.getpid(), signal.SIGKILL)
            yield point

    Training.steps = dying  # type: ignore[method-assign]
    serve_few(*arguments)


def serve_unless_broken(*arguments: Any) -> None:
    """Die before training on a device that is called broken; on one that breaks once the first time only."""
    device, results_dir = arguments[1], arguments[5]["results_dir"]
    num_starts = len([*results_dir.glob(f"{device}-*")])
    (results_dir / f"{device}-{os.getpid()}").touch()
    if device == "broken" or (device == "breaks once" and not num_starts):
        os.kill(os.getpid(), signal.SIGKILL)
    serve_few(arguments[0], "cpu", *arguments[2:])


class Noting(Silent):
    """Notes what is said of the ends of runs, and may act on it."""

    def __init__(self, act: Callable[[str], object] = lambda _: None) -> None:
        self.said: list[str] = []
        self.act = act

    def ended(self, *arguments: Any) -> None:
        run, _, note = arguments
        self.said.append(f"{run}: {note}")
        self.act(note)


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(dispatcher, "CONTEXT", CONTEXT)
    monkeypatch.setattr(dispatcher, "serve", serve_few)
    monkeypatch.setattr(dispatcher, "RETRY_S", 0.1)
    yield
    assert not multiprocessing.active_children()


def dispatched(results_dir: Path, reporter: Silent, num_processes: int = 2) -> Dispatcher:
    results_dir.mkdir(exist_ok=True)
    return Dispatcher(results_dir, ["cpu"] * num_processes, "fp32", reporter, {"data_dir": results_dir})


@pytest.mark.usefixtures("few_images")
def test_a_killed_workers_run_is_taken_up_and_all_give_what_they_give_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reporter = Noting()
    assert runner(tmp_path / "alone", Silent()).run_all(RUNS, 1) == []
    monkeypatch.setattr(dispatcher, "serve", serve_and_die)
    assert dispatched(tmp_path / "once", reporter).run_all(RUNS, 1) == []
    assert [said for said in reporter.said if "SIGKILL" in said] == [
        "shapes/resnet8/seed0: its process was killed (SIGKILL); another goes on from the last checkpoint"
    ]
    workers = [path.name.split("-")[1:-1] for path in sorted((tmp_path / "once").glob("replaces-*"))]
    assert workers == [["False", "2", "2"], ["False", "2", "2"], ["True", "2", "2"]]  # also the share of the cores
    for run in RUNS:
        assert rows(tmp_path / "once", run) == rows(tmp_path / "alone", run)
        assert state(tmp_path / "once", run) == state(tmp_path / "alone", run)


@pytest.mark.slow
def test_a_run_that_starts_from_another_waits_for_it(tmp_path: Path) -> None:
    assert dispatched(tmp_path, Silent()).run_all([DEEPER, *RUNS], 1) == []
    times = [results.run_files(tmp_path, run).record.stat().st_mtime for run in (RUNS[1], DEEPER)]
    assert times == sorted(times)


@pytest.mark.slow
def test_a_run_that_ends_each_of_its_workers_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dispatcher, "serve", serve_and_die)
    (line,) = dispatched(tmp_path, Noting()).run_all(RUNS, 1)
    assert line.startswith(
        f"shapes/resnet8/seed0: {MAX_DEATHS} processes that trained it ended, the last one was killed"
    )
    assert results.read_finished(tmp_path, RUNS[1]) is not None


@pytest.mark.parametrize(
    ("devices", "num_starts", "broken"),
    [
        (["cpu", "broken"], 3, ["broken"]),
        (["breaks once", "cpu"], 3, []),
        (["broken", "broken"], 4, ["broken", "broken"]),
    ],
)
def test_a_device_whose_workers_die_before_they_can_train_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, devices: list[str], num_starts: int, broken: list[str]
) -> None:
    monkeypatch.setattr(dispatcher, "serve", serve_unless_broken)
    errors = Dispatcher(tmp_path, devices, "fp32", Silent(), {"data_dir": tmp_path}).run_all(RUNS, 1)
    assert [line.partition(";")[0] for line in errors] == [
        f"--device {name}: two processes for it ended before they could train, the last one was killed (SIGKILL)"
        for name in broken
    ]
    assert len([path for path in tmp_path.iterdir() if path.is_file()]) == num_starts
    assert all(results.read_finished(tmp_path, run) for run in RUNS) == (len(broken) < len(devices))


def test_a_run_that_another_process_holds_is_tried_again(tmp_path: Path) -> None:
    held = ExitStack()
    held.enter_context(results.hold(results.run_files(tmp_path, RUNS[0])))
    reporter = Noting(lambda note: held.close() if "tried again" in note else None)
    assert dispatched(tmp_path, reporter).run_all(RUNS, 1) == []
    (said,) = [said for said in reporter.said if "tried again" in said]
    assert f"process {os.getpid()} on " in said
    assert all(results.read_finished(tmp_path, run) is not None for run in RUNS)


def test_what_keeps_a_worker_from_training_is_one_line(tmp_path: Path) -> None:
    runs = [run.replace(dataset=f"folder:{tmp_path}/none") for run in RUNS]
    with pytest.raises(UserError, match="none"):
        dispatched(tmp_path, Silent()).run_all(runs, 1)


def test_a_signal_hides_no_error_of_a_run_that_failed_before(tmp_path: Path) -> None:
    results.run_files(tmp_path, RUNS[0]).lock.mkdir(parents=True)
    failed = Noting(lambda note: signal.raise_signal(signal.SIGTERM))
    with pytest.raises(Stopped, match=r"resnet8/seed0/\.lock: cannot be written") as stopped:
        dispatched(tmp_path, failed, num_processes=1).run_all(RUNS, 1)
    assert stopped.value.signal_number == signal.SIGTERM


def _command(toml: Path, output: Path) -> None:
    from resrepro.__main__ import main

    os.setsid()
    with output.open("wb") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    dispatcher.CONTEXT = CONTEXT  # type: ignore[assignment]
    dispatcher.serve = serve_few
    where = ["--results-dir", str(toml.parent), "--precision", "fp32", "--device", "cpu", "--processes", "2"]
    sys.argv = ["resrepro", "run", str(toml), *where, "--only", "plain8,resnet8", "--seeds", "0"]
    main()


@pytest.mark.parametrize(
    "number",
    [
        pytest.param(signal.SIGINT, marks=pytest.mark.slow),
        pytest.param(signal.SIGTERM, marks=pytest.mark.slow),
        pytest.param(signal.SIGKILL, marks=pytest.mark.slow),
    ],
    ids=lambda number: number.name,
)
def test_one_signal_stops_all_with_a_checkpoint(toml: Callable[..., Path], tmp_path: Path, number: int) -> None:
    """Ctrl-C reaches all processes of the terminal, SIGTERM and SIGKILL the parent alone."""
    process = CONTEXT.Process(
        target=_command, args=(toml(("total_iters = 12", "total_iters = 1000000")), tmp_path / "output")
    )
    process.start()
    files = [results.run_files(tmp_path, run) for run in RUNS]
    until = time.monotonic() + 600
    while not all(f.checkpoint.exists() for f in files):
        assert time.monotonic() < until and process.is_alive(), (tmp_path / "output").read_text()
        time.sleep(0.02)
    (os.killpg if number == signal.SIGINT else os.kill)(process.pid or 0, number)
    process.join(300)
    said = (tmp_path / "output").read_text()
    assert process.exitcode == (-number if number == signal.SIGKILL else 128 + number), said
    assert "Traceback" not in said
    if number != signal.SIGKILL:
        assert "the same command goes on from there" in said
        assert said.count("stopped at iteration ") == 2 and said.count("checkpoint written") == 2
    while any(f.holder.exists() for f in files):  # the workers have heard that the parent is gone
        assert time.monotonic() < until
        time.sleep(0.02)
    for f in files:
        with results.hold(f):
            saved = torch.load(f.checkpoint, weights_only=True)
        assert saved["iteration"] > results.read_points(f)[-1].iteration or number != signal.SIGKILL


def test_the_devices_that_runs_are_spread_over(monkeypatch: pytest.MonkeyPatch) -> None:
    assert spread("auto") == ["auto"] and spread("cpu") == ["cpu"]
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)
    assert spread("auto") == spread("cuda") == ["cuda:0", "cuda:1", "cuda:2"]
    assert spread("cuda:2") == ["cuda:2"]
    for asked, why in {
        "cuda:0,cuda:3": "--device cuda:3: 3 CUDA device(s) here",
        "cuda:1,cuda:1": "cuda:1 is named twice",
        "cuda:0,cpu": "expected several GPUs, such as cuda:0,cuda:2",
    }.items():
        with pytest.raises(UserError) as caught:
            spread(asked)
        assert why in str(caught.value)


def test_a_machine_without_cuda_trains_on_its_cpu_and_says_so(
    toml: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(Runner, "run_all", lambda *_: ["nothing was trained"])
    (line,) = [
        line
        for line in run_command("run", toml(), "--results-dir", tmp_path, code=1).splitlines()
        if "run(s) on" in line
    ]
    assert "(CPU)" in line and line.endswith("; no CUDA device here")


def test_more_processes_than_memory_is_one_line() -> None:
    needs = [(3 * 2**30, 2 * 2**30)]
    check_shares(needs, 2 * 2**30, 4)
    with pytest.raises(
        UserError, match=r"--processes 8: .* 2\.0 GiB, and each process has 1\.0 GiB; --processes 4 fits"
    ):
        check_shares(needs, 2**30, 8)


def test_processes_are_for_the_cpu(toml: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    words = ["run", toml(), "--results-dir", tmp_path, "--processes", 2]
    assert error(*words, "--device", "cuda") == (
        "--processes 2: each GPU has one process; --jobs trains several runs on each"
    )
