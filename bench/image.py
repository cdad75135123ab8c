"""The image, beside one that is built by hand with pip; and what it takes to change its labels."""

import subprocess
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import zstandard

from bench.report import Row
from bench.sizes import UPSTREAM_TAG, Sizes
from bench.stand import Stand, timed
from bench.starting import relabelled
from labelpod.host import package_sources
from tests.support.paths import ROOT

_PIECE = 2**20
_WHY = "three quarters are torch, triton and CUDA's libraries; what of them a GPU could spare was not tried on one"


def measure(stand: Stand, sizes: Sizes, folder: Path) -> Iterator[Row]:
    """Sizes in MB, and seconds; the other image is built from nothing, as a new label list makes its user do."""
    ours, theirs = sizes.images
    if theirs == UPSTREAM_TAG:
        stand.empty()
        stand.restart()
        rebuild = timed(_build) + timed(stand.theirs.restart)
        changed = relabelled(stand, "another")
        note = "theirs: built without a cache, once, and restarted"
        yield Row("a changed label list, until /info shows it", changed, rebuild, "s", 0.1, note)
    yield Row("image, uncompressed", _size(ours), _size(theirs), "MB", 0.75, _WHY)
    with ThreadPoolExecutor() as pool:
        zstd, gzip, other = pool.map(lambda job: job[0](job[1]), [(_zstd, ours), (_gzip, ours), (_gzip, theirs)])
    yield Row("image, compressed by gzip", gzip, other, "MB", 0.65, _WHY)
    yield Row("image, compressed by zstd, by the other's gzip", zstd, other, "MB", 0.65, "no engine here pushes zstd")


def _build() -> None:
    with tempfile.TemporaryDirectory() as folder:
        secrets = package_sources.write_secrets(Path(folder), "bookworm")
        command = ["docker", "buildx", "build", "--no-cache", "--load", "--tag", UPSTREAM_TAG]
        command += ["--file", "bench/upstream.Dockerfile", "."]
        for name, path in secrets.items():
            command += ["--secret", f"id={name},src={path}"]
        for name, value in package_sources.build_arguments().items():
            command += ["--build-arg", f"{name}={value}"]
        subprocess.run(command, cwd=ROOT, capture_output=True, check=True)


def _size(tag: str) -> float:
    inspect = ["docker", "image", "inspect", "--format", "{{.Size}}", tag]
    return int(subprocess.run(inspect, capture_output=True, check=True).stdout) / 1e6


def _gzip(tag: str) -> float:
    script = 'docker save "$1" | gzip -6 | wc -c'
    return int(subprocess.run(["bash", "-c", script, "bash", tag], capture_output=True, check=True).stdout) / 1e6


def _zstd(tag: str) -> float:
    with subprocess.Popen(["docker", "save", tag], stdout=subprocess.PIPE) as saved:
        assert saved.stdout is not None
        compressed = zstandard.ZstdCompressor().read_to_iter(saved.stdout, read_size=_PIECE)
        return sum(len(piece) for piece in compressed) / 1e6
