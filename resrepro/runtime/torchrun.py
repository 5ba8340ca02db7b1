"""Read what torchrun tells each process. Imports no torch."""

from __future__ import annotations

import os

VARIABLES = {"rank": "RANK", "size": "WORLD_SIZE", "local_rank": "LOCAL_RANK", "local_size": "LOCAL_WORLD_SIZE"}


def torchrun_numbers() -> dict[str, int]:
    """Return the numbers that torchrun sets, all four; without torchrun none, for the process is alone."""
    if not all(variable in os.environ for variable in VARIABLES.values()):
        return {}
    return {name: int(os.environ[variable]) for name, variable in VARIABLES.items()}
