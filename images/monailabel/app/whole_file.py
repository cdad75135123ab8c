"""Writes a file whole or not at all: a process that is killed leaves no half of it."""

from pathlib import Path


def write(path: Path, text: str) -> None:
    """Put a text in place of what the file says."""
    draft = path.with_name(f"{path.name}.draft")
    draft.write_text(text, encoding="utf-8")
    draft.replace(path)
