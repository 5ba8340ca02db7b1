"""The events of a run are the rows of its CSV, each once."""

from __future__ import annotations

import errno
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.summary.writer.record_writer import RecordWriter

from resrepro import results
from resrepro.cli.tensorboard import TensorBoardReporter
from resrepro.results.paths import RunFiles
from support.processes import error, run
from support.recipes import tiny_run
from support.reporters import Silent
from support.trainings import Killed, runner

COLUMNS = ["lr", "train_loss", "train_error_pct", "test_loss", "test_error_pct"]


def scalars(files: RunFiles) -> dict[str, list[tuple[int, float]]]:
    events = EventAccumulator(str(files.tensorboard)).Reload()
    return {tag: [(e.step, e.value) for e in events.Scalars(tag)] for tag in events.Tags()["scalars"]}


def rows(files: RunFiles) -> dict[str, list[tuple[int, float]]]:
    points = results.read_points(files)
    return {name: [(p.iteration, pytest.approx(getattr(p, name))) for p in points] for name in COLUMNS}


class KilledAt(Silent):
    """Kills the training after an iteration, in which a checkpoint is not written."""

    def __init__(self, iteration: int) -> None:
        self.iteration = iteration

    def advanced(self, *arguments: Any) -> None:
        if arguments[1].iteration == self.iteration:
            raise Killed


@pytest.mark.usefixtures("few_images")
def test_a_resumed_run_has_each_point_once(tmp_path: Path) -> None:
    asked = tiny_run()
    files = results.run_files(tmp_path, asked)
    with pytest.raises(Killed):
        runner(tmp_path, TensorBoardReporter(KilledAt(8), tmp_path)).run_all([asked])
    assert [step for step, _ in scalars(files)["lr"]] == [5]
    assert scalars(files) == rows(files)
    runner(tmp_path, TensorBoardReporter(Silent(), tmp_path)).run_all([asked])
    assert [step for step, _ in scalars(files)["lr"]] == [5, 10, 12]
    assert scalars(files) == rows(files)
    first, *_, last = EventAccumulator(str(files.tensorboard)).Reload().Scalars("lr")
    took = results.read_points(files)[-1].elapsed_s - results.read_points(files)[0].elapsed_s
    assert last.wall_time - first.wall_time == pytest.approx(took, abs=0.01)


@pytest.mark.usefixtures("few_images")
def test_the_command_logs_and_a_finished_run_gets_its_events_later(toml: Callable[..., Path], tmp_path: Path) -> None:
    words = ("run", toml(), "--only", "plain8", "--device", "cpu", "--precision", "fp32", "--results-dir", tmp_path)
    run(*words)
    files = RunFiles(folder=tmp_path / "shapes" / "plain8" / "seed0")
    assert not files.tensorboard.exists()
    run(*words, "--log", "tensorboard")
    assert scalars(files) == rows(files)
    assert "plain8/seed0" in run("watch", "--once", "--results-dir", tmp_path)


@pytest.mark.usefixtures("few_images")
def test_a_full_disk_is_one_line_and_the_next_command_writes_all_events(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Found by the crash campaign: a thread of TensorBoard's library printed a traceback."""
    asked, write = tiny_run(total_iters=2, lr_drop_iters=(1,), curve_every_iters=1), RecordWriter.write
    files, written = results.run_files(tmp_path, asked), []

    def fill(writer: RecordWriter, data: bytes) -> None:
        written.append(data)
        if len(written) == 8:  # in the second point
            raise OSError(errno.ENOSPC, "No space left on device")
        write(writer, data)

    with monkeypatch.context() as patch:
        patch.setattr(RecordWriter, "write", fill)
        (said,) = runner(tmp_path, TensorBoardReporter(Silent(), tmp_path)).run_all([asked])
    assert f"{files.tensorboard}/events.out.tfevents." in said and "cannot be written: No space left on device" in said
    assert runner(tmp_path, TensorBoardReporter(Silent(), tmp_path)).run_all([asked]) == []
    assert scalars(files) == rows(files) and len(rows(files)["lr"]) == 2


def test_what_is_missing_is_one_line(toml: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    assert error("run", toml(), "--log", "wandb") == "--log wandb: expected tensorboard"
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    assert error("run", toml(), "--log", "tensorboard").endswith("pip install 'resrepro[tensorboard]'")
