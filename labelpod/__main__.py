"""`python -m labelpod`, and the command labelpod."""

import os
import sys

from labelpod.cli import main


def run() -> None:
    """Run the command line under the name of the command, and exit with its code."""
    sys.exit(main(name="labelpod"))


if __name__ == "__main__":
    os.chdir(os.environ.pop("LABELPOD_STARTED_IN", "."))  # deploy.py has left it
    sys.exit(main())
