"""Runs and their files when something goes wrong at the worst moment."""

from __future__ import annotations

import resource
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from resrepro import results
from resrepro.errors import UserError
from resrepro.runtime.device import choose
from resrepro.training import checkpoint
from resrepro.training.runner import Stopped
from support.recipes import tiny_run
from support.trainings import Killed, rows, runner

pytestmark = pytest.mark.usefixtures("few_images")


@pytest.mark.parametrize("moment", ["before the checkpoint", "after the checkpoint", "before run.json"])
def test_killed_between_two_writes_no_row_is_lost_or_doubled(
    moment: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tiny_run()
    assert runner(tmp_path / "whole").run_all([run]) == []
    save, calls = checkpoint.save, []

    def die(*arguments: Any) -> None:
        calls.append(1)
        if moment == "after the checkpoint":
            save(*arguments)
        if len(calls) == 2:
            raise Killed
        if moment == "before the checkpoint":
            save(*arguments)

    if moment == "before run.json":
        monkeypatch.setattr(results, "write_record", die)
        calls.append(1)
    else:
        monkeypatch.setattr(checkpoint, "save", die)
    with pytest.raises(Killed):
        runner(tmp_path / "cut").run_all([run])
    monkeypatch.undo()
    assert rows(tmp_path / "cut", run)[-1]["iteration"] == (12 if moment == "before run.json" else 10)
    assert runner(tmp_path / "cut").run_all([run]) == []
    assert rows(tmp_path / "cut", run) == rows(tmp_path / "whole", run)
    weights = [
        checkpoint.read_saved(tmp_path / name / run.path / "checkpoint.pt")["engine"]["model"]
        for name in ("whole", "cut")
    ]
    assert all(torch.equal(weights[0][k], weights[1][k]) for k in weights[0])


def test_a_disk_that_fills_up_is_one_line_and_the_run_goes_on_later(tmp_path: Path) -> None:
    """A real limit of the system on the size of files: the checkpoint does not fit."""
    run = tiny_run()
    before, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, before[1]))
    try:
        (error,) = runner(tmp_path).run_all([run])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    assert "checkpoint.pt: cannot be written" in error
    assert [r["iteration"] for r in rows(tmp_path, run)] == [5]
    assert not list((tmp_path / run.path).glob("*.tmp"))
    assert runner(tmp_path).run_all([run]) == []
    assert [r["iteration"] for r in rows(tmp_path, run)] == [5, 10, 12]


def test_a_run_does_not_go_on_in_another_precision(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    try:
        choose("cpu", "bf16")
    except UserError:
        pytest.skip("this CPU does not compute in bf16")
    monkeypatch.setattr(results, "write_record", lambda *_: (_ for _ in ()).throw(Killed))
    with pytest.raises(Killed):
        runner(tmp_path).run_all([tiny_run()])
    monkeypatch.undo()
    (error,) = runner(tmp_path, precision="bf16").run_all([tiny_run()])
    assert "began with precision fp32, now it is bf16; go on with --precision fp32" in error


def test_a_signal_during_the_last_measurements_stops_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from resrepro.training.step import Engine

    def interrupted(_: Engine, check_stop: Callable[[], None]) -> None:
        signal.raise_signal(signal.SIGTERM)
        check_stop()
        raise AssertionError("went on")

    monkeypatch.setattr(Engine, "clean_train", interrupted)
    with pytest.raises(Stopped, match="stopped at iteration 12"):
        runner(tmp_path).run_all([tiny_run()])
    monkeypatch.undo()
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    assert runner(tmp_path).run_all([tiny_run()]) == []
    assert results.read_finished(tmp_path, tiny_run()) is not None
