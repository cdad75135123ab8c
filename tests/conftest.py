"""What several tiers need: the project's folder, the data beside it, and a copy of the project to run things in."""

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from labelpod.config.settings import PREFIX, Settings

ROOT = Path(__file__).resolve().parent.parent
DATA = ROOT.parent / "shared" / "data"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--plain-upstream",
        action="store_true",
        help="run tests/stack/test_faults.py against MONAI Label as it ships: each test must fail there",
    )


@pytest.fixture(scope="session")
def data() -> Path:
    """Real and hostile DICOM, which is not part of the project."""
    if not DATA.is_dir():
        pytest.skip("the DICOM test data is absent: ../shared/data")
    return DATA


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def eventually(check, seconds: float, what: str) -> Any:
    """Ask until the answer is true; fail after `seconds` with the last answer."""
    deadline = time.monotonic() + seconds
    while True:
        answer = check()
        if answer:
            return answer
        assert time.monotonic() < deadline, f"{what}: not within {seconds} s, last answer {answer!r}"
        time.sleep(0.2)


def prefixed(environment: dict[str, str]) -> dict[str, str]:
    """An environment in which settings have their prefix."""
    return {PREFIX + name if name in Settings.model_fields else name: value for name, value in environment.items()}


@dataclass
class Clone:
    """A copy of the project, with ports, containers and volumes of its own."""

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
        ports = {name: str(free_port()) for name in ("LABEL_SERVER_PORT", "ORTHANC_PORT", "DICOM_PORT")}
        fixed = {"COMPOSE_PROJECT_NAME": project, "DEVICE": "cpu", "WEIGHTS_WAIT": "0"}
        # pytest-docker has put the settings of another clone into this process's environment.
        own = {key: value for key, value in os.environ.items() if not key.startswith(PREFIX)}
        return cls(folder, project, own | prefixed(ports | fixed))

    def cli(self, *arguments: str, stdin: str | None = None, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run deploy.py as a user does, without a terminal."""
        return subprocess.run(
            [sys.executable, "deploy.py", *arguments],
            cwd=self.root,
            env=self.environment | prefixed(environment),
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
        return json.loads(self.done("status", "--json"))

    def compose(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run Compose as a user does who does without deploy.py."""
        return subprocess.run(
            ["docker", "compose", *arguments],
            cwd=self.root,
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
        )

    def run_in(self, service: str, *command: str) -> str:
        """Run a command inside a service's container."""
        result = self.compose("exec", "-T", service, *command)
        assert result.returncode == 0, result.stdout + result.stderr
        return result.stdout


@pytest.fixture(scope="session")
def engine() -> None:
    """Docker answers; `deploy.py test --yes` sees to that."""
    if subprocess.run(["docker", "info"], capture_output=True, check=False).returncode != 0:
        pytest.skip("no Docker engine answers: `python3 deploy.py up --yes` installs one")
