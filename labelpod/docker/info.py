"""What Docker Engine says of itself and of the images that it has."""

import functools
import json
from contextlib import suppress
from typing import Any

from labelpod import process

_SECONDS = 3.5


@functools.cache
def docker_info() -> dict[str, Any]:
    """What `docker info` says, asked once; why the engine does not answer stands under "problem"."""
    answer = process.run("docker", "info", "--format", "{{json .}}", seconds=_SECONDS)
    info: dict[str, Any] = {}
    with suppress(ValueError):
        info = json.loads(answer.stdout)
    return info | {"problem": " ".join(info.get("ServerErrors") or [process.why(answer)])}


def image_names() -> frozenset[str]:
    """The images that Docker has, as name:tag; none if it does not answer."""
    command = ["docker", "image", "ls", "--format", "{{.Repository}}:{{.Tag}}"]
    return frozenset(process.run(*command, seconds=_SECONDS).stdout.split())
