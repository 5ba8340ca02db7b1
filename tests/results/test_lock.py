"""One process trains a run."""

from __future__ import annotations

import multiprocessing
from pathlib import Path

import pytest

from resrepro import results
from resrepro.results.lock import RunLocked
from resrepro.results.paths import RunFiles


def _hold(folder: Path, ready: object, go_on: object) -> None:
    with results.exclusive(RunFiles(folder=folder)):
        ready.set()
        go_on.wait(30)


def test_the_second_process_is_told_which_holds_the_run_and_the_lock_ends_with_its_holder(files: RunFiles) -> None:
    context = multiprocessing.get_context("spawn")
    ready, go_on = context.Event(), context.Event()
    holder = context.Process(target=_hold, args=(files.folder, ready, go_on))
    holder.start()
    assert ready.wait(30)
    with pytest.raises(RunLocked, match=f"process {holder.pid} on "), results.exclusive(files):
        pass
    holder.kill()  # no chance to clean up
    holder.join()
    with results.exclusive(files):
        pass
