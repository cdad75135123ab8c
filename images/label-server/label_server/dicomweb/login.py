"""The label server's login at the DICOMweb server.

The password is in a file and in no environment, which every training and other child inherits; start_server puts it
there. Each process that needs it reads it itself.
"""

import os
from collections.abc import Mapping
from pathlib import Path


def read(environ: Mapping[str, str] = os.environ) -> tuple[str, str]:
    """User and password, "" for none.

    Raises:
        OSError: the file that DICOMWEB_PASSWORD_FILE names cannot be read.

    """
    file = environ.get("DICOMWEB_PASSWORD_FILE", "")
    password = Path(file).read_text(encoding="utf-8").rstrip("\n") if file else ""
    return environ.get("DICOMWEB_USERNAME", ""), password
