"""A copy of the project to run things in, with ports, containers and volumes of its own."""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from labelpod.config.settings import PREFIX, Settings
from tests.support.paths import ROOT
from tests.support.ports import held_port


def prefixed(environment: dict[str, str]) -> dict[str, str]:
    """An environment in which settings have their prefix."""
    return {PREFIX + name if name in Settings.model_fields else name: value for name, value in environment.items()}


@dataclass
class Clone:
    """A copy of the project, with ports, containers and volumes of its own.

    `environment` holds settings by their plain names, and other variables.
    """

    root: Path
    project: str
    environment: dict[str, str] = field(default_factory=dict)

    @classmethod
    def make(cls, folder: Path, project: str) -> "Clone":
        project = f"{project}-{os.getpid()}"  # what a killed run left must not be taken for ours
        listed = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
        files = subprocess.run(listed, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\0")
        for name in filter(None, files):
            if (ROOT / name).exists():
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(ROOT / name, folder / name)
        # The packages are there already: this very process runs on them.
        (folder / ".venv").symlink_to(ROOT / ".venv")
        ports = {name: str(held_port()) for name in ("LABEL_SERVER_PORT", "ORTHANC_PORT", "DICOM_PORT")}
        fixed = {"COMPOSE_PROJECT_NAME": project, "DEVICE": "cpu", "WEIGHTS_WAIT": "0"}
        # pytest-docker has put the settings of another clone into this process's environment.
        own = {key: value for key, value in os.environ.items() if not key.startswith(PREFIX)}
        return cls(folder, project, own | ports | fixed)

    def variables(self, **more: str) -> dict[str, str]:
        """The environment of whatever runs in this copy; settings have their prefix there."""
        return prefixed(self.environment | more)

    def cli(self, *arguments: str, stdin: str | None = None, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run deploy.py as a user does, without a terminal."""
        return subprocess.run(
            [sys.executable, "deploy.py", *arguments],
            cwd=self.root,
            env=self.variables(**environment),
            input=stdin or "",
            capture_output=True,
            text=True,
            check=False,
        )

    def done(self, *arguments: str, **environment: str) -> str:
        """Run deploy.py, expect success, and return what it printed."""
        result = self.cli(*arguments, **environment)
        assert result.returncode == 0, f"deploy.py {' '.join(arguments)}:\n{result.stdout}{result.stderr}"
        return result.stdout

    def status(self) -> dict[str, Any]:
        """What `status` tells programs, whether all services answer or not."""
        result = self.cli("status", "--json")
        assert result.returncode in (0, 1), result.stderr
        return json.loads(result.stdout)

    def ready(self) -> dict[str, str]:
        """The containers that run, and are healthy if they have a health check -> the service of each."""
        ours = f"label=com.docker.compose.project={self.project}"
        shown = '{{.ID}} {{.Label "com.docker.compose.service"}} {{.Status}}'
        command = ["docker", "ps", "--no-trunc", "--filter", ours, "--format", shown]
        told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        bad = ("(Paused)", "(unhealthy)", "(health: starting)")
        found = [line.split(maxsplit=2) for line in told.splitlines()]
        return {name: service for name, service, now in found if now.startswith("Up ") and not now.endswith(bad)}

    def compose(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run Compose as a user does who does without deploy.py."""
        return subprocess.run(
            ["docker", "compose", *arguments],
            cwd=self.root,
            env=self.variables(),
            capture_output=True,
            text=True,
            check=False,
        )

    def run_in(self, service: str, *command: str) -> str:
        """Run a command inside a service's container."""
        result = self.compose("exec", "-T", service, *command)
        assert result.returncode == 0, result.stdout + result.stderr
        return result.stdout

    def run_program(self, service: str, program: Path, *arguments: str) -> str:
        """Run a Python file inside a service's container."""
        result = subprocess.run(
            ["docker", "compose", "exec", "-T", service, "python", "-", *arguments],
            cwd=self.root,
            env=self.variables(),
            input=program.read_text(),
            capture_output=True,
            text=True,
            check=False,
        )
        assert result.returncode == 0, result.stdout + result.stderr
        return result.stdout
