"""Writes `.env`: made from the example on the first run, secrets generated, mode 0600."""

import io
import os
import re
import secrets
from pathlib import Path

from dotenv import dotenv_values

from labelpod import atomic, settings
from labelpod.errors import DeployError

# Made here; the passwords of other people's servers are not.
GENERATED = ("LABEL_SERVER_TOKEN", "ORTHANC_PASSWORD")
# compose.yaml knows by it whether there is a `.env`.
_ALWAYS = "ORTHANC_USERNAME"


def ensure(path: Path) -> bool:
    """Make `.env` where there is none, and fill in the secrets that are empty; other lines stay.

    Returns:
        Whether the file was written.

    """
    try:
        before = path.read_text(encoding="utf-8") if path.exists() else None
    except (OSError, UnicodeDecodeError) as error:
        raise DeployError(f"{path} cannot be read: {error}", "make it a text file of yours") from None
    after = _completed(settings.example() if before is None else before)
    if after == before:
        return False
    return atomic.write(path, after.encode(), 0o600)


def _completed(text: str) -> str:
    present = dotenv_values(stream=io.StringIO(text), interpolate=False)
    for name in GENERATED:
        if not (present.get(name) or os.environ.get(name)):
            text = _with(text, f"{name}={secrets.token_urlsafe(24)}")
    if _ALWAYS not in present:
        text = _with(text, f"{_ALWAYS}={settings.Settings.model_fields[_ALWAYS].default}")
    return text


def _with(text: str, line: str) -> str:
    """The text with this line in the place of the empty one, or at its end."""
    name = line.partition("=")[0]
    text, replaced = re.subn(rf"^{name}=[ \t]*(?:''|\"\")?[ \t]*$", line, text, count=1, flags=re.MULTILINE)
    return text if replaced else f"{text.rstrip()}\n{line}\n"
