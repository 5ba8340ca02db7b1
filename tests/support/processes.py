"""Commands in this process and in processes of their own."""

from __future__ import annotations

import os
import subprocess
import sys

from resrepro.data import loading
from resrepro.data.in_memory import shapes
from resrepro.data.in_memory.images import Images


def command(*words: object) -> list[str]:
    """The command line, for a process of its own."""
    return [sys.executable, "-m", "resrepro", *map(str, words)]


def run(*words: object, code: int = 0, env: dict[str, str] | None = None) -> str:
    done = subprocess.run(
        command(*words), capture_output=True, text=True, env={**os.environ, "COLUMNS": "200", **(env or {})}
    )
    assert done.returncode == code, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done.stdout + done.stderr


def error(*words: object) -> str:
    """The one line of a command that fails."""
    lines = [line for line in run(*words, code=1).splitlines() if line.startswith("error: ")]
    assert len(lines) == 1
    return lines[0]


def few_images() -> None:
    few = Images.from_numpy(*shapes.generate(num_train=500, num_test=100), num_classes=10)
    loading.load = lambda *_, **__: few  # type: ignore[assignment]
