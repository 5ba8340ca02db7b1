"""One process a run: the lock, and the note of who holds it."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import filelock

from resrepro.errors import UserError
from resrepro.files import user_errors


class RunLocked(UserError):
    """Another process is training this run."""


@contextmanager
def hold(lock: Path, holder: Path) -> Iterator[None]:
    """Holds `lock` for this process, with its name in `holder`; the lock goes with the process, however it ends.

    Raises:
        RunLocked: another process holds it; says which.
    """
    held = filelock.FileLock(lock, timeout=0)
    with user_errors(lock):
        try:
            held.acquire()
        except filelock.Timeout as error:
            who = holder.read_text() if holder.exists() else "another process"
            raise RunLocked(
                f"{lock.parent}: {who} is training this run; wait for it or stop it, and type the command again"
            ) from error
    try:
        with user_errors(holder):
            holder.write_text(f"process {os.getpid()} on {platform.node()}")
        yield
    finally:
        holder.unlink(missing_ok=True)
        held.release()


def is_locked(holder: Path) -> bool:
    """Whether a process trains the run. Takes no lock, for the process that wants it must get it at once.

    A killed process leaves its name behind, so one of this machine is looked for; one elsewhere is believed.
    """
    try:
        number, _, machine = holder.read_text().removeprefix("process ").partition(" on ")
        if machine == platform.node():
            os.kill(int(number), 0)
    except (FileNotFoundError, ProcessLookupError):
        return False
    except PermissionError:  # of another user
        return True
    return True
