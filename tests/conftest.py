"""Options and fixtures of several tiers."""

import fcntl
import os
import subprocess
from pathlib import Path

import pytest
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling

from tests.data import make
from tests.support.by_stack import ByStack
from tests.support.clone import Clone
from tests.support.paths import DATA


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--plain-upstream",
        action="store_true",
        help="run tests/stack/test_faults.py against MONAI Label as it ships: each test must fail there",
    )


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> LoadScopeScheduling | None:
    return ByStack(config, log) if config.getvalue("dist") == "loadscope" else None


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Real and hostile DICOM, which is not part of the project; without it, what we make ourselves."""
    return DATA if DATA.is_dir() else make.write(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="session")
def shared() -> Path:
    """The real and hostile DICOM itself, for what we could not make."""
    if not DATA.is_dir():
        pytest.skip("needs ../shared/data")
    return DATA


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """DICOM of our own making, good and hostile."""
    return make.write(tmp_path_factory.mktemp("made"))


@pytest.fixture(scope="session")
def engine(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Docker answers; `deploy.py test --yes` sees to that."""
    if subprocess.run(["docker", "info"], capture_output=True, check=False).returncode != 0:
        pytest.skip("no Docker engine answers: `python3 deploy.py up --yes` installs one")
    if "PYTEST_XDIST_WORKER" in os.environ:
        _make_images(tmp_path_factory)


def _make_images(folders: pytest.TempPathFactory) -> None:
    """One worker makes them and the others wait: at once, each would make its own."""
    with (folders.getbasetemp().parent / "images.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        clone = Clone.make(folders.mktemp("images"), "labelpod-test-images")
        clone.done("build", "--yes")
        clone.cli("down", "--volumes", "--yes")
