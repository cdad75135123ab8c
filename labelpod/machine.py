"""What is known of this machine, and how a question to one of its programs is asked."""

import functools
import json
import subprocess
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Literal

from labelpod.render import service_tags
from labelpod.settings import Settings

DOCKER_SECONDS = 3.5


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at; an error stops `up`. The remedy is a command or an edit, "" if ok."""

    level: Literal["ok", "warning", "error"]
    subject: str
    message: str
    remedy: str = ""


@dataclass(frozen=True)
class Machine:
    """What several checks need to know: the settings, the stack's name, `docker info`, and the images there are."""

    settings: Settings
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


@functools.cache
def docker_info() -> dict[str, Any]:
    """What `docker info` says, asked once; why the engine does not answer stands under "problem"."""
    answer = run("docker", "info", "--format", "{{json .}}", seconds=DOCKER_SECONDS)
    info: dict[str, Any] = {}
    with suppress(ValueError):
        info = json.loads(answer.stdout)
    return info | {"problem": " ".join(info.get("ServerErrors") or [why(answer)])}


def image_names() -> frozenset[str]:
    """The images that Docker has, as name:tag; none where it does not answer."""
    command = ["docker", "image", "ls", "--format", "{{.Repository}}:{{.Tag}}"]
    return frozenset(run(*command, seconds=DOCKER_SECONDS).stdout.split())


def why(answer: subprocess.CompletedProcess[str]) -> str:
    """The line in which a command says why it failed."""
    lines = [line.strip() for line in answer.stderr.splitlines() if line.strip()]
    telling = [line for line in lines if line.startswith(("E: Failed", "Err"))] or lines[-1:]
    return telling[0] if telling else f"exit status {answer.returncode}"


def run(*command: str, seconds: float) -> subprocess.CompletedProcess[str]:
    """A command's answer; absent and hanging ones answer 127 and 124, as in a shell."""
    try:
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=seconds)
    except OSError as error:
        return subprocess.CompletedProcess(command, 127, "", str(error.strerror))
    except subprocess.TimeoutExpired:
        return subprocess.CompletedProcess(command, 124, "", f"no answer within {seconds} s")
