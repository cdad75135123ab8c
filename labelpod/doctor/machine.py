"""The machine, as several looks at it need to know it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from labelpod.config.settings import Settings
from labelpod.docker.tags import service_tags


@dataclass(frozen=True)
class Machine:
    """The settings, the stack's folder and name, `docker info`, and the images that Docker has."""

    settings: Settings
    folder: Path
    project: str
    info: dict[str, Any]
    images: frozenset[str]

    @property
    def answers(self) -> bool:
        """Whether Docker answers."""
        return bool(self.info.get("ServerVersion"))

    @property
    def lacking(self) -> Literal["warning", "error"]:
        """How bad it is that images cannot be made."""
        return "warning" if set(service_tags(self.settings)) <= self.images else "error"
