"""Several runs at once: each gives what it gives alone, and none takes another down."""

from __future__ import annotations

import signal
import threading
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from resrepro import results
from resrepro.errors import UserError
from resrepro.runtime.device import Compute, device_errors
from resrepro.runtime.signals import Signals
from resrepro.training import session
from resrepro.training.loop import Training
from resrepro.training.runner import Runner, Stopped
from support.recipes import tiny_run
from support.reporters import Meeting, Silent
from support.trainings import rows, runner, state

pytestmark = pytest.mark.usefixtures("few_images")


RUNS = [tiny_run("resnet8"), tiny_run("plain8"), tiny_run("resnet8", seed=1)]


def test_packed_runs_are_at_once_and_equal_to_the_bit_what_they_give_alone(tmp_path: Path) -> None:
    assert runner(tmp_path / "packed", Meeting(3)).run_all(RUNS, 3) == []
    assert runner(tmp_path / "alone", Silent()).run_all(RUNS, 1) == []
    for run in RUNS:
        assert rows(tmp_path / "packed", run) == rows(tmp_path / "alone", run)
        assert state(tmp_path / "packed", run) == state(tmp_path / "alone", run)
        packed, alone = (results.read_finished(tmp_path / name, run) for name in ("packed", "alone"))
        assert packed is not None and alone is not None
        differing = {key for key in vars(packed) if getattr(packed, key) != getattr(alone, key)}
        assert differing <= {"wall_time_s", "finished_at", "sha256"}  # the curves have times, too


def test_packed_runs_are_set_up_one_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Initial weights come from torch's seed, which is the process's."""
    build, building = session.build, threading.Lock()

    def slowly(*arguments: Any, **options: Any) -> Any:
        assert building.acquire(blocking=False), "two at once"
        time.sleep(0.2)
        net = build(*arguments, **options)
        building.release()
        return net

    monkeypatch.setattr(session, "build", slowly)
    assert runner(tmp_path, Silent()).run_all(RUNS, 3) == []


def test_packed_runs_divide_the_cores(tmp_path: Path) -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(4)
    try:
        reporter = Meeting(2)
        assert runner(tmp_path, reporter).run_all(RUNS[:2], 2) == []
        assert set(reporter.threads.values()) == {2}
        assert torch.get_num_threads() == 4
        record = results.read_finished(tmp_path, RUNS[0])
        assert record is not None and record.num_threads == 2
    finally:
        torch.set_num_threads(before)


def test_a_signal_stops_all_and_all_go_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Ending(Meeting):
        heard = threading.Event()

        def advanced(self, *arguments: Any) -> None:
            super().advanced(*arguments)
            if arguments[1].iteration == 3 and arguments[0] == RUNS[0]:
                signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGTERM)
            if arguments[1].iteration == 4:  # by now the main thread has heard it
                assert self.heard.wait(timeout=60)

    note = Signals._note

    def noted(self: Signals, *arguments: Any) -> None:
        note(self, *arguments)
        reporter.heard.set()

    monkeypatch.setattr(Signals, "_note", noted)
    reporter = Ending(2)
    with pytest.raises(Stopped) as stopped:
        runner(tmp_path / "cut", reporter).run_all(RUNS, 2)
    assert stopped.value.signal_number == signal.SIGTERM
    for run in RUNS[:2]:
        assert f"{run}: stopped at iteration " in str(stopped.value)
        assert (tmp_path / "cut" / run.path / "checkpoint.pt").exists()
    assert not (tmp_path / "cut" / RUNS[2].path).exists()  # was never begun
    assert runner(tmp_path / "cut", Silent()).run_all(RUNS, 2) == []
    assert runner(tmp_path / "whole", Silent()).run_all(RUNS, 1) == []
    for run in RUNS:
        assert state(tmp_path / "cut", run) == state(tmp_path / "whole", run)


def test_a_run_that_fails_leaves_the_others_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    steps = Training.steps

    def failing(self: Training, *arguments: Any) -> Any:
        for i, point in enumerate(steps(self, *arguments)):
            if self.engine.net.layer1[0].downsample is None and i == 7:  # the plain net
                raise RuntimeError("CUDA out of memory. Tried to allocate")
            yield point

    monkeypatch.setattr(Training, "steps", failing)
    (error,) = runner(tmp_path, Meeting(3)).run_all(RUNS, 3)
    assert error.startswith("shapes/plain8/seed0: out of memory on ") and "--jobs" in error
    monkeypatch.undo()
    assert [results.read_finished(tmp_path, run) is not None for run in RUNS] == [True, False, True]
    assert runner(tmp_path, Silent()).run_all(RUNS) == []


def test_a_run_whose_files_are_damaged_while_it_fails_leaves_the_others_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps = Training.steps

    def failing(self: Training, *arguments: Any) -> Any:
        if not results.run_files(tmp_path, RUNS[0]).record.exists():
            results.run_files(tmp_path, RUNS[0]).record.write_text("{")
            raise UserError("what failed")
        return steps(self, *arguments)

    monkeypatch.setattr(Training, "steps", failing)
    assert runner(tmp_path).run_all(RUNS[:2]) == ["what failed"]
    assert results.read_finished(tmp_path, RUNS[1]) is not None


def test_the_number_of_threads_is_given_back_after_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before, seen = torch.get_num_threads(), list[int]()

    def fail(*_: object) -> None:
        seen.append(torch.get_num_threads())
        raise ZeroDivisionError

    monkeypatch.setattr(Runner, "attempt", fail)
    torch.set_num_threads(4)
    try:
        with pytest.raises(ZeroDivisionError):
            runner(tmp_path).run_all(RUNS[:2], 2)
        assert set(seen) == {2} and torch.get_num_threads() == 4
    finally:
        torch.set_num_threads(before)


def test_a_device_that_is_lost_is_one_line(tmp_path: Path) -> None:
    compute = Compute(device=torch.device("cuda"), precision="fp32")
    with pytest.raises(UserError) as caught, device_errors(compute, "cifar10/x/seed0"):
        raise torch.AcceleratorError("CUDA error: unspecified launch failure\nCompile with ...")
    with pytest.raises(UserError, match="rocm-smi"), device_errors(compute, "x"):
        raise torch.AcceleratorError("HIP error: unspecified launch failure")
    assert str(caught.value).startswith("cifar10/x/seed0: the device failed (CUDA error: unspecified launch failure)")
    with pytest.raises(RuntimeError, match="a bug of ours"), device_errors(compute, "x"):
        raise RuntimeError("a bug of ours")
