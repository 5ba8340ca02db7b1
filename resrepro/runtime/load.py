"""Say how busy other programs keep the machine. Imports no torch: how its threads wait is decided before."""

from __future__ import annotations

import os
import time
from pathlib import Path

LOADAVG = Path("/proc/loadavg")
IDLE = 0.1  # cores
NUM_LOOKS = 3
BETWEEN_LOOKS_S = 0.01


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
    try:
        return int(LOADAVG.read_text().split()[3].partition("/")[0]) - 1
    except OSError:  # not Linux
        return float("inf")
