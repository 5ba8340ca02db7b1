"""Read what torchrun tells each process. Imports no torch."""

from __future__ import annotations

import os

from resrepro.errors import UserError

VARIABLES = {"rank": "RANK", "size": "WORLD_SIZE", "local_rank": "LOCAL_RANK", "local_size": "LOCAL_WORLD_SIZE"}


def torchrun_numbers() -> dict[str, int]:
    """Return the numbers that torchrun sets, all four; without torchrun none, for the process is alone.

    Raises:
        UserError: one of them is no number.
    """
    if not all(variable in os.environ for variable in VARIABLES.values()):
        return {}
    for variable in VARIABLES.values():
        if not os.environ[variable].isdecimal():
            raise UserError(f"{variable}={os.environ[variable]}: expected a number, as torchrun sets it; or unset it")
    return {name: int(os.environ[variable]) for name, variable in VARIABLES.items()}


def is_silent() -> bool:
    """Tell whether another process of torchrun says what this one would, for each reads the same command."""
    try:
        return torchrun_numbers().get("rank", 0) > 0
    except UserError:
        return False
