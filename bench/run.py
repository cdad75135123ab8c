#!/usr/bin/env python3
"""Measures the stack beside what its users have today, on this machine, and writes a table and a plot.

Type `python3 bench/run.py`, after `python3 deploy.py test --yes unit` once for the packages; it takes an hour.
Every figure is taken in the same run as the one that it is compared with. `bench/run.py PART...` measures some parts
again, after an interruption for instance. `--smoke` runs all of it in tiny sizes. `--gpu FILE` takes up what
bench/gpu.sh measured on a machine with a GPU.
"""

import os
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PYTHON = ROOT / ".venv" / "bin" / "python"

os.chdir(ROOT)
os.execv(PYTHON, [str(PYTHON), "-m", "bench.measure", *sys.argv[1:]])
