"""Which services run on other files than those that are there now; Compose sees no change in a file.

What counts is the content that a service started with. It is recorded in `build/started.json`; without a record, as
after a restart that was not ours, the times decide.
"""

import hashlib
import json
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from python_on_whales import Container

from labelpod import files
from labelpod.errors import DeployError
from labelpod.project import Project

Files = Mapping[str, tuple[Path, ...]]


def outdated(project: Project, read: Files, containers: Mapping[str, Container]) -> list[str]:
    """The running services that started with other files.

    Args:
        project: whose record it is.
        read: what each service reads when it starts, whether it is there or not.
        containers: by service.

    """
    known = _known(project)
    return [
        name
        for name, container in containers.items()
        if name in read and (start := _start(container)) and _changed(known.get(name), start, read[name])
    ]


def record(project: Project, read: Files, containers: Mapping[str, Container]) -> None:
    """Note with which content the services that run now have started."""
    started = {
        name: [start, _digest(read[name])]
        for name, container in containers.items()
        if name in read and (start := _start(container))
    }
    with suppress(DeployError):  # without it the times decide
        files.write(project.started_record, json.dumps(started, indent=2).encode(), 0o644)


def _known(project: Project) -> dict[str, object]:
    try:
        return dict(json.loads(project.started_record.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return {}


def _start(container: Container) -> float:
    """When a container started, in seconds; 0 if it does not run."""
    state = container.state
    return state.started_at.timestamp() if state.running and state.started_at else 0


def _changed(noted: object, start: float, read: tuple[Path, ...]) -> bool:
    if isinstance(noted, list) and noted[:1] == [start]:
        return noted != [start, _digest(read)]
    return any(file.stat().st_mtime > start for file in read if file.exists())


def _digest(read: tuple[Path, ...]) -> str:
    digest = hashlib.sha256()
    for file in read:
        content = hashlib.sha256(file.read_bytes()).hexdigest() if file.exists() else ""
        digest.update(f"{file.name}={content}\n".encode())
    return digest.hexdigest()
