"""Other programs count as long as they run, and no longer."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from resrepro.runtime import load


@pytest.mark.parametrize(
    ("average", "looks", "expected"),
    [
        (1.4, ["3/80", "4/80", "3/80"], 1.4),
        (1.4, ["2/80", "2/80", "3/80"], 1.0),
        (1.4, ["2/80", "1/80", "2/80"], 0.0),  # what was busy has ended
        (0.05, ["9/80", "9/80", "9/80"], 0.05),  # it begins this moment
        (1.4, None, 1.4),  # not Linux
    ],
)
def test_cores_are_busy_that_were_and_still_are(
    monkeypatch: pytest.MonkeyPatch, average: float, looks: list[str] | None, expected: float
) -> None:
    class Loadavg:
        def read_text(self) -> str:
            if looks is None:
                raise FileNotFoundError
            return f"{average} 0.5 0.5 {looks.pop(0)} 4711\n"

    monkeypatch.setattr(os, "getloadavg", lambda: (average, 0.5, 0.5))
    monkeypatch.setattr(load, "LOADAVG", Loadavg())
    assert load.busy_cores() == expected


@pytest.mark.skipif(not Path("/proc/loadavg").exists(), reason="there is no /proc")
def test_a_program_that_runs_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "getloadavg", lambda: (1.0, 1.0, 1.0))
    other = subprocess.Popen([sys.executable, "-c", "print(flush=True)\nwhile True: pass"], stdout=subprocess.PIPE)
    try:
        assert other.stdout and other.stdout.readline()
        assert load.busy_cores() == 1.0
    finally:
        other.kill()
        other.wait()
        other.stdout.close()


def test_it_imports_no_torch() -> None:
    program = "import sys, resrepro.runtime.load; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program]).returncode == 0
