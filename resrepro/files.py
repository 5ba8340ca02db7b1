"""Write files so that a crash, a full disk or a power cut leaves the old one or the whole new one; lock them."""

from __future__ import annotations

import errno
import fcntl
import glob
import os
import platform
import shutil
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from resrepro.errors import UserError

POLL_S = 0.05  # between two tries for a lock


@contextmanager
def user_errors(path: Path, option: str = "--results-dir") -> Iterator[None]:
    """Turn an OSError into one line that says how to fix it; what was written before stays valid.

    Args:
        path: the file or folder that is being written.
        option: the command-line option that chooses where it is.

    Raises:
        UserError: the file cannot be written.
    """
    try:
        yield
    except OSError as error:
        fix = {
            errno.ENOSPC: "free some disk space and type the same command again; what was written is kept",
            errno.EDQUOT: "free some of your quota and type the same command again; what was written is kept",
        }.get(error.errno or 0, f"choose another {option}")
        raise UserError(f"{path}: cannot be written: {error.strerror or error}; {fix}") from error


def write_atomically(
    path: Path,
    write: Callable[[BinaryIO], object],
    option: str = "--results-dir",
    before_replacing: Callable[[], object] = lambda: None,
) -> None:
    """Write a file so that, also after a power cut, it is the old one or the whole new one.

    Args:
        write: writes the content to the open file that it is given.
        option: the command-line option that chooses where the file is.
        before_replacing: is called once the new file is whole, and may put the old one aside.

    Raises:
        UserError: the disk is full or not writable; the old file is untouched.
    """
    with user_errors(path, option):
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = own_temporary(path)
        try:
            with temporary.open("wb") as file:
                write(file)
                file.flush()
                os.fsync(file.fileno())
            before_replacing()
            temporary.replace(path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise


def own_temporary(path: Path) -> Path:
    """Return a name beside `path` that this process alone uses, for two may write the same file.

    What processes that were killed have left under such names is removed.
    """
    remove_temporaries(path.parent, glob.escape(path.name))
    return path.with_name(f"{path.name}.{platform.node()}.{os.getpid()}.tmp")


def remove_temporaries(folder: Path, name: str = "*") -> None:
    """Remove what processes of this machine that do not live any more have left under the names of `own_temporary`.

    Args:
        name: a pattern: of the files that they were writing.
    """
    for left in folder.glob(f"{name}.{glob.escape(platform.node())}.*.tmp"):  # a file, or a folder
        pid = left.name.removesuffix(".tmp").rpartition(".")[2]
        if not process_lives(int(pid) if pid.isdecimal() else 0):
            if left.is_dir():
                shutil.rmtree(left)
            else:
                left.unlink(missing_ok=True)


def write_bytes(path: Path, content: bytes, option: str = "--results-dir") -> None:
    """Write bytes as `write_atomically` does."""
    write_atomically(path, lambda file: file.write(content), option)


def write_text(path: Path, text: str, option: str = "--results-dir") -> None:
    """Write a text in UTF-8 as `write_atomically` does."""
    write_bytes(path, text.encode(), option)


def process_lives(pid: int) -> bool:
    """Tell whether a process of this machine has this number."""
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:  # the process of another user
        return True
    return pid > 0


@contextmanager
def exclusive(
    lock: Path, locked: Callable[[], UserError], option: str = "--results-dir", wait_s: float = 0.0
) -> Iterator[Callable[[], None]]:
    """Hold a lock for this process. The system frees it when the process ends, however it ends.

    Args:
        lock: an empty file, created if it does not exist; its folder must exist.
        locked: returns the error to raise where another process holds the lock.
        option: the command-line option that chooses where the file is.
        wait_s: how long to wait for another process, seconds.

    Yields:
        A function that raises UserError once the lock's folder has been moved or deleted: another process may then have
        made it anew, and hold the lock there. It is called before each write.

    Raises:
        UserError: another process holds the lock, or the file cannot be written.
    """
    with user_errors(lock, option):  # a named pipe must not be waited for
        descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_NONBLOCK | os.O_CLOEXEC, 0o666)
    own = os.fstat(descriptor)  # open until the end, so that no other file gets its number

    def check() -> None:
        try:
            moved = not os.path.samestat(lock.stat(), own)
        except OSError:
            moved = True
        if moved:
            raise UserError(
                f"{lock.parent}: moved or deleted while this process was writing there, so it stops; move it back, or "
                "type the command again to begin anew"
            )

    try:
        if not stat.S_ISREG(own.st_mode):
            raise UserError(f"{lock}: expected an empty file, the lock; delete it")
        if not _flocked(descriptor, lock, option, wait_s):
            raise locked()
        check()
        yield check
    finally:
        with suppress(OSError):  # a disk that fails: the lock ends with the descriptor
            fcntl.flock(descriptor, fcntl.LOCK_UN)  # also where a child process has the descriptor
        os.close(descriptor)


def _flocked(descriptor: int, lock: Path, option: str, wait_s: float) -> bool:
    """Lock an open file, unless another process holds its lock until `wait_s` are over."""
    end = time.monotonic() + wait_s
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            if time.monotonic() >= end:
                return False
            time.sleep(POLL_S)
        except OSError as error:  # ENOSYS, ENOLCK, ENOTSUP: such as Lustre that is mounted without flock
            raise UserError(
                f"{lock}: cannot be locked: {error.strerror}; its file system must have flock; choose another {option}"
            ) from error
