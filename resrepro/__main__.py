"""Entry point: a UserError is one line and exit code 1."""

from __future__ import annotations

import os
import sys

from resrepro.errors import UserError


def main() -> None:
    from resrepro.cli import app

    try:
        app()
    except UserError as error:
        if os.environ.get("RANK", "0") == "0":  # each process of torchrun reads the same command
            print(f"error: {error}", file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    main()
