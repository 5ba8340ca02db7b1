"""Say what the machine lets this process use: cores and memory, and how busy other programs keep the cores.

Imports no torch: how its threads wait is decided before.
"""

from __future__ import annotations

import math
import os
import platform
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

LOADAVG = Path("/proc/loadavg")
CPUINFO = Path("/proc/cpuinfo")
MEMINFO = Path("/proc/meminfo")
OWN_GROUPS = Path("/proc/self/cgroup")
GROUPS = Path("/sys/fs/cgroup")
IDLE = 0.1  # cores
NUM_LOOKS = 3
BETWEEN_LOOKS_S = 0.01


def num_cores() -> int:
    """Return the number of cores that this process may use; the limit of a container is rounded up."""
    here = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min([here, *map(math.ceil, _core_limits())])


def available_bytes() -> int | None:
    """Return the memory that this process may still take, bytes; None where the system does not say."""
    lines = _words(MEMINFO)
    here = [int(value) * 1024 for name, value in pairwise(lines) if name == "MemAvailable:"]
    return min([*here, *_memory_limits()], default=None)


def cpu_name() -> str:
    """Return the CPU's name, such as `AMD EPYC (CPU)`."""
    lines = _text(CPUINFO).splitlines()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{names[0] if names else platform.processor() or platform.machine()} (CPU)"


def busy_cores() -> float:
    """Return how many cores others have kept busy over the last minute, and still do.

    The average over the minute alone would count a command that has just ended, such as the user's last.
    """
    if not hasattr(os, "getloadavg"):
        return 0.0
    load = os.getloadavg()[0]
    for _ in range(NUM_LOOKS):
        if load < IDLE:
            break
        load = min(load, _others_now())
        time.sleep(BETWEEN_LOOKS_S)
    return load


def _others_now() -> float:
    """Return how many other threads run or could run at this moment; infinity where the system does not say."""
    load = _words(LOADAVG)
    return int(load[3].partition("/")[0]) - 1 if load else float("inf")


def _core_limits() -> Iterator[float]:
    """Yield how many cores each control group around this process may use."""
    for group in _groups("cpu"):
        first, second = _words(group / "cpu.cfs_quota_us"), _words(group / "cpu.cfs_period_us")  # version 1
        quota, period = _words(group / "cpu.max") or [*first, *second] or ["max", ""]
        if quota not in ("max", "-1"):
            yield int(quota) / int(period)


def _memory_limits() -> Iterator[int]:
    """Yield the bytes that each control group around this process may still take; cached files give way."""
    for group in _groups("memory"):
        limit = _words(group / "memory.max") or _words(group / "memory.limit_in_bytes")
        used = _words(group / "memory.current") or _words(group / "memory.usage_in_bytes")
        if limit and used and limit != ["max"]:
            stat = _words(group / "memory.stat")
            values = dict(zip(stat[::2], map(int, stat[1::2]), strict=True))
            cached = sum(values.get(f"total_{kind}", values.get(kind, 0)) for kind in ("inactive_file", "active_file"))
            yield int(limit[0]) - int(used[0]) + cached


def _groups(controller: str) -> Iterator[Path]:
    """Yield the control groups of Linux that hold this process, version 1 or 2: its own, and those around it.

    A container may see its own group as the root, under another name.
    """
    for line in _text(OWN_GROUPS).splitlines():
        _, controllers, path = line.split(":", 2)
        if not controllers or controller in controllers.split(","):
            root = GROUPS / controller if controllers else GROUPS
            own = root / path.lstrip("/")
            yield from (group for group in (own, *own.parents) if group.is_relative_to(root))


def _words(path: Path) -> list[str]:
    return _text(path).split()


def _text(path: Path) -> str:
    """Return the text of a file of the system; empty where it is not there."""
    try:
        return path.read_text()
    except OSError:
        return ""
