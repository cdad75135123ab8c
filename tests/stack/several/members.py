"""The services of a stack of several label servers and Orthancs, one by one."""

import json
import subprocess
from typing import Any

from tests.support.clone import Clone
from tests.support.pacs import Pacs

PASSWORD, TOKEN = "throw-away", "throw-away-token-of-32-letters-0"


def pacs_through_the_door(stack: Clone) -> Pacs:
    return Pacs(f"http://127.0.0.1:{stack.environment['ORTHANC_PORT']}", "labelpod", PASSWORD)


def url(stack: Clone) -> str:
    return f"http://127.0.0.1:{stack.environment['LABEL_SERVER_PORT']}"


def servers(stack: Clone) -> list[str]:
    """The label servers' containers."""
    return stack.compose("ps", "--quiet", "label-server").stdout.split()


def names(stack: Clone) -> set[str]:
    """The names of the label servers' containers."""
    told = stack.compose("ps", "--format", "{{.Name}}", "label-server").stdout
    return set(told.split())


def container(stack: Clone, service: str) -> str:
    """The container of a service; of the label servers one that only annotates."""
    found = stack.compose("ps", "--quiet", service).stdout.split()
    return next(each for each in found if service != "label-server" or role(stack, each) == "annotate")


def state(container: str) -> dict[str, Any]:
    """What Docker knows of a container's process."""
    told = subprocess.run(["docker", "inspect", container], capture_output=True, check=True).stdout
    return dict(json.loads(told)[0]["State"])


def back(container: str, before: str) -> bool:
    """Whether a container was started again since, and is well."""
    now = state(container)
    return now["StartedAt"] != before and now["Running"] and now["Health"]["Status"] == "healthy"


def logged(container: str) -> str:
    told = subprocess.run(["docker", "logs", container], capture_output=True, text=True, check=True)
    return told.stdout + told.stderr


def role(stack: Clone, container: str) -> str:
    """What a label server says of itself."""
    ask = "exec 3<>/dev/tcp/127.0.0.1/8000; printf 'GET /healthz HTTP/1.0\r\n\r\n' >&3; cat <&3"
    told = subprocess.run(["docker", "exec", container, "bash", "-c", ask], capture_output=True, text=True, check=True)
    return told.stdout.lower().partition("labelpod-role: ")[2].split()[0]
