"""Other programs count as long as they run, and no longer."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from resrepro.runtime import machine


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
    monkeypatch.setattr(machine, "LOADAVG", Loadavg())
    assert machine.busy_cores() == expected


@pytest.mark.skipif(not Path("/proc/loadavg").exists(), reason="there is no /proc")
def test_a_program_that_runs_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "getloadavg", lambda: (1.0, 1.0, 1.0))
    other = subprocess.Popen([sys.executable, "-c", "print(flush=True)\nwhile True: pass"], stdout=subprocess.PIPE)
    try:
        assert other.stdout and other.stdout.readline()
        assert machine.busy_cores() == 1.0
    finally:
        other.kill()
        other.wait()
        other.stdout.close()


def test_it_imports_no_torch() -> None:
    program = "import sys, resrepro.runtime.machine; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program]).returncode == 0


def grouped(folder: Path, own: str, files: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a process see these control groups."""
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    (folder / "own").write_text(own)
    (folder / "meminfo").write_text("MemTotal:  9 kB\nMemAvailable:    1000 kB\nHugePages_Total: 0\n")
    monkeypatch.setattr(machine, "GROUPS", folder)
    monkeypatch.setattr(machine, "OWN_GROUPS", folder / "own")
    monkeypatch.setattr(machine, "MEMINFO", folder / "meminfo")
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)


VERSION_2 = {"cpu.max": "150000 100000\n", "memory.max": "600000\n", "memory.current": "500000\n"}
VERSION_2["memory.stat"] = "anon 100000\ninactive_file 50000\nactive_file 20000\n"
VERSION_1 = {"cpu/cpu.cfs_quota_us": "150000\n", "cpu/cpu.cfs_period_us": "100000\n"}
VERSION_1 |= {"memory/memory.limit_in_bytes": "600000\n", "memory/memory.usage_in_bytes": "500000\n"}
VERSION_1["memory/memory.stat"] = "inactive_file 1\ntotal_inactive_file 50000\ntotal_active_file 20000\n"


@pytest.mark.parametrize(
    ("own", "files"),
    [
        ("0::/\n", VERSION_2),
        ("0::/a job/step\n", {f"a job/{name}": text for name, text in VERSION_2.items()}),  # of a group around it
        ("0::/host/only\n", VERSION_2),  # seen from the host; the container sees its own group as the root
        ("0::/\n2:memory:/pod\n1:cpu,cpuacct:/pod\n", VERSION_1),
        ("2:memory:/\n1:cpu,cpuacct:/\n", VERSION_1),
    ],
)
def test_the_limits_of_a_container_count(
    own: str, files: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    grouped(tmp_path, own, files, monkeypatch)
    assert (machine.num_cores(), machine.available_bytes()) == (2, 170_000)


@pytest.mark.parametrize(
    ("own", "files"),
    [
        ("", {}),
        ("0::/\n", {"cpu.max": "max 100000\n", "memory.max": "max\n", "memory.current": "5\n"}),
        (
            "2:memory:/\n1:cpu:/\n",
            {
                "cpu/cpu.cfs_quota_us": "-1\n",
                "cpu/cpu.cfs_period_us": "100000\n",
                "memory/memory.limit_in_bytes": "9223372036854771712\n",
                "memory/memory.usage_in_bytes": "5\n",
            },
        ),
    ],
)
def test_without_limits_the_machine_counts(
    own: str, files: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    grouped(tmp_path, own, files, monkeypatch)
    assert (machine.num_cores(), machine.available_bytes()) == (8, 1_024_000)
    (tmp_path / "meminfo").unlink()  # another system than Linux
    assert machine.available_bytes() in (None, 9223372036854771712 - 5)
