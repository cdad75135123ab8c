"""The driver on Debian 13 with its Python 3.13, in a Debian of its own beside this one."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from labelpod.host import package_sources
from tests.support.clone import Clone

PROJECT = "root/labelpod"
# In a namespace of its own, whose mounts are gone when it ends. pip's folders are where they are here.
ENTER = """
root="$1"; shift
mount -t proc proc "$root/proc"
mount --rbind /dev "$root/dev"
while [[ $1 != -- ]]; do mkdir -p "$root$1"; mount --bind "$1" "$root$1"; shift; done
shift
exec chroot "$root" env -C "/root/labelpod" "$@"
"""


@pytest.fixture(scope="module")
def debian(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The root folder of a Debian 13 with a copy of the project."""
    if os.geteuid() != 0 or not shutil.which("mmdebstrap"):
        pytest.skip("makes a Debian: needs root, and mmdebstrap of the package of that name")
    if not (sources := package_sources.debian_sources("trixie")):
        pytest.skip("apt has no Debian package source to make Debian 13 from")
    root = tmp_path_factory.mktemp("debian") / "root"
    packages = "--include=ca-certificates,openssh-client,openssl,python3-venv"
    subprocess.run(["mmdebstrap", "--quiet", "--variant=apt", packages, "trixie", str(root), *sources], check=True)
    for name in ("/etc/resolv.conf", "/etc/hosts"):
        shutil.copy(name, root / name[1:])
    if bundle := package_sources.ca_bundle():
        shutil.copy(bundle, root / str(package_sources.CA_BUNDLE)[1:])
    (root / PROJECT).mkdir()
    Clone.make(root / PROJECT, "labelpod-test-debian")
    (root / PROJECT / ".venv").unlink()  # this machine's
    yield root
    shutil.rmtree(root)


def run(root: Path, *command: str) -> subprocess.CompletedProcess[str]:
    """Run a command in the project's copy, with this machine's package sources."""
    # An index of files leads to packages beside it.
    places = {Path(place.removeprefix("file://")) for place in package_sources.left_out()}
    folders = sorted({str(place if place.parent == Path("/") else place.parent) for place in places})
    environment = {"PATH": "/usr/bin:/bin:/usr/sbin:/sbin", "HOME": "/root", "LANG": "C.UTF-8"}
    environment |= package_sources.pip_environment() | package_sources.build_arguments()
    enter = ["unshare", "--mount", "bash", "-euc", ENTER, "enter", str(root), *folders, "--"]
    return subprocess.run([*enter, *command], env=environment, capture_output=True, text=True, check=False)


def test_the_drivers_tests_pass_on_debian_13(debian: Path):
    started = run(debian, "python3", "deploy.py", "--help")
    assert started.returncode == 0 and "Making .venv" in started.stderr, started.stdout + started.stderr
    for lock in ("requirements", "no-deps"):
        pip = [".venv/bin/python", "-m", "pip", "install", "-q", "--no-deps", "--require-hashes"]
        installed = run(debian, *pip, "-r", f"tests/{lock}.lock")
        assert installed.returncode == 0, installed.stderr
    tested = run(debian, ".venv/bin/python", "-m", "pytest", "-q", "-n", "3", "tests/unit/driver", "tests/contract")
    assert tested.returncode == 0, tested.stdout[-10_000:] + tested.stderr
