"""Runs and their files when something goes wrong at the worst moment."""

from __future__ import annotations

import resource
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from resrepro import results
from resrepro.errors import UserError
from resrepro.evaluation.trained_nets import find, read_net
from resrepro.models.saved import read_saved
from resrepro.results import csv_rows
from resrepro.results.records import CurvePoint
from resrepro.runtime.device import Compute, choose
from resrepro.training import checkpoint
from resrepro.training.runner import Stopped
from resrepro.training.session import RunSession
from support.recipes import tiny_run
from support.trainings import Killed, rows, runner

pytestmark = pytest.mark.usefixtures("few_images")


@pytest.mark.parametrize(
    "moment", [pytest.param("before the checkpoint", marks=pytest.mark.slow), "after the checkpoint", "before run.json"]
)
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
    weights = [read_saved(tmp_path / name / run.path / "checkpoint.pt")["engine"]["model"] for name in ("whole", "cut")]
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
    assert "began with precision fp32, now it is bf16; go on with --precision fp32, on a device that" in error


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


@pytest.mark.parametrize("again", [True, False], ids=["and begun again", "and nothing else"])
@pytest.mark.parametrize("fate", ["moved", "deleted"])
def test_a_folder_that_is_moved_away_while_it_trains_is_not_written_any_more(
    fate: str, again: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the issue found: both commands ended with exit code 0, and with doubled rows."""
    run, first, save = tiny_run(), runner(tmp_path), checkpoint.save
    folder, said = tmp_path / run.path, list[str]()
    monkeypatch.setattr(first.reporter, "ended", lambda *words: said.append(words[-1]))

    def then(*arguments: Any) -> None:
        save(*arguments)
        monkeypatch.setattr(checkpoint, "save", save)
        folder.rename(tmp_path / "away") if fate == "moved" else shutil.rmtree(folder)
        if again:
            assert runner(tmp_path).run_all([run]) == []

    monkeypatch.setattr(checkpoint, "save", then)
    assert first.run_all([run]) == ([] if again else said)  # again: the other one has finished it
    assert len(said) == 1 and said[0].startswith(f"{folder}: moved or deleted while this process was writing there")
    assert folder.exists() is again
    if again:
        assert [row["iteration"] for row in rows(tmp_path, run)] == [5, 10, 12]
        assert not results.run_files(tmp_path, run).holder.exists()
    assert runner(tmp_path).run_all([run]) == []
    assert [row["iteration"] for row in rows(tmp_path, run)] == [5, 10, 12]


def test_a_curve_point_without_a_checkpoint_is_not_written_to_another_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a GPU, where a checkpoint is due once a minute."""
    run, first, append = tiny_run(), runner(tmp_path), csv_rows.append_row
    folder = tmp_path / run.path

    def then(path: Path, row: CurvePoint) -> None:
        append(path, row)
        monkeypatch.setattr(csv_rows, "append_row", append)
        folder.rename(tmp_path / "away")
        folder.mkdir()

    monkeypatch.setattr(RunSession, "_checkpoint_due", lambda _, iteration, *__: iteration == 12)
    monkeypatch.setattr(csv_rows, "append_row", then)
    (error,) = first.run_all([run])
    assert error.startswith(f"{folder}: moved or deleted while this process was writing there")
    assert not (folder / "curves.csv").exists()


def test_rows_that_another_program_added_are_seen_and_mended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run, save = tiny_run(), checkpoint.save
    curves = results.run_files(tmp_path, run).curves

    def doubled(*arguments: Any) -> None:
        save(*arguments)
        curves.write_text(curves.read_text() + curves.read_text().splitlines()[-1] + "\n")
        monkeypatch.undo()

    monkeypatch.setattr(checkpoint, "save", doubled)
    (error,) = runner(tmp_path).run_all([run])
    assert "curves.csv:3: iteration 5 after 5, expected a later one" in error
    assert runner(tmp_path).run_all([run]) == []
    assert [row["iteration"] for row in rows(tmp_path, run)] == [5, 10, 12]


def test_a_finished_run_is_neither_trained_again_nor_read_from_an_older_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It lacks its weights, which are not committed of large nets."""
    run, save = tiny_run(), checkpoint.save
    files, older = results.run_files(tmp_path, run), tmp_path / "older.pt"

    def kept(*arguments: Any) -> None:
        save(*arguments)
        if not older.exists():
            shutil.copy(files.checkpoint, older)

    monkeypatch.setattr(checkpoint, "save", kept)
    assert runner(tmp_path).run_all([run]) == []
    files.weights.unlink()
    shutil.copy(older, files.checkpoint)
    before = {path.name: path.read_bytes() for path in files.folder.iterdir()}
    again, said = runner(tmp_path), list[str]()
    monkeypatch.setattr(again.reporter, "ended", lambda *words: said.append(words[-1]))
    assert again.run_all([run]) == []  # it is finished
    assert said[0].startswith(f"{files.checkpoint}: at iteration 5 of 12, but the run is finished")
    assert {path.name: path.read_bytes() for path in files.folder.iterdir()} == before
    (trained,) = find([files.folder])
    with pytest.raises(UserError, match=r"checkpoint\.pt: at iteration 5 of 12, but the run is finished"):
        read_net(trained)


@pytest.mark.parametrize(
    ("device", "iteration", "at_point", "age_s", "due"),
    [
        ("cpu", 2, True, 1, True),
        ("cpu", 3, False, 1, False),
        ("cuda", 2, True, 1, False),  # the next point is a second away
        ("cuda", 3, False, 61, True),
        ("cuda", 12, True, 1, True),  # the end, before the long measurements
    ],
)
def test_a_checkpoint_is_due(device: str, iteration: int, at_point: bool, age_s: float, due: bool) -> None:
    session: Any = SimpleNamespace(compute=Compute(device=torch.device(device), precision="fp32"), run=tiny_run())
    point: Any = object() if at_point else None
    assert RunSession._checkpoint_due(session, iteration, point, age_s) == due
