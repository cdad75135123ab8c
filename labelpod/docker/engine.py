"""Which engine the user means, and which engines this stack does not run on or was not tried on."""

import os
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

from labelpod import process

Words = tuple[str, str]
_SECONDS = 3.5
_LOCAL = ("", "unix:///var/run/docker.sock", "unix:///run/docker.sock")
_HERE = (None, "localhost", "127.0.0.1", "::1")


def chosen(info: dict[str, Any]) -> Words | None:
    """How the user has chosen another engine than this machine's own, and how to undo that; None if they have not."""
    host, context = os.environ.get("DOCKER_HOST", ""), os.environ.get("DOCKER_CONTEXT", "")
    # As Docker has it: the host goes before the context, and the variable before the stored choice.
    if host:
        return None if host in _LOCAL else (f"DOCKER_HOST={host}", "unset DOCKER_HOST")
    if context:
        return None if context == "default" else (f"DOCKER_CONTEXT={context}", "unset DOCKER_CONTEXT")
    stored = (info.get("ClientInfo") or {}).get("Context", "")
    return None if stored in ("", "default") else (f"Docker's context {stored}", "docker context use default")


def unfit(info: dict[str, Any]) -> Words | None:
    """Why this stack does not run on an engine, and what to do; None if nothing is known against it.

    Args:
        info: what the engine says of itself.

    """
    own = "use Docker Engine of this machine, run by root"
    if _is_podman(info):
        return (
            "this docker is Podman, which this stack does not run on",
            "install Docker Engine in the place of podman-docker",
        )
    if any("name=rootless" in option for option in info.get("SecurityOptions") or []):
        undo = choice[1] if (choice := chosen(info)) else "docker context use default"
        return (
            "Docker runs rootless, with other networks and limits of memory; this stack was not tried there",
            f"{own}: {undo}",
        )
    if (choice := chosen(info)) and _host() not in _HERE:
        return f"{choice[0]} is an engine on another machine, which cannot see this folder", f"{own}: {choice[1]}"
    return None


def untried(info: dict[str, Any]) -> Iterator[Words]:
    """What this stack was not tried on: each with what is known of it."""
    if info.get("OperatingSystem") == "Docker Desktop":
        yield (
            "Docker Desktop has not been tried",
            "give it 16 GB of memory and this folder in its settings: docs/machines.md",
        )
    if (machine := str(info.get("Architecture", ""))) not in ("", "x86_64"):
        yield f"{machine} has not been tried: some packages may be missing there", "see docs/machines.md"
    if any("name=selinux" in option for option in info.get("SecurityOptions") or []):
        label = "mkdir -p build secrets && sudo chcon -R -t container_file_t build secrets"
        yield "SELinux keeps containers from files without its label, which has not been tried", label


def _is_podman(info: dict[str, Any]) -> bool:
    """Whether Podman answers, as the program `docker` or behind Docker's own."""
    if "buildahVersion" in (info.get("host") or {}):
        return True
    # Its numbers are small; and only such an engine is asked once more.
    if str(info.get("ServerVersion", "")).split(".", maxsplit=1)[0] not in tuple("3456789"):
        return False
    names = "{{range .Server.Components}}{{.Name}}{{end}}"
    return "Podman" in process.run("docker", "version", "--format", names, seconds=_SECONDS).stdout


def _host() -> str | None:
    """The machine of the chosen engine; None for this one, and where the address is none and nobody answers."""
    try:
        return urlsplit(_address()).hostname
    except ValueError:  # of a bracket that is not closed
        return None


def _address() -> str:
    """Where the chosen engine is; "" if Docker does not know."""
    command = ("docker", "context", "inspect", "--format", "{{.Endpoints.docker.Host}}")
    return os.environ.get("DOCKER_HOST") or process.run(*command, seconds=_SECONDS).stdout.strip()
