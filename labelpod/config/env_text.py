"""Reads the text of `.env` as Docker Compose reads it, or refuses the line that the two would read differently."""

import io
import re
from pathlib import Path

from dotenv.parser import parse_stream

from labelpod.errors import DeployError

# Patterns of what may stand before a key and between it and its value.
BEFORE_KEY = r"[ \t]*(?:export +)?"
EQUALS = r"[ \t]*="
_LINE = re.compile(rf"{BEFORE_KEY}[A-Za-z_]\w*{EQUALS}[ \t]*(?P<value>.*)")


def read(path: Path) -> dict[str, str]:
    """What `.env` says; nothing if there is none. Of two lines for a key the last one counts.

    Raises:
        DeployError: it cannot be read, or a line is not what Compose takes it for; with its number.

    """
    return parse(text_of(path), path.name) if path.exists() else {}


def text_of(path: Path) -> str:
    """The text with line feeds between lines, without the mark that Windows puts first.

    Raises:
        DeployError: it is not text, or cannot be read.

    """
    try:
        text = path.read_bytes().decode("utf-8-sig").replace("\r\n", "\n")
    except (OSError, UnicodeDecodeError) as error:
        raise DeployError(f"{path.name} cannot be read: {error}", "make it a text file, in UTF-8") from None
    for number, line in enumerate(text.split("\n"), start=1):
        if "\r" in line:  # to Compose all of it is one line
            raise _refused(
                path.name, number, "ends in a carriage return without a line feed", "save it with line feeds"
            )
    return text


def parse(text: str, file: str) -> dict[str, str]:
    """Keys and values of such a text.

    Raises:
        DeployError: a line is not what Compose takes it for; with its number, and the file's name.

    """
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip() and not line.lstrip().startswith("#"):
            _check(line, file, number)
    values = {}
    for binding in parse_stream(io.StringIO(text, newline="\n")):
        if binding.error:  # a quote that is not closed: dotenv would leave the setting out
            raise _malformed(file, binding.original.line)
        if binding.key:
            values[binding.key] = binding.value or ""
    return values


def _check(line: str, file: str, number: int) -> None:
    found = _LINE.fullmatch(line)
    if not found:
        raise _malformed(file, number)
    value = found["value"]
    quoted = value[:1] in ("'", '"')
    # Compose begins a comment with a blank and # only, and takes these for part of the value.
    if value.startswith("#") or (not quoted and "\t#" in value):
        raise _refused(
            file, number, "has a # that may be a comment or not", "put the value in quotes, or a blank before #"
        )


def _malformed(file: str, number: int) -> DeployError:
    return _refused(file, number, "is not KEY=value", "correct the line or put # before it")


def _refused(file: str, number: int, what: str, remedy: str) -> DeployError:
    # Without the line itself, which may hold a password.
    return DeployError(f"{file} line {number} {what}", remedy)
