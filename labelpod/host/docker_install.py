"""Docker Engine, Compose and Buildx: installed from the distribution's packages, and started if it is not running."""

import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

from labelpod import files, process
from labelpod.console import confirmed, progress
from labelpod.docker import engine
from labelpod.docker.info import docker_info
from labelpod.errors import DeployError
from labelpod.host import apt, package_sources

_LOG = Path("/var/log/labelpod-dockerd.log")
_START_SECONDS = 45
# Debian 12's own engine (20.10) and Compose (1.29) are too old; Debian 13's run on Debian 12's libc. Debian 13's
# runc and tini do not, so that those two come from Debian 12 as well.
_FROM_TRIXIE = ("docker.io", "containerd", "docker-cli", "docker-compose", "docker-buildx")
_DEBIAN = ("iptables", "runc", "tini", *_FROM_TRIXIE)
_PACKAGES = {
    "bookworm": _DEBIAN,
    "trixie": _DEBIAN,
    "ubuntu": ("docker.io", "docker-compose-v2", "docker-buildx"),
}
_MANUAL = "install Docker Engine 23 or newer with Compose and Buildx: https://docs.docker.com/engine/install/"
_SOURCES = Path("/etc/apt/sources.list.d/labelpod-docker.list")
_PREFERENCES = Path("/etc/apt/preferences.d/labelpod-docker")


def ensure(yes: bool) -> None:
    """An engine with Compose and Buildx answers, or is installed and started.

    Args:
        yes: do not ask.

    Raises:
        DeployError: it is not allowed to, or it cannot be done here.

    """
    info = docker_info()  # one question, whose answer the others who need it get as well
    if unfit := engine.unfit(info):
        raise DeployError(*unfit)
    if _complete(info):
        return
    if choice := engine.chosen(info):
        _require(*choice, str(info["problem"]))
        return
    if not _has_plugins() or not (shutil.which("dockerd") or answers()):
        _install(yes)
    if not answers():
        _start()
    docker_info.cache_clear()


def _require(name: str, undo: str, problem: str) -> None:
    """An engine of the user's own choice answers, and has what is needed: nothing is installed or started for it."""
    if not answers():
        raise DeployError(
            f"{name} does not answer: {problem}", f"start that engine; or, for this machine's own, {undo}"
        )
    if not _has_plugins():
        raise DeployError(f"Compose or Buildx is missing for {name}", _MANUAL)


def answers() -> bool:
    """Whether an engine answers this user."""
    return process.succeeds("docker", "info")


def _complete(info: dict[str, Any]) -> bool:
    plugins = (info.get("ClientInfo") or {}).get("Plugins") or []
    sound = {plugin.get("Name") for plugin in plugins if not plugin.get("Err")}
    return bool(info.get("ServerVersion")) and {"compose", "buildx"} <= sound


def _has_plugins() -> bool:
    return process.succeeds("docker", "compose", "version") and process.succeeds("docker", "buildx", "version")


def _install(yes: bool) -> None:
    packages = _PACKAGES.get(package_sources.distribution(), ())
    if not packages or not shutil.which("apt-get"):
        raise DeployError(
            "Docker Engine is missing and is installed by itself on Debian 12, 13 and Ubuntu only", _MANUAL
        )
    if os.geteuid() != 0:
        raise DeployError("Docker Engine is missing and installing it takes root", "sudo python3 deploy.py up --yes")
    if not confirmed(f"No Docker Engine answers. Install {', '.join(packages)} with apt-get?", yes):
        raise DeployError("Docker Engine is not installed; with --yes it is", "python3 deploy.py up --yes")
    if package_sources.distribution() == "bookworm":
        _offer_trixie()
    with progress("Installing Docker Engine, Compose and Buildx"):
        apt.install(*packages)


def _offer_trixie() -> None:
    """Let apt take the engine's packages from Debian 13, and keep them up to date; nothing else."""
    lines = package_sources.debian_sources("trixie")
    if not lines:
        raise DeployError("apt has no Debian package source", "fix /etc/apt/sources.list.d and run `apt-get update`")
    files.write(_SOURCES, ("# Docker Engine for labelpod.\n" + "\n".join(lines) + "\n").encode(), 0o644)
    preferences = (
        "# Docker Engine for labelpod: these packages from Debian 13, all others from Debian 12.\n"
        "Package: *\nPin: release n=trixie*\nPin-Priority: 50\n\n"
        f"Package: {' '.join(_FROM_TRIXIE)}\nPin: release n=trixie*\nPin-Priority: 990\n"
    )
    files.write(_PREFERENCES, preferences.encode(), 0o644)


def _start() -> None:
    """Start by systemd if it runs; else as a process of its own, which outlives this one."""
    if os.geteuid() != 0:
        raise DeployError(
            "Docker Engine does not answer", "sudo systemctl start docker, or ask for membership in group docker"
        )
    with progress("Starting Docker Engine"):
        if Path("/run/systemd/system").is_dir():
            process.succeeds("systemctl", "start", "docker")
        else:
            with _LOG.open("ab") as log:
                subprocess.Popen(["dockerd"], stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
        if not process.poll(answers, _START_SECONDS, pause=0.5):
            raise DeployError(
                f"Docker Engine does not answer after {_START_SECONDS} s", f"look at {_LOG} or `journalctl -u docker`"
            )
