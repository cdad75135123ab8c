"""Two throw-away stacks: one brought up by deploy.py, one by plain Compose through pytest-docker."""

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.annotator import Annotator
from tests.support.clone import Clone
from tests.support.pacs import Pacs
from tests.support.waiting import eventually

TOKEN = "throw-away-token-of-32-letters-0"

# --- brought up by deploy.py ---


@pytest.fixture(scope="session")
def user(tmp_path_factory: pytest.TempPathFactory, engine: None) -> Iterator[Clone]:
    """A new user's clone in which nothing has been done yet."""
    clone = Clone.make(tmp_path_factory.mktemp("user"), "labelpod-test-user")
    yield clone
    clone.cli("down", "--volumes", "--yes")


# --- brought up by Compose ---


@pytest.fixture(scope="session")
def clone(tmp_path_factory: pytest.TempPathFactory, engine: None, request: pytest.FixtureRequest) -> Clone:
    """A clone with .env, secrets and images, as `deploy.py build` leaves it."""
    clone = Clone.make(tmp_path_factory.mktemp("compose"), "labelpod-test-compose")
    clone.environment |= {"ORTHANC_PASSWORD": "throw-away", "LABEL_SERVER_TOKEN": TOKEN}
    clone.environment["SERIES_QUIET_SECONDS"] = "1"  # part of what is rendered
    clone.environment["PROMETHEUS_IMAGE"] = "prom/prometheus:v3.7.3"
    clone.done("build", "--yes")
    # Short, so that a test that stops Orthanc need not wait long.
    clone.environment["STUDIES_WAIT"] = "20"
    # Small, so that a test can go beyond them.
    clone.environment |= {"SLOW_CLIENT_SECONDS": "5", "MAX_BODY_MB": "64"}
    clone.environment |= {"INFER_QUEUE": "2", "MAX_REQUESTS_PER_USER": "12"}
    if request.config.getoption("--plain-upstream"):
        overlay = Path(__file__).with_name("upstream.yaml")
        clone.environment["COMPOSE_FILE"] = f"{clone.root / 'compose.yaml'}:{overlay}"
    return clone


@pytest.fixture(scope="session")
def docker_compose_file(clone: Clone, request: pytest.FixtureRequest) -> list[str]:
    if request.config.getoption("--plain-upstream"):
        return [str(clone.root / "compose.yaml"), str(Path(__file__).with_name("upstream.yaml"))]
    return [str(clone.root / name) for name in ("compose.yaml", "compose.closed.yaml")]  # it fetches nothing


@pytest.fixture(scope="session")
def docker_compose_project_name(clone: Clone) -> str:
    return clone.project


@pytest.fixture(scope="session")
def docker_setup() -> list[str]:
    return ["up --detach --wait"]


@pytest.fixture(scope="session")
def docker_cleanup() -> list[str]:
    return ["--profile monitoring down --volumes --rmi all --timeout 15"]  # only the stack's own tags


@pytest.fixture(scope="session")
def environment(clone: Clone) -> Iterator[None]:
    """pytest-docker calls Compose with this process's environment."""
    with pytest.MonkeyPatch.context() as patch:
        for key, value in clone.variables().items():
            patch.setenv(key, value)
        yield


@pytest.fixture(scope="session")
def running(environment: None, docker_services, clone: Clone, request: pytest.FixtureRequest) -> Clone:
    """The stack runs and answers."""
    path = "info/" if request.config.getoption("--plain-upstream") else "healthz"
    url = f"http://127.0.0.1:{clone.environment['LABEL_SERVER_PORT']}/{path}"
    docker_services.wait_until_responsive(lambda: answers(url), timeout=120, pause=0.5)
    return clone


@pytest.fixture
def stack(running: Clone) -> Iterator[Clone]:
    """The running stack; services that a test has stopped or changed are started again."""
    before = running.ready()
    yield running
    # Asking takes a tenth of what Compose takes to find that there is nothing to do.
    if running.ready() != before or not {"orthanc", "label-server"} <= {*before.values()}:
        running.compose("unpause")
        running.compose("up", "--detach", "--wait")


@pytest.fixture
def pacs(stack: Clone) -> Pacs:
    """The stack's Orthanc, empty."""
    pacs = Pacs(f"http://127.0.0.1:{stack.environment['ORTHANC_PORT']}", "labelpod", "throw-away")
    pacs.delete_everything()
    return pacs


@pytest.fixture
def annotator(stack: Clone, request: pytest.FixtureRequest) -> Annotator:
    """An annotator at the label server; plain upstream knows no tokens."""
    url = f"http://127.0.0.1:{stack.environment['LABEL_SERVER_PORT']}"
    return Annotator(url if request.config.getoption("--plain-upstream") else f"{url}/{TOKEN}")


@pytest.fixture
def noticed(stack: Clone, request: pytest.FixtureRequest) -> Callable[[], None]:
    """Call it after images were stored: plain upstream would notice them in two hours, or when it starts."""

    def restart() -> None:
        if request.config.getoption("--plain-upstream"):
            stack.compose("restart", "label-server")
            stack.compose("up", "--detach", "--wait")

    return restart


@pytest.fixture
def ct(pacs: Pacs, annotator: Annotator, noticed: Callable[[], None], data: Path) -> str:
    """The real chest CT is in Orthanc and the label server knows; its series UID."""
    pacs.store(data / "chest-ct-mini")
    noticed()
    return eventually(annotator.next_sample, 10, "the new CT is offered")


def answers(url: str) -> bool:
    """Whether something good comes from there."""
    return subprocess.run(["curl", "-sf", url], capture_output=True, check=False).returncode == 0
