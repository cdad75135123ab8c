"""The running stack: Orthanc, its database, the label server and the door, through Docker Compose."""

import os
import re
import time
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path

from python_on_whales import Container, DockerClient
from python_on_whales.exceptions import DockerException

from labelpod.clients.label_server import LabelServer
from labelpod.config import env_file, settings
from labelpod.config.settings import Settings
from labelpod.console import progress
from labelpod.docker import client, ownership, read_files, tags
from labelpod.docker.client import explained
from labelpod.errors import DeployError
from labelpod.process import last_line
from labelpod.project import Project
from labelpod.security import secret_files

POSTGRES = "postgres"
LABEL_SERVER = "label-server"
ORTHANC = "orthanc"
SECOND_ORTHANC = "orthanc-2"
DOOR = "door"
SERVICES = (ORTHANC, SECOND_ORTHANC, LABEL_SERVER, POSTGRES, DOOR)
# The first start may fetch weights (WEIGHTS_WAIT) and wait for the DICOMweb server (STUDIES_WAIT) before it loads.
_LOAD_SECONDS = 240
_POLL_SECONDS = 0.2
_RESTART_SECONDS = 1.0
# An error in Orthanc's log (E0101 12:00:00.000000 ...), or in PostgreSQL's.
_ERROR = re.compile(r"^E\d{4} |\b(FATAL|PANIC|ERROR): ")
_EXITED = re.compile(r"^\S+ exited with code \d+( \(restarting\))?$")
_STOPPED = (0, 137, 143)  # by itself or by a signal, as Docker stops it


def files_read_at_start(project: Project) -> dict[str, tuple[Path, ...]]:
    """What each container reads when it starts, whether it is there or not; Compose sees no change in a file."""
    secrets = project.secrets
    of_orthanc = (
        project.build / "orthanc.json",
        project.build / "access.lua",
        secrets / secret_files.ORTHANC_USERS,
        secrets / secret_files.LABEL_DELETION,
        secrets / secret_files.ORTHANC_POSTGRES,
        secrets / secret_files.TLS_BOTH,
    )
    return {
        ORTHANC: of_orthanc,
        SECOND_ORTHANC: of_orthanc,
        LABEL_SERVER: (
            secrets / secret_files.DICOMWEB_PASSWORD,
            secrets / secret_files.LABEL_KEY,
            secrets / secret_files.TLS_CERT,
            secrets / secret_files.TLS_KEY,
        ),
        POSTGRES: (secrets / secret_files.POSTGRES_PASSWORD,),
        DOOR: (project.build / "haproxy.cfg", secrets / secret_files.TLS_BOTH),
    }


# The user's own changes; the names that Compose looks for, in its order.
_OVERRIDES = tuple(f"{name}.override.{ending}" for name in ("compose", "docker-compose") for ending in ("yml", "yaml"))


