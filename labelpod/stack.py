"""The running stack: Orthanc, its database and the label server, through Docker Compose."""

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from python_on_whales import Container, DockerClient
from python_on_whales.exceptions import DockerException

from labelpod import docker, settings
from labelpod.console import progress
from labelpod.docker import explained, last_line
from labelpod.errors import DeployError
from labelpod.label_server import LabelServer
from labelpod.render import BUILD, ROOT
from labelpod.settings import Settings
from labelpod.users import SECRETS

ENV_FILE = ROOT / ".env"
POSTGRES = "postgres"
LABEL_SERVER = "label-server"
SERVICES = ("orthanc", LABEL_SERVER, POSTGRES)
# What a container reads when it starts; Compose sees no change in a file. A file that is not there is not used.
_READ_AT_START = {
    "orthanc": (
        BUILD / "orthanc.json",
        ROOT / "images" / "orthanc" / "access.lua",
        SECRETS / "orthanc_users.json",
        SECRETS / "orthanc_postgres.json",
        SECRETS / "tls_both.pem",
    ),
    LABEL_SERVER: (SECRETS / "dicomweb_password", SECRETS / "tls_cert.pem", SECRETS / "tls_key.pem"),
    POSTGRES: (SECRETS / "postgres_password",),
}
# The first start may fetch weights (WEIGHTS_WAIT) and wait for the DICOMweb server (STUDIES_WAIT) before it loads.
_LOAD_SECONDS = 240
_POLL_SECONDS = 0.2


