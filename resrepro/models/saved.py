"""Files of `torch.save`: ours hold their SHA-256, which is checked before torch reads them. No code in them is run.

Such a file is a zip archive, and torch does not check its checksums. The digest stands in the archive's comment.
"""

from __future__ import annotations

import hashlib
import io
import re
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from resrepro.errors import UserError, first_line
from resrepro.files import write_atomically
from resrepro.runtime.device import out_of_memory

MARK = b"resrepro sha256:"  # of all bytes up to here; 64 hexadecimal digits follow, and the file ends
DIGEST = "sha256"  # a key that says that the file was written with a digest


class Damaged(UserError):
    """Reports a file whose bytes are not those that were written."""


def write_saved(path: Path, state: dict[str, Any], previous: Path) -> None:
    """Write tensors and plain values with their digest, atomically; the file before it stays as `previous`.

    Raises:
        UserError: the file cannot be written; the one before it stays.
    """
    content = io.BytesIO()  # torch hides the reason where the disk is full
    torch.save({**state, DIGEST: "in the zip archive's comment"}, content)
    content.seek(-2, io.SEEK_END)  # the length of the comment, which is the end of an archive without one
    content.write(struct.pack("<H", len(MARK) + 64) + MARK)
    digest = hashlib.sha256(content.getbuffer()).hexdigest()
    content.write(digest.encode())

    def keep() -> None:
        if path.exists():
            path.replace(previous)

    write_atomically(path, lambda file: file.write(content.getbuffer()), before_replacing=keep)


def read_saved(path: Path) -> Any:
    """Read what `write_saved` or `torch.save` wrote to the CPU, without running code from it (`weights_only=True`).

    Raises:
        Damaged: its bytes are not those that were written.
        UserError: the file is missing, unreadable or damaged, or holds more than tensors and plain values.
    """
    with one_line(path, "weights saved by torch.save"):
        content = path.read_bytes()
        body, digest = memoryview(content)[:-64], content[-64:]
        sealed = body[-len(MARK) :] == MARK
        if sealed and hashlib.sha256(body).hexdigest().encode() != digest:
            raise Damaged(f"{path}: damaged, for its SHA-256 is not the one in it; {_MEND}")
        saved = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    if isinstance(saved, dict) and DIGEST in saved and not sealed:
        raise Damaged(f"{path}: damaged, for it has lost its SHA-256; {_MEND}")
    return saved


_MEND = "move it away, or give another file"


@contextmanager
def one_line(path: Path, expected: str) -> Iterator[None]:
    """Turn whatever reading a file raises into one line.

    Raises:
        UserError: the file is missing or cannot be read.
        Damaged: it is not what is expected.
    """
    try:
        yield
    except UserError:
        raise
    except FileNotFoundError as error:
        raise UserError(f"{path}: no such file; expected {expected}") from error
    except OSError as error:
        raise UserError(f"{path}: {error.strerror or error}; expected a file of weights that can be read") from error
    except Exception as error:  # damaged bytes make these libraries raise almost anything
        if out_of_memory(error):
            raise
        if found := re.search(r"unsupported (?:global|class)\W+(?:global )?([\w.]+)", str(error), re.IGNORECASE):
            raise Damaged(f"{path}: holds code ({found[1]}); refused; expected tensors and plain values") from error
        reason = re.search(r"WeightsUnpickler error: (.+)", str(error))  # torch says much else, about itself
        about_itself = reason is None and "weights_only" in str(error)
        why = "" if about_itself else f" ({first_line(reason[1] if reason else error)})"
        raise Damaged(f"{path}: damaged, or not {expected}{why}; {_MEND}") from error