@dataclass(frozen=True)
class Stack:
    """One set of containers; which one is said by Compose's project name.

    Args:
        project: the folder that it is run from.
        values: the settings.
        use_gpu: whether the label server gets the NVIDIA GPUs.

    """

    project: Project
    values: Settings
    use_gpu: bool = False

    @property
    def services(self) -> tuple[str, ...]:
        """Those that run with these settings."""
        used = {POSTGRES: self.values.postgres, DOOR: self.values.door, SECOND_ORTHANC: self.values.two_orthancs}
        return tuple(name for name in SERVICES if used.get(name, True))

    def with_database(self, name: str) -> "Stack":
        """The same stack with the other database of Orthanc's, or with this one."""
        return replace(self, values=self.values.model_copy(update={"ORTHANC_DB": name}))

    @classmethod
    def load(cls, project: Project) -> "Stack":
        """The stack of a folder, by its settings; what an older version knew besides keeps nobody from it."""
        return cls(project, settings.load(project.env_file, tolerant=True))

    @property
    def name(self) -> str:
        """Compose's name of it, which containers and volumes begin with."""
        return settings.compose_project(self.project.env_file)

    @property
    def compose_files(self) -> list[str]:
        """Names of the Compose files that these settings take; the user's own changes come last."""
        names = ["compose.yaml"]
        if self.use_gpu:
            names.append("compose.gpu.yaml")
        if self.values.postgres:
            names.append("compose.postgres.yaml")
        if self.values.two_orthancs:
            names.append("compose.orthancs.yaml")
        if self.values.tls:
            names += ["compose.tls.yaml", *(["compose.orthancs-tls.yaml"] if self.values.two_orthancs else [])]
        if self.values.door:
            names += ["compose.door.yaml", *(["compose.door-tls.yaml"] if self.values.tls else [])]
        if self.values.several_servers:
            names.append("compose.servers.yaml")
        if self.values.STUDIES.startswith("/"):
            names.append("compose.folder.yaml")
        if self.values.closed:
            names += ["compose.closed.yaml", *(["compose.servers-closed.yaml"] if self.values.several_servers else [])]
            names += ["compose.orthancs-closed.yaml"] if self.values.two_orthancs else []
        return [*names, *(name for name in _OVERRIDES if (self.project.root / name).exists())][: len(names) + 1]

    @cached_property
    def docker(self) -> DockerClient:
        """Docker with this stack's files."""
        return self._client()

    def _client(self, *profiles: str) -> DockerClient:
        ownership.check(self.name, self.project)  # whatever is asked or changed, it is this folder's
        paths = [self.project.root / name for name in self.compose_files]
        for key in settings.bad_values(self.project.env_file):
            os.environ[key] = ""  # Compose reads `.env` itself, and stops at what is no port; so it takes the default
        return client.client(paths, self._env_files(), self.name, profiles)

    def _env_files(self) -> list[Path]:
        """What Compose reads the settings from; where `.env` is lost or cut off, the example has what it needs."""
        own = self.project.env_file
        if env_file.is_complete(own):
            return [own]
        return [self.project.root / ".env.example", *([own] if own.exists() else [])]

    def up(self, *services: str) -> None:
        """Start what does not run, replace what has changed, and wait until all services are healthy, or these.

        Raises:
            DeployError: a service ended, or was not healthy in time; with its own last word.

        """
        read = files_read_at_start(self.project)
        with explained("python3 deploy.py doctor"):
            before = self._end_surplus(self._give_ports_back(self.containers()))
            if outdated := read_files.outdated(self.project, read, before):
                self.docker.compose.stop(outdated)  # Compose starts them again, in the right order
            self.docker.compose.up(list(services) or None, detach=True, quiet=True)
            containers = self.containers()
            read_files.record(self.project, read, containers)
            for service in (POSTGRES, SECOND_ORTHANC):
                self._end_unused(service, containers)
            self._wait(_of(services or self.services, containers))

    def down(self, volumes: bool) -> None:
        """Stop and remove the containers; with `volumes` everything they stored, too."""
        with explained("docker ps shows what still runs"):
            # Compose would leave a service with a profile running, and with it network and volume in use; and a door
            # that the settings no longer name.
            # The database that the setting does not name has volumes, too, and Compose deletes only what is used.
            for database in (POSTGRES, "sqlite") if volumes else (POSTGRES,):
                self.with_database(database)._client("*").compose.down(volumes=volumes, remove_orphans=True, timeout=15)
        if volumes:
            ownership.forget(self.name)
            tagged = [tags.own(tag, self.name) for tag in tags.SERVICE_TAGS]
            with explained("docker image ls"):
                self.docker.image.remove([tag for tag in tagged if self.docker.image.exists(tag)])

    def claim(self) -> None:
        """Make it this folder's; if the folder has moved, the containers that mount the old one are removed.

        Raises:
            DeployError: it is another folder's.

        """
        if ownership.check(self.name, self.project):
            self.down(volumes=False)
        ownership.claim(self.name, self.project)

    def containers(self) -> dict[str, Container]:
        """Containers by service, the second label server as `label-server-2`; those that are stopped are among them.

        What `docker compose run` has made is not.
        """
        # By Compose's labels: `docker compose ps` takes five times as long.
        project = f"com.docker.compose.project={self.name}"
        with explained("python3 deploy.py doctor"):
            found = [
                (each.config.labels or {}, each)
                for each in self.docker.container.list(all=True, filters=[("label", project)])
            ]
        return {
            _name(labels): container for labels, container in found if labels.get("com.docker.compose.oneoff") != "True"
        }

    def exec_prefix(self, host: str = "") -> list[str]:
        """Command prefix that runs a program in the label server's container, or in a new one if it is stopped.

        Args:
            host: the name of this one's host, if there are several; "" for the first.

        """
        containers = self.containers()
        named = [each for each in containers.values() if host and each.id.startswith(host)]
        container = named[0] if named else containers.get(LABEL_SERVER)
        if container and container.state.status == "running":
            return ["docker", "exec", "-i", container.name]
        compose = [str(word) for word in self.docker.compose.docker_compose_cmd]
        return [*compose, "run", "--rm", "-T", "--no-deps", LABEL_SERVER]

    def logs(self, service: str | None, follow: bool) -> Iterator[str]:
        """Lines of the services' logs; if followed, over their restarts, until there are no containers."""
        if service and service not in self.services:
            raise DeployError(f"there is no service {service!r}", f"one of: {', '.join(self.services)}")
        last, since = datetime.now(UTC), None
        while True:
            for line in self._logged(service, follow, since):
                if not _EXITED.search(line):  # which Compose says when the next container may have begun already
                    last = datetime.now(UTC)
                    yield line
            if not (follow and self.containers()):
                return
            since = last
            time.sleep(_RESTART_SECONDS)

    def _logged(self, service: str | None, follow: bool, since: datetime | None) -> Iterator[str]:
        """The lines until the containers end, without what Compose itself warns of."""
        with explained("python3 deploy.py status"):
            lines = self.docker.compose.logs(
                [service] if service else [],
                follow=follow,
                since=since.isoformat() if since else None,
                stream=True,
                no_log_prefix=bool(service),
            )
            for stream, line in lines:
                if stream == "stdout" or not line.startswith(b'time="'):
                    yield line.decode(errors="replace").removeprefix("\x1b[2K")  # Compose clears the line

    def _give_ports_back(self, containers: dict[str, Container]) -> dict[str, Container]:
        """End a door that holds a port which another service is about to open; the containers that are left."""
        door = containers.get(DOOR)
        holds = (door.network_settings.ports or {}).get("8000/tcp") if door else None
        if door and (DOOR not in self.services or (holds and not self.values.several_servers)):
            door.stop()
            door.remove()
            return {name: each for name, each in containers.items() if name != DOOR}
        return containers

    def _end_surplus(self, containers: dict[str, Container]) -> dict[str, Container]:
        """End label servers that are too many, so that the others are those from 1 on; the containers that are left.

        The door knows them by these numbers. Of some that are too many Compose ends any, and numbers new ones from the
        last on.
        """
        there = [name for name in containers if _service(name) == LABEL_SERVER]
        wanted = numbered(LABEL_SERVER, self.values.LABEL_SERVERS)
        kept = set(wanted) & set(there)
        surplus = set(there) - (kept if kept == set(wanted[: len(kept)]) else set())
        for name in surplus:
            containers[name].stop()
            containers[name].remove()
        return {name: each for name, each in containers.items() if name not in surplus}

    def _end_unused(self, service: str, containers: dict[str, Container]) -> None:
        """Stop a service that the settings no longer name; its data stay."""
        container = None if service in self.services else containers.get(service)
        if container:
            container.stop()
            container.remove()

    def _wait(self, containers: dict[str, Container]) -> None:
        """Wait until all containers are healthy."""
        limit = _LOAD_SECONDS + self.values.WEIGHTS_WAIT + self.values.STUDIES_WAIT
        deadline = time.monotonic() + limit
        with progress(f"Waiting for {' and '.join(containers)}") as bar, LabelServer(self.values, 1) as server:
            while waiting := [name for name in containers if not self._healthy(name, containers[name], server)]:
                bar.update(bar.task_ids[0], description=f"Waiting for {' and '.join(waiting)}")
                if time.monotonic() > deadline:
                    raise DeployError(
                        f"{' and '.join(waiting)} not healthy after {limit} s",
                        f"python3 deploy.py logs {_service(waiting[0])}",
                    )
                time.sleep(_POLL_SECONDS)

    def _healthy(self, service: str, container: Container, server: LabelServer) -> bool:
        state = container.state
        if state.status == "running" and state.health and state.health.status == "healthy":
            return True
        # A service that ends is started again by its restart policy, and would fail again for the same reason.
        if state.status in ("exited", "dead", "restarting") or (container.restart_count or 0) > 0:
            self._stop(_service(service))
            raise DeployError(
                f"{service} does not start: {last_word(container)}",
                f"fix that, then `python3 deploy.py up`; all it said: python3 deploy.py logs {_service(service)}",
            )
        # In a container's start period Docker looks every five seconds, and more often only from Engine 25 on.
        return service == LABEL_SERVER and not self.values.several_servers and server.answers()

    def _stop(self, service: str) -> None:
        """Keep a failing service from being started over and over; its log stays."""
        with explained("docker ps"):
            self.docker.compose.stop([service], timeout=15)


