"""One process trains a run at a time: the lock, and the note of which process holds it."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from resrepro import files
from resrepro.errors import UserError
from resrepro.files import user_errors
from resrepro.results.paths import RunFiles


class RunLocked(UserError):
    """Another process is training this run."""


@contextmanager
def exclusive(run: RunFiles) -> Iterator[None]:
    """Hold a run for this process, and write the process's name beside the lock.

    Raises:
        RunLocked: another process is training the run; says which.
        UserError: the folder cannot be written.
    """

    def locked() -> RunLocked:
        who = run.holder.read_text() if run.holder.exists() else "another process"
        return RunLocked(
            f"{run.folder}: {who} is training this run; wait for it or stop it, and type the command again"
        )

    with user_errors(run.folder):
        run.folder.mkdir(parents=True, exist_ok=True)
    with files.exclusive(run.lock, locked):
        for left in run.folder.glob("*.tmp"):  # of a process that was killed while it was writing
            left.unlink()
        try:
            with user_errors(run.holder):
                run.holder.write_text(f"process {os.getpid()} on {platform.node()}")
            yield
        finally:
            run.holder.unlink(missing_ok=True)


def is_locked(holder: Path) -> bool:
    """Tell whether a process is training the run, without taking the lock: who needs it must get it at once.

    A killed process leaves its name in the file `holder`. So a process of this machine is looked up; of another
    machine, the file is believed.
    """
    try:
        number, _, machine = holder.read_text().removeprefix("process ").partition(" on ")
        if machine == platform.node():
            os.kill(int(number), 0)
    except (FileNotFoundError, NotADirectoryError, ProcessLookupError):
        return False
    except PermissionError:  # the process of another user
        return True
    return True
