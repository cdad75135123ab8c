#!/usr/bin/env python3
"""Starts labelpod, if this Python can run it; any Python since 2.7 can read this file as far as being refused."""

import os
import sys

OLDEST, NEWEST = (3, 11), (3, 13)

if __name__ == "__main__":
    refused = "is too old" if sys.version_info < OLDEST else ""
    if sys.version_info[:2] > NEWEST:
        refused = "has not been tried"
    if refused:
        version = sys.version.split()[0]
        sys.exit("Error: Python " + version + " " + refused + "\n       run this with Python 3.11, 3.12 or 3.13")
    if os.name != "posix":
        sys.exit("Error: this needs Linux\n       on Windows run it in WSL2, see docs/machines.md")

    import signal

    # Ctrl-C waits until there is somebody who can answer it; the driver, too, begins with it held back.
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    # Python leaves the script's folder out under PYTHONSAFEPATH.
    sys.path.insert(0, os.path.dirname(os.path.realpath(__file__)))  # noqa: PTH120, pathlib is not in every Python
    from labelpod import launcher

    sys.exit(launcher.start(sys.argv[1:]))
