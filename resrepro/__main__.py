"""Entry point: a UserError is one line and exit code 1."""

from __future__ import annotations

import sys

from resrepro.errors import UserError


def main() -> None:
    from resrepro import cli, cli_data, cli_nets, cli_results  # noqa: F401 (they add their commands)
    from resrepro.options import app

    try:
        app()
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    main()
