"""Runs programs beside this file, each in a process of its own that MONAI Label is loaded in; says which were done."""

import os
import runpy
import sys
from pathlib import Path

import deepgrow_tasks  # noqa: F401, what takes longest of each program

os.dup2(sys.stdout.fileno(), sys.stderr.fileno())  # what went wrong is told where it happened
for name in sys.argv[1:]:
    sys.stdout.flush()
    child = os.fork()
    if not child:
        runpy.run_path(str(Path(__file__).with_name(f"{name}.py")), run_name="__main__")
        sys.exit()
    _, status = os.waitpid(child, 0)
    print(f"{name}: {'failed' if status else 'done'}")
