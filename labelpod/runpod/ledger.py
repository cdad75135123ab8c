"""Which pods this machine has rented: for the bill of those that are gone. Nothing else is taken from here."""

import json
from pathlib import Path
from typing import Any

from labelpod import files


def read(file: Path) -> dict[str, dict[str, Any]]:
    """Pod id -> what it was; empty if the file cannot be read."""
    try:
        return dict(json.loads(file.read_text(encoding="utf-8"))["pods"])
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def add(pod: dict[str, Any], file: Path) -> None:
    """Remember a pod."""
    network = (pod.get("mounts") or {}).get("network") or []
    entry = {
        "name": pod["name"],
        "gpu": (pod.get("gpu") or {}).get("id"),
        "created": pod["createdAt"],
        "volume": network[0]["volumeId"] if network else None,
    }
    with files.locked(file.with_suffix(".lock")):
        known = read(file) | {pod["id"]: entry}
        files.write(file, json.dumps({"pods": known}, indent=2).encode(), 0o600)
