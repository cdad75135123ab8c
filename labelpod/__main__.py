"""`python -m labelpod`, and the command labelpod."""

# Ctrl-C waits until the command line is there to answer it, in `main`. This part of `signal` is built in: loading the
# whole takes long enough for a Ctrl-C.
import _signal  # type: ignore[import-not-found]  # typeshed leaves it out

_signal.pthread_sigmask(_signal.SIG_BLOCK, [_signal.SIGINT])

import os  # noqa: E402
import sys  # noqa: E402

from labelpod.cli import main  # noqa: E402
from labelpod.launcher import STARTED_IN  # noqa: E402


def run() -> None:
    """Run the command line under the name of the command, and exit with its code."""
    sys.exit(main(name="labelpod"))


if __name__ == "__main__":
    os.chdir(os.environ.pop(STARTED_IN, "."))  # deploy.py has left it
    sys.exit(main())
