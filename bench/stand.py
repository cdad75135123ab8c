"""Both servers at one Orthanc, and how they are asked."""

import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import monailabel
import requests

from tests.support.annotator import Annotator
from tests.support.clone import Clone
from tests.support.pacs import Pacs
from tests.support.paths import ROOT
from tests.support.ports import held_port

_TOKEN = "throw-away-token-of-32-letters-0"
_PASSWORD = "throw-away"
_LONG_SECONDS = 1800
# The process that serves, in either container.
_SERVER = "start_server"


@dataclass(frozen=True)
class Side:
    """One of the two label servers."""

    name: str  # of its service
    annotator: Annotator
    clone: Clone

    def get(self, path: str) -> None:
        """One GET, from start to end."""
        requests.get(self.annotator.url + path, timeout=_LONG_SECONDS).raise_for_status()

    def restart(self) -> None:
        """Start it again, and wait until it answers."""
        self.clone.compose("restart", self.name)
        self.wait()

    def wait(self) -> None:
        """Until it answers."""
        until(lambda: answers(f"{self.annotator.url}/info/"), f"an answer of {self.name}")

    def forget(self, image: str) -> None:
        """Remove an image from its cache."""
        self.clone.run_in(self.name, "bash", "-c", f"rm -rf /workspace/cache/*/{image}*")

    def has(self, image: str) -> bool:
        """Whether an image is in its cache."""
        found = self.clone.run_in(self.name, "bash", "-c", f"ls /workspace/cache/*/{image}.nii.gz 2>/dev/null || true")
        return bool(found.strip())

    def memory(self) -> float:
        """Resident memory of the serving process, MB."""
        container = self.clone.compose("ps", "-q", self.name).stdout.strip()
        processes = subprocess.run(
            ["docker", "top", container, "-eo", "pid,rss,args"], capture_output=True, text=True, check=True
        )
        sizes = [int(line.split()[1]) for line in processes.stdout.splitlines()[1:] if _SERVER in line]
        return max(sizes) / 1024


@dataclass(frozen=True)
class Stand:
    """Ours and upstream's label server at the same Orthanc."""

    ours: Side
    theirs: Side
    pacs: Pacs
    clone: Clone

    @property
    def sides(self) -> tuple[Side, Side]:
        """Ours first."""
        return self.ours, self.theirs

    def empty(self) -> None:
        """Nothing in Orthanc, and nothing in the caches; both servers stand still until `restart`."""
        self.clone.compose("stop", *(side.name for side in self.sides))
        self.pacs.delete_everything()
        for side in self.sides:
            self.clone.compose("run", "--rm", "--no-deps", "--entrypoint", "rm", side.name, "-rf", "/workspace/cache")

    def restart(self) -> None:
        """Start both again, side by side, and wait until they answer."""
        self.clone.compose("restart", *(side.name for side in self.sides))
        for side in self.sides:
            side.wait()


@contextmanager
def running(name: str, *services: str, **settings: str) -> Iterator[Clone]:
    """A copy of the project with these services, all by default; they and their volumes are gone afterwards."""
    with tempfile.TemporaryDirectory() as folder:
        clone = Clone.make(Path(folder), f"labelpod-bench-{name}")
        clone.environment |= {"ORTHANC_PASSWORD": _PASSWORD} | settings
        try:
            clone.done("build", "--yes")
            started = clone.compose("up", "--detach", "--wait", *services)
            if started.returncode != 0:
                raise RuntimeError(started.stderr)
            yield clone
        finally:
            clear(clone)  # with the services that are not the driver's
            clone.cli("down", "--volumes", "--yes")  # with the tags of its images


def clear(clone: Clone) -> None:
    """End everything, and forget what it stored."""
    clone.compose("down", "--volumes", "--timeout", "10")


def pacs_of(clone: Clone) -> Pacs:
    """Its Orthanc."""
    return Pacs(f"http://127.0.0.1:{clone.environment['ORTHANC_PORT']}", "labelpod", _PASSWORD)


@contextmanager
def stand() -> Iterator[Stand]:
    """Both servers, started."""
    port = str(held_port())
    settings = {
        "LABEL_SERVER_TOKEN": _TOKEN,
        "UPSTREAM_PORT": port,
        "UPSTREAM_OHIF": str(Path(monailabel.__file__).parent / "endpoints" / "static" / "ohif"),
        "COMPOSE_FILE": f"compose.yaml:{ROOT / 'bench' / 'upstream.yaml'}",
        "COMPOSE_PROFILES": "upstream",
    }
    with running("stand", **settings) as clone:
        ours = Annotator(f"http://127.0.0.1:{clone.environment['LABEL_SERVER_PORT']}/{_TOKEN}")
        theirs = Annotator(f"http://127.0.0.1:{port}")
        made = Stand(Side("label-server", ours, clone), Side("upstream", theirs, clone), pacs_of(clone), clone)
        for side in made.sides:
            side.wait()
        yield made


def timed(action: Callable[[], Any]) -> float:
    """How long it takes, in seconds."""
    started = time.perf_counter()
    action()
    return time.perf_counter() - started


def until(check: Callable[[], bool], what: str) -> None:
    """Ask until it is true."""
    deadline = time.monotonic() + 300
    while not check():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what}: not within 300 s")
        time.sleep(0.05)


def answers(url: str) -> bool:
    """Whether something good comes from there."""
    try:
        return requests.get(url, timeout=60).ok
    except requests.RequestException:
        return False
