"""One process trains a run."""

from __future__ import annotations

import errno
import multiprocessing
import os
import platform
from pathlib import Path

import pytest

from resrepro import results
from resrepro.errors import UserError
from resrepro.results.lock import RunLocked, is_locked
from resrepro.results.paths import RunFiles


def _hold(folder: Path, ready: object, go_on: object) -> None:
    with results.hold(RunFiles(folder=folder)):
        ready.set()
        go_on.wait(30)


def test_the_second_process_is_told_which_holds_the_run_and_the_lock_ends_with_its_holder(files: RunFiles) -> None:
    context = multiprocessing.get_context("spawn")
    ready, go_on = context.Event(), context.Event()
    holder = context.Process(target=_hold, args=(files.folder, ready, go_on))
    holder.start()
    assert ready.wait(30)
    with pytest.raises(RunLocked, match=f"process {holder.pid} on "), results.hold(files):
        pass
    holder.kill()  # no chance to clean up
    holder.join()
    with results.hold(files):
        pass


def test_what_killed_processes_left_goes_and_what_others_are_writing_stays(files: RunFiles) -> None:
    """A living `evaluate` writes to the folder without the lock; a node of a cluster may have failed meanwhile."""
    here, other = platform.node(), os.getppid()
    left = [f"run.json.{here}.99999999.tmp", "checkpoint.pt.node-7.12.tmp", f"x.onnx.{here}.99999999.tmp/x.onnx"]
    stays = [f"evaluations.json.{here}.{other}.tmp", "evaluations.json.node-8.12.tmp", "lesions.csv.node-7.13.tmp"]
    for name in (*left, *stays):
        (files.folder / name).parent.mkdir(exist_ok=True)
        (files.folder / name).write_text("half")
    files.holder.write_text("process 12 on node-7\nstarted 5")
    with results.hold(files):
        assert sorted(path.name for path in files.folder.glob("*.tmp")) == sorted(stays)


def test_a_lock_that_is_no_empty_file_is_one_line(files: RunFiles) -> None:
    os.mkfifo(files.lock)  # whose opening would wait for ever
    with pytest.raises(UserError, match=r"\.lock: expected an empty file"), results.hold(files):
        pass
    files.lock.unlink()
    files.lock.mkdir()
    with pytest.raises(UserError, match=r"\.lock: cannot be written"), results.hold(files):
        pass


@pytest.mark.parametrize("number", [errno.ENOSYS, errno.ENOLCK])
def test_a_file_system_without_locks_is_named(files: RunFiles, number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_descriptor: int, _operation: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("fcntl.flock", fail)
    error = r"\.lock: cannot be locked: .* choose another --results-dir"
    with pytest.raises(UserError, match=error), results.hold(files):
        pass


def test_a_disk_that_fails_when_the_lock_is_given_back_hides_no_result(
    files: RunFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(self: Path, **_: object) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    with results.hold(files):
        monkeypatch.setattr(Path, "unlink", fail)
    monkeypatch.undo()
    assert files.holder.exists()


def test_only_a_living_process_that_is_named_holds_a_run(files: RunFiles) -> None:
    here, me = platform.node(), os.getpid()
    with results.hold(files):
        own = files.holder.read_text()
        assert is_locked(files.holder)
    assert not is_locked(files.holder)
    for text, held in {
        own: True,
        f"process {me} on {here}": True,  # of an older version
        f"process {me} on {here}\nstarted 1": False,  # its number went to this process
        "process 5 on another machine": True,
        **{f"process {pid} on {here}": False for pid in ("0", "1 ", "-1", "x", "٨", "99999999", "9" * 30, "")},
        "process x on ": False,
        "": False,
        "\0": False,
    }.items():
        files.holder.write_text(text)
        assert is_locked(files.holder) is held, text
    files.holder.write_bytes(b"\xff\xfe")
    assert not is_locked(files.holder)
    files.holder.unlink()
    os.mkfifo(files.holder)
    assert not is_locked(files.holder)
