"""Write files so that a crash, a full disk or a power cut leaves the old one or the whole new one; lock them."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import filelock

from resrepro.errors import UserError


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


def write_atomically(path: Path, write: Callable[[BinaryIO], object], option: str = "--results-dir") -> None:
    """Write a file so that, also after a power cut, it is the old one or the whole new one.

    Args:
        write: writes the content to the open file that it is given.
        option: the command-line option that chooses where the file is.

    Raises:
        UserError: the disk is full or not writable; the old file is untouched.
    """
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")  # two processes may write the same figure
    with user_errors(path, option):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with temporary.open("wb") as file:
                write(file)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str, option: str = "--results-dir") -> None:
    """Write a text as UTF-8, atomically.

    Raises:
        UserError: the disk is full or not writable; the old file is untouched.
    """
    write_atomically(path, lambda file: file.write(text.encode()), option)


@contextmanager
def exclusive(lock: Path, locked: Callable[[], UserError], option: str = "--results-dir") -> Iterator[None]:
    """Hold a lock for this process. The system frees it when the process ends, however it ends.

    Args:
        lock: an empty file, created if it does not exist; its folder must exist.
        locked: returns the error to raise where another process holds the lock.
        option: the command-line option that chooses where the file is.

    Raises:
        UserError: another process holds the lock, or the file cannot be written.
    """
    held = filelock.FileLock(lock, timeout=0)
    with user_errors(lock, option):
        try:
            held.acquire()
        except filelock.Timeout as error:
            raise locked() from error
    try:
        yield
    finally:
        held.release()
