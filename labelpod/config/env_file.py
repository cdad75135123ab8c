"""Writes `.env`: made from the example on the first run, secrets generated, mode 0600."""

import io
import os
import re
import secrets
from pathlib import Path

from dotenv import dotenv_values

from labelpod import files
from labelpod.config import settings
from labelpod.console import say
from labelpod.errors import DeployError

# Made here; the passwords of other people's servers are not.
GENERATED = (f"{settings.PREFIX}LABEL_SERVER_TOKEN", f"{settings.PREFIX}ORTHANC_PASSWORD")
# compose.yaml knows by it whether there is a `.env`.
_ALWAYS = f"{settings.PREFIX}ORTHANC_USERNAME"


def ensure(path: Path) -> bool:
    """Create `.env` if it does not exist, and fill in the secrets that are empty; other lines stay.

    Returns:
        Whether the file was written.

    """
    before = _read(path)
    after = _completed(_prefixed(path, settings.example() if before is None else before))
    if after == before:
        return False
    return files.write(path, after.encode(), 0o600)


def put(path: Path, name: str, value: str) -> None:
    """Give one name of `.env` a value, and say so if it had another; other lines stay."""
    before = _read(path) or ""
    was = dotenv_values(stream=io.StringIO(before), interpolate=False).get(name)
    if was == value:
        return
    after = re.sub(rf"^[ \t]*{name}=.*\n?", "", before, flags=re.MULTILINE)
    files.write(path, f"{after.rstrip()}\n{name}={value}\n".encode(), 0o600)
    if was:
        say(f"{path.name}: {name}={value}; it was {was}")


def _read(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8") if path.exists() else None
    except (OSError, UnicodeDecodeError) as error:
        raise DeployError(f"{path} cannot be read: {error}", "make it a text file of yours") from None


def _prefixed(path: Path, text: str) -> str:
    """The text with our prefix before the names of settings, which had none in older versions."""
    names = "|".join(settings.Settings.model_fields)
    there = set(re.findall(rf"^[ \t]*{settings.PREFIX}({names})=", text, flags=re.MULTILINE))

    def renamed(found: re.Match[str]) -> str:
        # Of two lines for one setting the one with the prefix counts.
        return f"# {found[0]}" if found[2] in there else f"{found[1]}{settings.PREFIX}{found[2]}"

    after = re.sub(rf"^([ \t]*)({names})(?==)", renamed, text, flags=re.MULTILINE)
    if after != text:
        files.write(path.with_name(f"{path.name}.before-prefix"), text.encode(), 0o600)
        say(f"{path.name}: names of settings begin with {settings.PREFIX} now; the old file is kept beside it")
    return after


def _completed(text: str) -> str:
    present = dotenv_values(stream=io.StringIO(text), interpolate=False)
    for name in GENERATED:
        if not (present.get(name) or os.environ.get(name)):
            text = _with(text, f"{name}={secrets.token_urlsafe(24)}")
    if _ALWAYS not in present:
        default = settings.Settings.model_fields[_ALWAYS.removeprefix(settings.PREFIX)].default
        text = _with(text, f"{_ALWAYS}={default}")
    return text


def _with(text: str, line: str) -> str:
    """The text with this line in the place of the empty one, or at its end."""
    name = line.partition("=")[0]
    text, replaced = re.subn(rf"^[ \t]*{name}=[ \t]*(?:''|\"\")?[ \t]*$", line, text, count=1, flags=re.MULTILINE)
    return text if replaced else f"{text.rstrip()}\n{line}\n"
