"""Entry point: a UserError is one line and its exit code, and Ctrl-C ends without a traceback."""

from __future__ import annotations

import errno
import io
import os
import signal
import sys
import warnings
from collections.abc import Callable
from contextlib import suppress
from types import FrameType
from typing import Any

from resrepro.errors import UserError, printable
from resrepro.runtime.machine import busy_cores
from resrepro.runtime.torchrun import is_silent

# How often a thread looks before it sleeps until the others are done, where something else keeps a core busy: with
# OpenMP's own 300,000 a step of two threads then takes ten times as long. On free cores 1,000 would cost a tenth.
SPINS = "1000"
BUSY = 0.5  # cores


def main() -> None:
    """Run the command that was typed."""
    if "OMP_WAIT_POLICY" not in os.environ and busy_cores() > BUSY:
        os.environ.setdefault("GOMP_SPINCOUNT", SPINS)  # read when torch is imported
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # closed, as by `>&-`
            setattr(sys, name, io.StringIO())
    before = signal.getsignal(signal.SIGINT)
    if before is signal.default_int_handler:  # before anything is imported; a shell's background ignores it
        signal.signal(signal.SIGINT, _interrupt)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # what its encoding lacks, such as ASCII a ±
        for name in ("write", "flush"):
            setattr(sys.stdout.buffer, name, _named(getattr(sys.stdout.buffer, name)))
    try:
        _run()
    except KeyboardInterrupt:
        sys.exit(128 + signal.SIGINT)
    finally:
        signal.signal(signal.SIGINT, before)


def _warnings_once() -> Callable[..., str]:
    """Return what makes a line of a warning, without the line of our source; of a repeated one, nothing."""
    said = set[str]()

    def line(message: object, *_: object, **__: object) -> str:
        text = "" if str(message) in said else f"warning: {message}\n"
        said.add(str(message))
        return text

    return line


def _run() -> None:
    warnings.formatwarning = _warnings_once()
    try:
        try:
            from resrepro.cli import app
            from resrepro.cli.usage import call

            code = call(app)
        finally:
            sys.stdout.flush()
    except UserError as error:
        if not is_silent():
            print(f"error: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    except OSError as error:  # such as a full disk behind standard output
        if error.filename is None:
            raise
        if error.errno != errno.EPIPE:
            place = printable(str(error.filename))
            print(f"error: {place}: {error.strerror or error}; mend that and type the command again", file=sys.stderr)
        with suppress(OSError, ValueError):  # what is left of the output must not fail again
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    sys.exit(code)


def _named(call: Callable[..., Any]) -> Callable[..., Any]:
    """Return what also names standard output in an OSError, as that of opening a file names the file."""

    def call_named(*arguments: Any) -> Any:
        try:
            return call(*arguments)
        except OSError as error:
            error.filename = "standard output"
            raise

    return call_named


def _interrupt(number: int, frame: FrameType | None) -> None:
    """Raise KeyboardInterrupt; but end at once during an import, in which an exception may be lost, or printed."""
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)
        frame = frame.f_back
    raise KeyboardInterrupt


if __name__ == "__main__":
    main()
