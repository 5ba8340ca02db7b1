"""One process trains a run at a time: the lock, and the note of which process holds it."""

from __future__ import annotations

import glob
import os
import platform
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from resrepro import files
from resrepro.errors import UserError
from resrepro.files import user_errors
from resrepro.results.paths import RunFiles


class RunLocked(UserError):
    """Another process is training this run."""


@contextmanager
def hold(run: RunFiles) -> Iterator[Callable[[], None]]:
    """Hold a run for this process, and write the process's name beside the lock.

    Yields:
        A function to call before each write; it raises UserError once the run's folder has been moved or deleted.

    Raises:
        RunLocked: another process is training the run; says which.
        UserError: the folder cannot be written.
    """

    def locked() -> RunLocked:
        who = _read(run.holder) or "another process"
        return RunLocked(
            f"{run.folder}: {who} is training this run; wait for it or stop it, and type the command again"
        )

    with user_errors(run.folder):
        run.folder.mkdir(parents=True, exist_ok=True)
    with files.exclusive(run.lock, locked) as check:
        with user_errors(run.folder):
            _remove_temporaries(run)
        try:
            with user_errors(run.holder):
                run.holder.write_text(f"process {os.getpid()} on {platform.node()}\nstarted {_started(os.getpid())}")
            yield check
        finally:
            with suppress(UserError, OSError):  # a folder that is not ours any more, or a disk that fails
                check()
                run.holder.unlink()


def _remove_temporaries(run: RunFiles) -> None:
    """Remove what killed processes have left: those of this machine, and the last one that held the run, on any.

    Not those of others that write there without the lock, such as `evaluate`.
    """
    files.remove_temporaries(run.folder)
    last = _read(run.holder)
    if last is not None:
        for left in run.folder.glob(f"*.{glob.escape(last.machine)}.{last.pid}.tmp"):
            left.unlink(missing_ok=True)


def is_locked(holder: Path) -> bool:
    """Tell whether a process is training the run, without taking the lock: who needs it must get it at once.

    A killed process leaves its name in the file `holder`. So a process of this machine is looked up; of another
    machine, the file is believed.
    """
    found = _read(holder)
    if found is None or found.machine != platform.node():
        return found is not None
    if not files.process_lives(found.pid):
        return False
    return not found.started or _started(found.pid) in ("", found.started)  # else another process has its number


class _Holder(NamedTuple):
    """Names a process; `started`, where it is known, tells it from a later one with the same number."""

    pid: int
    machine: str
    started: str

    def __str__(self) -> str:
        return f"process {self.pid} on {self.machine}"


def _read(holder: Path) -> _Holder | None:
    """Return what `hold` wrote, also in an older version; None where there is no such file, or another text."""
    try:
        text = holder.read_text(errors="replace") if holder.is_file() else ""
    except OSError:
        return None
    match = re.fullmatch(r"process ([1-9][0-9]{0,7}) on ([^\n]+)(?:\nstarted ([0-9]*))?", text)
    return _Holder(int(match[1]), match[2], match[3] or "") if match else None


def _started(pid: int) -> str:
    """Return when a process started, in ticks since this machine did; empty where the system does not say (Linux does).

    Linux: proc_pid_stat(5), field 22; the second, the name in parentheses, may hold anything.
    """
    try:
        return Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return ""
