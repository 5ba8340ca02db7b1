"""A process that has imported resrepro, done each command once, and forks those that a test types: 0.2 s instead of 5.

Run as a script, it is that process: it reads a `Fault` and a command a line, as JSON, and answers with an `Outcome`.
"""

from __future__ import annotations

import ctypes
import functools
import gc
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from unittest import mock

HERE = Path(__file__).parent
MODES = ("count", "kill", "torn", "full", "read-only", "once")  # faults.c says what each does
TIMEOUT_S = 300


@dataclass(frozen=True, kw_only=True)
class Fault:
    """Says what goes wrong in a command.

    Args:
        mode: one of MODES.
        at: the number of the file operation, from 1.
        cpu_s: kill it after so much CPU time; 0: not.
        trace: a file to which the operations are written; empty: none.
    """

    mode: str = "count"
    at: int = 0
    cpu_s: float = 0.0
    trace: str = ""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """Says how a command ended: exit code (negative: the signal), what it printed, its file operations and CPU time."""

    code: int
    text: str
    operations: int
    cpu_s: float
    timed_out: bool


class Server:
    """Types commands in forks of the process that `serving` started."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def type(self, folder: Path, *words: object, fault: Fault | None = None) -> Outcome:
        """Type a command of resrepro; its file operations below `folder` are counted."""
        assert self._process.stdin and self._process.stdout
        asked = {"folder": str(folder), "words": [str(word) for word in words], "fault": asdict(fault or Fault())}
        print(json.dumps(asked), file=self._process.stdin, flush=True)
        return Outcome(**json.loads(self._process.stdout.readline()))


def compiler() -> str | None:
    """Return the C compiler; None where there is none, or the system has no LD_PRELOAD."""
    return shutil.which("cc") or shutil.which("gcc") if sys.platform == "linux" else None


def memory() -> tempfile.TemporaryDirectory[str]:
    """Return a temporary folder; in memory, if possible: what a power cut takes is computed, without a disk."""
    shared = Path("/dev/shm")
    return tempfile.TemporaryDirectory(prefix="crash-", dir=shared if shared.is_dir() else None)


@contextmanager
def serving(folder: Path) -> Iterator[Server]:
    """Build the shim in a folder, and start a server with it."""
    library = folder / "faults.so"
    words = [compiler() or "cc", "-shared", "-fPIC", "-O1", "-o", str(library), str(HERE / "faults.c"), "-ldl"]
    subprocess.run(words, check=True)
    environment = {
        **os.environ, "LD_PRELOAD": str(library), "FAULTS": str(library), "OMP_NUM_THREADS": "1", "COLUMNS": "200",
        "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1",  # fewer pages, so that a fork takes half the time
        "CUDA_VISIBLE_DEVICES": "",  # a process that has begun to use a GPU cannot be forked
        "PYTHONPATH": os.pathsep.join([str(HERE.parents[1]), str(HERE.parent)]),
    }  # fmt: skip
    with subprocess.Popen(
        [sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment, text=True
    ) as process:
        yield Server(process)
        assert process.stdin
        process.stdin.close()


def _serve() -> None:
    import torch

    torch.set_num_threads(1)
    _make_cheaper()
    with tempfile.TemporaryDirectory() as folder, Path(os.devnull).open("w") as nowhere, redirect_stdout(nowhere):
        _warm_up(Path(folder))
    gc.collect()
    gc.freeze()
    faults = ctypes.CDLL(os.environ["FAULTS"])
    for line in sys.stdin:
        print(json.dumps(_attempt(faults, **json.loads(line))), flush=True)


def _make_cheaper() -> None:
    """Keep what is the same in all commands; and make what costs time small, for it tells nothing of files."""
    import typer.main

    from resrepro.config.toml_files import shipped_runs
    from resrepro.data.image_files import packing
    from resrepro.data.in_memory import shapes
    from resrepro.evaluation import batch_norm
    from resrepro.runtime import versions
    from resrepro.training import session, step

    few, commit = shapes.generate(num_train=20, num_test=10), versions.commit()
    for module, name, cheaper in (  # patch: raises where a name is no longer there
        (shapes, "generate", lambda: few),
        (packing, "CHUNK", 3),  # images
        (step, "NORMS_BATCHES", 1),
        (batch_norm, "NUM_MINI_BATCHES", 1),
        (versions, "commit", lambda: commit),  # also if somebody edits the sources during the campaign
        (session, "complexity", functools.cache(session.complexity)),
        (typer.main, "get_command", functools.cache(typer.main.get_command)),
    ):
        mock.patch.object(module, name, cheaper).start()
    shipped_runs("shapes")


def _warm_up(folder: Path) -> None:
    """Type each command once: what is made at the first call is then there in all forks."""
    from crash.kinds import KINDS, QUICK, Place
    from resrepro.__main__ import main

    place = Place(server=None, folder=folder / "place", kind="figure")  # type: ignore[arg-type]
    place.write_inputs()
    others = ("list --results-dir {results}", "verify --device cpu --results-dir {results}")
    for command in (KINDS["events"].command, *(KINDS[name].command for name in QUICK), *others):
        sys.argv = ["resrepro", *place.words(command)]
        with suppress(SystemExit):
            main()


def _attempt(faults: Any, folder: str, words: list[str], fault: dict[str, Any]) -> dict[str, Any]:
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(read)
        _be_the_command(faults, folder, words, Fault(**fault), write)
    os.close(write)
    os.set_blocking(read, False)
    text, until, ended = b"", time.monotonic() + TIMEOUT_S, 0
    while not ended:
        if time.monotonic() > until:
            os.kill(pid, signal.SIGKILL)
        ended, status, usage = os.wait4(pid, os.WNOHANG)
        text += _available(read)
        time.sleep(0.002)
    text += _available(read)
    os.close(read)
    return {
        "code": os.waitstatus_to_exitcode(status), "text": text.decode(errors="replace"),
        "operations": faults.faults_count(), "cpu_s": usage.ru_utime + usage.ru_stime,
        "timed_out": time.monotonic() > until,
    }  # fmt: skip


def _available(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, 1 << 20)
    except BlockingIOError:
        return b""


def _be_the_command(faults: Any, folder: str, words: list[str], fault: Fault, output: int) -> None:
    """Become the command in this fork; never returns."""
    from resrepro.__main__ import main

    code: Any = 1
    try:
        for descriptor in (1, 2):
            os.dup2(output, descriptor)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        sys.argv = ["resrepro", *words]
        trace = os.open(fault.trace, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND, 0o666) if fault.trace else -1
        faults.faults_arm(os.fsencode(folder), MODES.index(fault.mode), ctypes.c_long(fault.at), trace)
        if fault.cpu_s:
            signal.setitimer(signal.ITIMER_PROF, fault.cpu_s)  # nothing handles SIGPROF: it kills
        main()
        code = 0
    except SystemExit as end:
        code = end.code or 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code if isinstance(code, int) else 1)


if __name__ == "__main__":
    _serve()
