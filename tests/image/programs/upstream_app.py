"""Upstream's radiology app in the place of ours."""

import runpy
import sys

FOLDER = "/opt/venv/monailabel/sample-apps/radiology"
sys.path.insert(0, FOLDER)
globals().update(runpy.run_path(f"{FOLDER}/main.py"))