def numbered(service: str, count: int) -> list[str]:
    """The names of a service's containers: from the second on with a number."""
    return [service, *(f"{service}-{number}" for number in range(2, count + 1))]


def _name(labels: Mapping[str, str]) -> str:
    number = int(labels.get("com.docker.compose.container-number", "1"))
    return numbered(labels["com.docker.compose.service"], number)[-1]


def _service(name: str) -> str:
    """The service of a container that is named so."""
    return name if name in SERVICES else re.sub(r"-[0-9]+$", "", name)


def _of(services: Collection[str], containers: Mapping[str, Container]) -> dict[str, Container]:
    """All containers of these services."""
    return {name: each for name, each in containers.items() if _service(name) in services}


def last_word(container: Container) -> str:
    """What the service said of its end: start_server's own line, or that of an error, if there is one."""
    try:
        lines = str(container.logs(tail=50)).splitlines()
    except DockerException:
        return "no error message"
    own = [line for line in lines if line.startswith("start_server: ")]
    if own:
        return own[-1].removeprefix("start_server: ")
    # Orthanc's and PostgreSQL's last lines say only that they have stopped.
    errors = [line for line in lines if _ERROR.search(line)]
    return last_line("\n".join(errors or lines))


def end_reason(container: Container) -> str:
    """Why a container does not run, as Docker knows it; "" if it runs or was stopped."""
    state = container.state
    if state.status == "running":
        return ""
    # Docker keeps no note of a start that failed for this.
    bound = (mount.source for mount in container.mounts or [] if mount.type == "bind")
    gone = [f"{path}, which is mounted, is gone" for path in bound if path and not Path(path).exists()]
    reasons = [state.error or "", *gone, "it was killed for taking too much memory" if state.oom_killed else ""]
    if state.exit_code is not None and state.exit_code not in _STOPPED:
        reasons.append(f"exit code {state.exit_code}: {last_word(container)}")
    return "; ".join(reason for reason in reasons if reason)
