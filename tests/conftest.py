"""Options and fixtures of several tiers."""

import subprocess
from pathlib import Path

import pytest

from tests.data import make
from tests.support.paths import DATA


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--plain-upstream",
        action="store_true",
        help="run tests/stack/test_faults.py against MONAI Label as it ships: each test must fail there",
    )


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
def engine() -> None:
    """Docker answers; `deploy.py test --yes` sees to that."""
    if subprocess.run(["docker", "info"], capture_output=True, check=False).returncode != 0:
        pytest.skip("no Docker engine answers: `python3 deploy.py up --yes` installs one")
