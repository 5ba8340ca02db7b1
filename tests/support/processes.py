"""Commands in this process and in processes of their own."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from resrepro.__main__ import main
from resrepro.data.in_memory import shapes
from resrepro.evaluation import batch_norm, constructed
from resrepro.training import step


def command(*words: object) -> list[str]:
    """Return the command line for a process of its own."""
    return [sys.executable, "-m", "resrepro", *map(str, words)]


WITH_FEW_IMAGES = (  # the program `resrepro`, after `few_images`
    f"import sys\nsys.path.insert(0, {str(Path(__file__).parents[1])!r})\n"
    "from support.processes import few_images\nfrom resrepro.__main__ import main\nfew_images()\nmain()\n"
)


def command_with_few_images(*words: object) -> list[str]:
    """Return the command line for a process of its own that calls `few_images` first."""
    return [sys.executable, "-c", WITH_FEW_IMAGES, *map(str, words)]


def run(*words: object, code: int = 0) -> str:
    """Run a command in this process; return what it prints."""
    printed = io.StringIO()
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(printed), redirect_stderr(printed):
        patch.setattr(sys, "argv", ["resrepro", *map(str, words)])
        with pytest.raises(SystemExit) as end:
            main()
    assert (end.value.code or 0) == code, printed.getvalue()
    return printed.getvalue()


def json_of(module: str, *words: str, **environment: str) -> dict[str, Any]:
    """Run a module of the tests in a process of its own; return the JSON of its last line."""
    tests = Path(__file__).parents[1]
    path = os.pathsep.join((str(tests), str(tests.parent)))
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", module, *words],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": path, **environment},
    )
    assert done.returncode == 0, done.stderr[-2000:]
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def error(*words: object) -> str:
    """Return the one line of a command that fails."""
    lines = [line for line in run(*words, code=1).splitlines() if line.startswith("error: ")]
    assert len(lines) == 1
    return lines[0].removeprefix("error: ")


def few_images() -> None:
    """Draw 500 training and 100 test images in place of the 22,000 of `shapes`, in the rest of this process.

    BN's statistics are averaged over 3 mini-batches, not over 100; norms of gradients are of one, not of 4.
    """
    shapes.generate = partial(shapes.generate, num_train=500, num_test=100)  # type: ignore[assignment]
    batch_norm.NUM_MINI_BATCHES = constructed.NUM_BATCHES = 3
    step.NORMS_BATCHES = 1
