"""Writes `.env`: made from the example on the first run, secrets generated, mode 0600."""

import io
import os
import re
import secrets
from contextlib import suppress
from pathlib import Path

from dotenv import dotenv_values

from labelpod import settings
from labelpod.errors import DeployError

# Made here; the passwords of other people's servers are not.
GENERATED = ("ORTHANC_PASSWORD",)


def ensure(path: Path) -> bool:
    """Make `.env` where there is none, and fill in the secrets that are empty; other lines stay.

    Returns:
        Whether the file was written.

    """
    try:
        before = path.read_text(encoding="utf-8") if path.exists() else None
    except (OSError, UnicodeDecodeError) as error:
        raise DeployError(f"{path} cannot be read: {error}", "make it a text file of yours") from None
    after = _with_secrets(settings.example() if before is None else before)
    if after == before:
        return False
    draft = path.with_name(f"{path.name}.draft")
    try:
        draft.unlink(missing_ok=True)
        with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
            file.write(after)
        draft.replace(path)
    except OSError as error:
        with suppress(OSError):
            draft.unlink()
        raise DeployError(f"{path} cannot be written: {error.strerror}", "make the folder writable") from None
    return True


def _with_secrets(text: str) -> str:
    present = dotenv_values(stream=io.StringIO(text), interpolate=False)
    for name in GENERATED:
        if present.get(name) or os.environ.get(name):
            continue
        line = f"{name}={secrets.token_urlsafe(24)}"
        text, replaced = re.subn(rf"^{name}=[ \t]*(?:''|\"\")?[ \t]*$", line, text, count=1, flags=re.MULTILINE)
        if not replaced:
            text = f"{text.rstrip()}\n{line}\n"
    return text
