"""A container registry of our own: Debian's docker-registry on a port of loopback, which Docker trusts without TLS."""

import json
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.ports import held_port
from tests.support.waiting import eventually


@contextmanager
def serving(folder: Path) -> Iterator[str]:
    """A registry that keeps its images in this folder; its address."""
    program = shutil.which("docker-registry")
    if not program:
        pytest.skip("docker-registry is not installed (Debian package docker-registry)")
    port = held_port()
    config = folder / "config.yml"
    storage = {"filesystem": {"rootdirectory": str(folder / "images")}}
    config.write_text(json.dumps({"version": 0.1, "storage": storage, "http": {"addr": f"127.0.0.1:{port}"}}))
    process = subprocess.Popen([program, "serve", str(config)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    address = f"127.0.0.1:{port}"
    answers = ["curl", "-sf", f"http://{address}/v2/"]
    eventually(lambda: subprocess.run(answers, capture_output=True, check=False).returncode == 0, 10, "the registry")
    yield address
    process.terminate()
    process.wait()
    shutil.rmtree(folder / "images", ignore_errors=True)  # ten gigabytes
    listed = ["docker", "image", "ls", "--filter", f"reference={address}/*", "--format", "{{.Repository}}:{{.Tag}}"]
    if left := subprocess.run(listed, capture_output=True, text=True, check=True).stdout.split():
        subprocess.run(["docker", "rmi", *left], capture_output=True, check=True)
