"""Writes `.env`: made from the example on the first run, secrets generated, mode 0600."""

import os
import re
import secrets
from pathlib import Path

from labelpod import files
from labelpod.config import env_text, settings, settings_text
from labelpod.console import say

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
    after = _completed(_prefixed(path, settings_text.example() if before is None else before), path.name)
    if after == before:
        return False
    return files.write(path, after.encode(), 0o600)


def is_complete(path: Path) -> bool:
    """Whether Compose finds in it what compose.yaml cannot do without."""
    return _ALWAYS in env_text.read(path)


def put(path: Path, name: str, value: str) -> None:
    """Give one name of `.env` a value, and say so if it had another; other lines stay."""
    before = _read(path) or ""
    was = env_text.parse(before, path.name).get(name)
    if was == value:
        return
    after = re.sub(rf"^{env_text.BEFORE_KEY}{name}{env_text.EQUALS}.*\n?", "", before, flags=re.MULTILINE)
    files.write(path, f"{after.rstrip()}\n{name}={value}\n".encode(), 0o600)
    if was:
        say(f"{path.name}: {name}={value}; it was {was}")


def _read(path: Path) -> str | None:
    return env_text.text_of(path) if path.exists() else None


def _prefixed(path: Path, text: str) -> str:
    """The text with our prefix before the names of settings, which had none in older versions."""
    names = "|".join(settings.Settings.model_fields)
    key = env_text.BEFORE_KEY
    there = set(re.findall(rf"^{key}{settings.PREFIX}({names}){env_text.EQUALS}", text, flags=re.MULTILINE))

    def renamed(found: re.Match[str]) -> str:
        # Of two lines for one setting the one with the prefix counts.
        return f"# {found[0]}" if found[2] in there else f"{found[1]}{settings.PREFIX}{found[2]}"

    after = re.sub(rf"^({key})({names})(?={env_text.EQUALS})", renamed, text, flags=re.MULTILINE)
    if after != text:
        files.write(path.with_name(f"{path.name}.before-prefix"), text.encode(), 0o600)
        say(f"{path.name}: names of settings begin with {settings.PREFIX} now; the old file is kept beside it")
    return after


def _completed(text: str, file: str) -> str:
    present = env_text.parse(text, file)
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
    empty = rf"^{env_text.BEFORE_KEY}{name}{env_text.EQUALS}[ \t]*(?:''|\"\")?[ \t]*$"
    text, replaced = re.subn(empty, line, text, count=1, flags=re.MULTILINE)
    return text if replaced else f"{text.rstrip()}\n{line}\n"
