"""Commands in this process and in processes of their own."""

from __future__ import annotations

import io
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout

import pytest

from resrepro.__main__ import main
from resrepro.data import loading
from resrepro.data.in_memory import shapes
from resrepro.data.in_memory.images import Images


def command(*words: object) -> list[str]:
    """Return the command line for a process of its own."""
    return [sys.executable, "-m", "resrepro", *map(str, words)]


def run(*words: object, code: int = 0) -> str:
    """Run a command in this process; return what it prints."""
    printed = io.StringIO()
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(printed), redirect_stderr(printed):
        patch.setattr(sys, "argv", ["resrepro", *map(str, words)])
        with pytest.raises(SystemExit) as end:
            main()
    assert (end.value.code or 0) == code, printed.getvalue()
    return printed.getvalue()


def run_apart(*words: object, code: int = 0) -> str:
    """Run a command in a process of its own; return what it prints."""
    done = subprocess.run(command(*words), capture_output=True, text=True)
    assert done.returncode == code, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done.stdout + done.stderr


def error(*words: object) -> str:
    """Return the one line of a command that fails."""
    lines = [line for line in run(*words, code=1).splitlines() if line.startswith("error: ")]
    assert len(lines) == 1
    return lines[0].removeprefix("error: ")


def few_images() -> None:
    """Replace every dataset of this process by 500 training and 100 test images of shapes."""
    few = Images.from_numpy(*shapes.generate(num_train=500, num_test=100), num_classes=10)
    loading.load = lambda *_, **__: few  # type: ignore[assignment]
