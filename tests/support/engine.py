"""Docker Engine, stopped and started again as a reboot does it; and containers whose process is killed."""

import os
import shutil
import signal
import subprocess
from pathlib import Path

import pytest

from tests.support.waiting import eventually

_OURS = "labelpod-test"
needs_docker = pytest.mark.skipif(not shutil.which("docker"), reason="docker is not installed")


def reboot() -> None:
    """Stop the engine with all its containers, and start it as it was started; skip where that is not ours to do."""
    if os.geteuid() != 0 or Path("/run/systemd/system").is_dir():
        pytest.skip("stops Docker Engine: only as root, and not where systemd runs it")
    if others := [name for name in _projects() if not name.startswith(_OURS)]:
        pytest.skip(f"stops Docker Engine, and other containers run: {', '.join(others)}")
    pids = subprocess.run(["pidof", "dockerd"], capture_output=True, text=True, check=False).stdout.split()
    if len(pids) != 1:
        pytest.skip("stops Docker Engine, and it is not known which process that is")
    command = Path("/proc", pids[0], "cmdline").read_bytes().rstrip(b"\0").split(b"\0")
    os.kill(int(pids[0]), signal.SIGTERM)
    eventually(lambda: not _runs(int(pids[0])), 60, "the engine has stopped")
    subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    eventually(lambda: _docker("version").returncode == 0, 60, "the engine answers again")


def kill(container: str) -> None:
    """Kill a container's process as Linux would.

    `docker kill` does not do: the engine does not start again what somebody has stopped.
    """
    pid, image = _docker("inspect", "--format", "{{.State.Pid}} {{.Image}}", container).stdout.split()
    beside = ["run", "--rm", "--pid=host", "--user=0", "--network=none", "--entrypoint=bash", image]
    killed = _docker(*beside, "-c", f"kill -9 {pid}")
    assert killed.returncode == 0, killed.stderr


def _projects() -> list[str]:
    """Compose's project of each container that runs; "" for one without."""
    listed = _docker("ps", "--format", '{{.Label "com.docker.compose.project"}}').stdout
    return sorted(set(listed.split("\n")[:-1]))


def _docker(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["docker", *words], capture_output=True, text=True, check=False)


def _runs(pid: int) -> bool:
    """Whether a process runs; one that has ended and that nobody has asked after does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
