"""The docker command, and its failures in one line."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from python_on_whales import DockerClient
from python_on_whales.exceptions import DockerException

from labelpod.errors import DeployError
from labelpod.process import last_line


def client(files: list[Path], env_files: list[Path], project: str, profiles: tuple[str, ...] = ()) -> DockerClient:
    """Docker and Compose for this stack's files, and for the services of these profiles besides those without one."""
    return DockerClient(
        compose_files=[str(file) for file in files],
        compose_profiles=list(profiles),
        compose_env_files=[str(file) for file in env_files],
        compose_project_name=project,
    )


@contextmanager
def explained(remedy: str) -> Iterator[None]:
    """A failing docker command becomes one line: the command and its last useful word."""
    try:
        yield
    except DockerException as error:
        raise DeployError(f"{_command(error)}: {last_line(error.stderr or '')}", remedy) from error


def _command(error: DockerException) -> str:
    words = [str(word) for word in error.docker_command]
    return " ".join(["docker", *words[1:]])
