"""Writing files so that a crash, a full disk or a power cut leaves the old one or the whole new one."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from resrepro.errors import UserError


@contextmanager
def user_errors(path: Path, option: str = "--results-dir") -> Iterator[None]:
    """Turns an OSError into one line that says what to mend; what was written before stays valid.

    Args:
        option: says where the file is to lie.
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
    """The file is the old one or the whole new one, also after a power cut.

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
    """Write text as UTF-8; arguments and errors as in `write_atomically`."""
    write_atomically(path, lambda file: file.write(text.encode()), option)
