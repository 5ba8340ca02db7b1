"""Entry point: a UserError is one line and exit code 1, Ctrl-C is 130."""

from __future__ import annotations

import sys

from resrepro.errors import UserError


def main() -> None:
    from resrepro.cli import app

    try:
        app()
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        sys.exit(130)


if __name__ == "__main__":
    main()
