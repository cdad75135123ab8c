"""`python -m labelpod`, and the command labelpod."""

import os
import signal
import sys

# Ctrl-C waits until the command line is there to answer it, in `main`.
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])

from labelpod.cli import main  # noqa: E402
from labelpod.launcher import STARTED_IN  # noqa: E402


def run() -> None:
    """Run the command line under the name of the command, and exit with its code."""
    sys.exit(main(name="labelpod"))


if __name__ == "__main__":
    os.chdir(os.environ.pop(STARTED_IN, "."))  # deploy.py has left it
    sys.exit(main())
