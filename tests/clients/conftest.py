"""A stack of its own for each module, brought up as a user brings it up, and 3D Slicer's core to work at it."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import requests

from tests.clients import session
from tests.clients.session import Slicer
from tests.support.clone import Clone
from tests.support.pacs import Pacs
from tests.support.waiting import eventually


@pytest.fixture(scope="session")
def slicer_python(request: pytest.FixtureRequest) -> Path:
    """The Python of .venv-slicer, which is made at the first use."""
    seen = request.config.pluginmanager.get_plugin("capturemanager").global_and_fixture_disabled()
    try:
        with seen:
            return session.install()
    except session.CannotInstall as error:
        pytest.skip(f"3D Slicer's core cannot be installed: {error}")


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory, engine: None, slicer_python: Path) -> Iterator[Clone]:
    clone = Clone.make(tmp_path_factory.mktemp("clients"), "labelpod-test-clients")
    clone.done("up", "--yes", "--cpu")
    yield clone
    clone.cli("down", "--volumes", "--yes")


@pytest.fixture(scope="module")
def pacs(stack: Clone) -> Pacs:
    return Pacs.of(stack.status())


@pytest.fixture(scope="module")
def admin_url(stack: Clone) -> str:
    """The URL that `up` prints to be pasted."""
    return stack.status()["label_server"]["url"]


@pytest.fixture(scope="module")
def url_of(stack: Clone) -> Callable[[str], str]:
    """Role -> the URL of somebody who has it."""

    def add(role: str) -> str:
        url = json.loads(stack.done("users", "add", f"some-{role}", "--role", role, "--json"))["url"]
        eventually(lambda: requests.get(f"{url}info/", timeout=30).ok, 5, f"the {role} is let in")
        return url

    return add


@pytest.fixture(scope="module")
def slicer(slicer_python: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Slicer]:
    running = Slicer(slicer_python, tmp_path_factory.mktemp("slicer"))
    yield running
    running.close()


@pytest.fixture(scope="module")
def restart(stack: Clone) -> Callable[[], None]:
    """Stop the label server and start it again."""

    def again() -> None:
        for arguments in (("restart", "label-server"), ("up", "--detach", "--wait")):
            result = stack.compose(*arguments)
            assert result.returncode == 0, result.stderr

    return again
