"""/etc/os-release: which distribution this is, or an image."""

from pathlib import Path


def parse(text: str) -> dict[str, str]:
    """Its entries."""
    lines = [line.partition("=") for line in text.splitlines()]
    return {key: value.strip().strip("\"'") for key, _, value in lines if key}


def of_this_machine() -> dict[str, str]:
    """The entries of this machine's; none if it has no such file."""
    path = Path("/etc/os-release")
    return parse(path.read_text(encoding="utf-8")) if path.exists() else {}
