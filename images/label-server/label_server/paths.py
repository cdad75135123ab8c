"""Where things are: in the image, and on the volumes that the environment names."""

import os
import sys
from pathlib import Path

SAMPLE_APPS = Path(sys.prefix, "monailabel", "sample-apps")
VIEWER = Path("/opt/labelpod/ohif")


def workspace() -> Path:
    """Where this label server works."""
    return Path(os.environ.get("WORKSPACE", "/workspace"))


def shared() -> Path:
    """What it has in common with others; the workspace of a server by itself."""
    return Path(os.environ.get("SHARED") or workspace())


def lasting() -> Path:
    """What it alone writes, and what lasts longer than it; the workspace, if that does."""
    return Path(os.environ.get("LASTING") or workspace())
