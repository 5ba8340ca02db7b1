"""What a power cut may leave on the disk, from the trace of one command.

The model: names (new files, renames, removals, folders) reach the disk in their order, and at the latest when a file
is synced after them, as in the journal of ext4 or XFS. The bytes of a file are there once it is synced; before that
they are lost, or zeros of the right length, or there. `strict` is what POSIX says, and less than these file systems
do: syncing a file brings its bytes to the disk, and no name.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple


class Operation(NamedTuple):
    """One line of the trace of faults.c; `number`: an offset, a length, or whether `open` empties the file."""

    what: str
    path: str
    other: str
    number: int
    content: bytes


State = dict[str, bytes | None]  # what is on the disk, by path; None: a folder


def read_trace(path: Path) -> list[Operation]:
    content, found, at = path.read_bytes(), list[Operation](), 0
    while at < len(content):
        end = content.index(b"\n", at)
        what, name, other, number, size = os.fsdecode(content[at:end]).split("\t")
        at = end + 1 + int(size)
        found.append(Operation(what, name, other, int(number), content[end + 1 : at]))
    return found


def states(trace: list[Operation], top: str, *, strict: bool = False) -> Iterator[State]:
    """Yield each state in which a power cut during the trace may leave what is below the folder `top`, once."""
    seen, disk = set[frozenset[tuple[str, bytes | None]]](), _Disk(top)
    for operation in [None, *trace]:
        if operation:
            disk.do(operation)
        for num_names in range(0 if strict else disk.num_synced, len(disk.names) + 1):
            for unsynced in (_lost, _zeros, _there):
                state = disk.after_cut(num_names, unsynced)
                key = frozenset(state.items())
                if key not in seen:
                    seen.add(key)
                    yield state


def write_state(state: State) -> None:
    for path, content in sorted(state.items()):
        if content is None:
            Path(path).mkdir(parents=True, exist_ok=True)
        else:
            Path(path).write_bytes(content)


@dataclass
class _File:
    there: bytes = b""  # as a process reads it
    synced: bytes = b""


def _lost(file: _File) -> bytes:
    return file.synced


def _zeros(file: _File) -> bytes:
    """Return what is synced, if nothing else was changed in it, and zeros for the bytes after it."""
    start = file.synced if file.there.startswith(file.synced) else b""
    return start.ljust(len(file.there), b"\0")


def _there(file: _File) -> bytes:
    return file.there


@dataclass
class _Disk:
    """Holds the files, and the changes of names in their order, of which the first `num_synced` are on the disk."""

    top: str
    names: list[tuple[str, str, _File | str | None]] = field(default_factory=list)
    now: dict[str, _File | None] = field(default_factory=dict)
    num_synced: int = 0

    def do(self, operation: Operation) -> None:
        what, path, other, number, content = operation
        file = self.now.get(path)
        if what == "mkdir" and path not in self.now and str(Path(path).parent) in {self.top, *self.now}:
            self._name("make", path, None)
        elif what == "open" and path not in self.now:
            self._name("make", path, _File())
        elif what in ("unlink", "rmdir") and path in self.now:
            self._name("remove", path, None)
        elif what == "rename" and path in self.now:
            self._name("rename", path, other)
        elif file and what == "write":
            file.there = file.there[:number].ljust(number, b"\0") + content + file.there[number + len(content) :]
        elif file and (what == "truncate" or (what == "open" and number)):
            file.there = file.there[: number if what == "truncate" else 0]
        elif file and what == "fsync":
            file.synced, self.num_synced = file.there, len(self.names)

    def _name(self, what: str, path: str, new: _File | str | None) -> None:
        self.names.append((what, path, new))
        _apply(self.now, self.names[-1])

    def after_cut(self, num_names: int, unsynced: Callable[[_File], bytes]) -> State:
        left: dict[str, _File | None] = {}
        for change in self.names[:num_names]:
            _apply(left, change)
        return {path: file and unsynced(file) for path, file in left.items()}


def _apply(names: dict[str, _File | None], change: tuple[str, str, _File | str | None]) -> None:
    what, path, new = change
    if what == "make":
        assert not isinstance(new, str)
        names[path] = new
    else:
        file = names.pop(path)
        if isinstance(new, str):
            names[new] = file
