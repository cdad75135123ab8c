"""Where things are in the image."""

import sys
from pathlib import Path

SAMPLE_APPS = Path(sys.prefix, "monailabel", "sample-apps")
VIEWER = Path("/opt/labelpod/ohif")
