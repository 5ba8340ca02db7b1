"""Entry point: a UserError is one line and exit code 1."""

from __future__ import annotations

import os
import sys

from resrepro.errors import UserError


def main() -> None:
    from resrepro import cli, cli_data, cli_evaluate, cli_nets, cli_results  # noqa: F401 (they add their commands)
    from resrepro.options import app

    try:
        app()
    except UserError as error:
        if os.environ.get("RANK", "0") == "0":  # each process of torchrun reads the same command
            print(f"error: {error}", file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    main()