@dataclass(frozen=True)
class Stack:
    """One set of containers; which one is said by Compose's project name.

    Args:
        values: the settings.
        use_gpu: whether the label server gets the NVIDIA GPUs.

    """

    values: Settings
    use_gpu: bool = False

    @property
    def services(self) -> tuple[str, ...]:
        """Those that run with these settings."""
        return SERVICES if self.values.postgres else SERVICES[:2]

    def with_database(self, name: str) -> "Stack":
        """The same stack with the other database of Orthanc's, or with this one."""
        return replace(self, values=self.values.model_copy(update={"ORTHANC_DB": name}))

    @property
    def compose(self) -> DockerClient:
        """Docker with this stack's files."""
        return self._client()

    def _client(self, *profiles: str) -> DockerClient:
        files = [ROOT / "compose.yaml"]
        if self.use_gpu:
            files.append(ROOT / "compose.gpu.yaml")
        if self.values.postgres:
            files.append(ROOT / "compose.postgres.yaml")
        if self.values.tls:
            files.append(ROOT / "compose.tls.yaml")
        if self.values.STUDIES.startswith("/"):
            files.append(ROOT / "compose.folder.yaml")
        return docker.client(files, ENV_FILE, settings.project(ENV_FILE), profiles)

    def up(self, *services: str) -> None:
        """Start what does not run, replace what has changed, and wait until all services are healthy, or these.

        Raises:
            DeployError: a service ended, or was not healthy in time; with its own last word.

        """
        with explained("python3 deploy.py doctor"):
            if outdated := self._outdated():  # Compose starts them again, in the right order
                self.compose.compose.stop(outdated)
            self.compose.compose.up(list(services) or None, detach=True, quiet=True)
            containers = self.containers()
            self._end_unused_database(containers)
            self._wait({name: containers[name] for name in services or self.services})

    def down(self, volumes: bool) -> None:
        """Stop and remove the containers; with `volumes` everything they stored, too."""
        with explained("docker ps shows what still runs"):
            # Compose would leave a service with a profile running, and with it network and volume in use.
            # The database that the setting does not name has volumes, too, and Compose deletes what is used alone.
            for database in (POSTGRES, "sqlite") if volumes else (POSTGRES,):
                self.with_database(database)._client("*").compose.down(volumes=volumes, timeout=15)

    def containers(self) -> dict[str, Container]:
        """Containers by service; those that are stopped, too, but not what `docker compose run` has made."""
        # By Compose's labels: `docker compose ps` takes five times as long.
        project = f"com.docker.compose.project={settings.project(ENV_FILE)}"
        with explained("python3 deploy.py doctor"):
            found = [
                (each.config.labels or {}, each)
                for each in self.compose.container.list(all=True, filters=[("label", project)])
            ]
        return {
            labels["com.docker.compose.service"]: container
            for labels, container in found
            if labels.get("com.docker.compose.oneoff") != "True"
        }

    def inside(self) -> list[str]:
        """What comes before a command that is to run in the label server's container, or, stopped, in one like it."""
        container = self.containers().get(LABEL_SERVER)
        if container and container.state.status == "running":
            return ["docker", "exec", "-i", container.name]
        compose = [str(word) for word in self.compose.compose.docker_compose_cmd]
        return [*compose, "run", "--rm", "-T", "--no-deps", LABEL_SERVER]

    def logs(self, service: str | None, follow: bool) -> Iterator[str]:
        """Lines of the services' logs."""
        if service and service not in self.services:
            raise DeployError(f"there is no service {service!r}", f"one of: {', '.join(self.services)}")
        with explained("python3 deploy.py status"):
            lines = self.compose.compose.logs(
                [service] if service else [], follow=follow, stream=True, no_log_prefix=bool(service)
            )
            for _, line in lines:
                yield line.decode(errors="replace")

    def _outdated(self) -> list[str]:
        """The running services that started before a file of theirs was written."""
        started = {
            name: container.state.started_at.timestamp()
            for name, container in self.containers().items()
            if name in _READ_AT_START and container.state.running and container.state.started_at
        }
        return [name for name in started if any(_written(file) > started[name] for file in _READ_AT_START[name])]

    def _end_unused_database(self, containers: dict[str, Container]) -> None:
        """PostgreSQL does not run on where the setting names it no more; its data stay."""
        container = None if self.values.postgres else containers.get(POSTGRES)
        if container:
            container.stop()
            container.remove()

    def _wait(self, containers: dict[str, Container]) -> None:
        """Until they are healthy; each look at a container asks Docker anew."""
        limit = _LOAD_SECONDS + self.values.WEIGHTS_WAIT + self.values.STUDIES_WAIT
        deadline = time.monotonic() + limit
        with progress(f"Waiting for {' and '.join(containers)}") as bar, LabelServer(self.values, 1) as server:
            while waiting := [name for name in containers if not self._healthy(name, containers[name], server)]:
                bar.update(bar.task_ids[0], description=f"Waiting for {' and '.join(waiting)}")
                if time.monotonic() > deadline:
                    raise DeployError(
                        f"{' and '.join(waiting)} not healthy after {limit} s", f"python3 deploy.py logs {waiting[0]}"
                    )
                time.sleep(_POLL_SECONDS)

    def _healthy(self, service: str, container: Container, server: LabelServer) -> bool:
        state = container.state
        if state.status == "running" and state.health and state.health.status == "healthy":
            return True
        # A service that ends is started again by its restart policy, and would fail again for the same reason.
        if state.status in ("exited", "dead", "restarting") or (container.restart_count or 0) > 0:
            self._stop(service)
            raise DeployError(
                f"{service} does not start: {last_word(container)}",
                f"mend that, then `python3 deploy.py up`; all it said: python3 deploy.py logs {service}",
            )
        # In a container's start period Docker looks every five seconds, and more often from Engine 25 on alone.
        return service == LABEL_SERVER and server.answers()

    def _stop(self, service: str) -> None:
        """Keep a failing service from being started over and over; its log stays."""
        with explained("docker ps"):
            self.compose.compose.stop([service], timeout=15)


def _written(file: Path) -> float:
    return file.stat().st_mtime if file.exists() else 0


def last_word(container: Container) -> str:
    """What the service said of its end: start_server's own line where there is one."""
    try:
        lines = str(container.logs(tail=50)).splitlines()
    except DockerException:
        return "it says nothing"
    own = [line for line in lines if line.startswith("start_server: ")]
    return own[-1].removeprefix("start_server: ") if own else last_line("\n".join(lines))
