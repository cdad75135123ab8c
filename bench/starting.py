"""From images and empty volumes to a server that can be asked, and to one with another label list."""

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import requests

from bench.report import Row, row
from bench.sizes import Sizes
from bench.stand import Stand, clear, timed, until

_WHY = {
    "deploy.py up": "it looks at the machine and the images first, and shows the state at the end",
    "docker compose up": "a container's start takes half a second; the rest is loading torch and MONAI, for both",
}
_BARE = {"orthanc": ["Orthanc", "/etc/orthanc"], "upstream": ["bash", "/upstream.sh"]}


def measure(stand: Stand, sizes: Sizes, folder: Path) -> Iterator[Row]:
    """`deploy.py up` and `docker compose up` beside the same programs as bare processes."""
    ways: dict[str, Callable[[], object]] = {
        "deploy.py up": lambda: stand.clone.done("up", "--yes"),
        "docker compose up": lambda: stand.clone.compose("up", "--detach", "orthanc", "label-server"),
    }
    times: dict[str, list[float]] = {name: [] for name in ways}
    theirs = []
    for _ in range(sizes.runs):
        for name, way in ways.items():
            clear(stand.clone)
            times[name].append(timed(lambda way=way: (way(), stand.ours.wait())))
        clear(stand.clone)
        theirs.append(_bare(stand))
    stand.clone.compose("up", "--detach", "--wait")
    for name in times:
        yield row(f"{name}, images there, volumes empty, until /info answers", times[name], theirs, "s", 1, _WHY[name])


def _bare(stand: Stand) -> float:
    """Orthanc and MONAI Label as processes, in containers that stand ready."""
    names = {service: f"{stand.clone.project}-bare-{service}" for service in _BARE}
    run = ("run", "--rm", "--detach", "--no-deps", "--use-aliases", "--service-ports")
    for service, name in names.items():
        started = stand.clone.compose(*run, "--name", name, "--entrypoint", "sleep", service, "infinity")
        if started.returncode != 0:
            raise RuntimeError(started.stderr)
    try:
        return timed(lambda: (_exec(names), stand.theirs.wait()))
    finally:
        subprocess.run(["docker", "rm", "--force", *names.values()], capture_output=True, check=True)


def _exec(names: dict[str, str]) -> None:
    for service, command in _BARE.items():
        subprocess.run(["docker", "exec", "--detach", names[service], *command], capture_output=True, check=True)


def relabelled(stand: Stand, label: str) -> float:
    """How long it takes until the server shows another label list, in seconds."""

    def shown() -> bool:
        try:
            return label in requests.get(f"{stand.ours.annotator.url}/info/", timeout=60).json()["labels"]
        except requests.RequestException:
            return False

    stand.clone.environment["LABELS"] = f"{label}:1"
    return timed(lambda: (stand.clone.compose("up", "--detach", "label-server"), until(shown, "the new label list")))
