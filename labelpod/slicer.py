"""A script for 3D Slicer that sets up the MONAI Label module for this label server and connects."""

from pathlib import Path

import labelpod_common
from labelpod import files, render
from labelpod.config import addresses
from labelpod.config.settings import Settings
from labelpod.errors import DeployError


def script(url: str) -> str:
    """The script's text, for the label server's URL with the token of whoever is to use it."""
    return render.text("slicer_connect.py", {"url": url}, Path(labelpod_common.__file__).parent)


def write(values: Settings, path: Path) -> None:
    """Write the script for admin; only its owner can read the token in it.

    Raises:
        DeployError: there is no token yet, or the file cannot be written.

    """
    if not values.LABEL_SERVER_TOKEN:
        raise DeployError("there is no label server to connect to yet", "python3 deploy.py up")
    url = addresses.label_server(values, values.LABEL_SERVER_TOKEN.get_secret_value())
    files.write(path, script(url).encode(), 0o600)
