"""`python -m labelpod`, and the command labelpod."""

import sys

from labelpod.cli import main


def run() -> None:
    """Run the command line, and exit with its code."""
    sys.exit(main())


if __name__ == "__main__":
    run()
