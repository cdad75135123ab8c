"""Installs Debian's packages, for those who may: root, on a system with apt."""

import os
import shutil

from labelpod import process
from labelpod.console import say
from labelpod.errors import DeployError


def usable() -> bool:
    """Whether packages can be installed here by this user."""
    return os.geteuid() == 0 and shutil.which("apt-get") is not None


def install(*packages: str) -> None:
    """Install from the machine's own sources, after an update; each command is shown.

    Raises:
        DeployError: apt-get fails; in its own last words.

    """
    for arguments in (("update", "-q"), ("install", "-qy", "--no-install-recommends", *packages)):
        command = ["apt-get", *arguments]
        say(f"$ {' '.join(command)}")
        environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        result = process.run(*command, env=environment)
        if result.returncode != 0:
            raise DeployError(
                f"{' '.join(command[:2])}: {process.last_line(result.stderr)}", "fix apt, then run this again"
            )
