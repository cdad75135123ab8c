"""Who did what at the label server: its audit log, read where it is kept."""

import json
import re
import shutil
from datetime import UTC, datetime, timedelta
from typing import Any

from labelpod import process
from labelpod.cluster import Cluster
from labelpod.console import say_command
from labelpod.docker.stack import LABEL_SERVER, Stack
from labelpod.errors import DeployError
from labelpod.project import Project
from labelpod_common.text import clean

_COMMAND = ("start_server", "python", "-m", "label_server.audit")
_SECONDS = 10  # for the numbers beside a list of users
_UNITS = {"m": "minutes", "h": "hours", "d": "days"}
_COLUMNS = (("time", 21), ("user", 17), ("address", 17), ("action", 19), ("outcome", 9), ("times", 7))


def records(project: Project, since: str, user: str, study: str) -> list[dict[str, Any]]:
    """What is recorded, oldest first; the keys are the label server's.

    Args:
        project: whose label servers: in the cluster that it runs in, or on this machine, where they need not run.
        since: as `since` gives it, "" for the beginning.
        user: only theirs, "" for all.
        study: only about this study or series, "" for all.

    Raises:
        DeployError: the log cannot be read.

    """
    cluster = Cluster.recorded(project)
    prefix = cluster.checked(project).exec_prefix() if cluster else Stack.load(project).exec_prefix()
    asked = [f"--{name}={value}" for name, value in (("since", since), ("user", user), ("study", study)) if value]
    command = [*prefix, *_COMMAND, *asked]
    say_command(*command)
    answer = process.run(*command)
    if answer.returncode != 0:
        remedy = "python3 deploy.py kubernetes status shows what runs" if cluster else "python3 deploy.py up"
        raise DeployError(f"the audit log cannot be read: {process.why(answer).removeprefix('error: ')}", remedy)
    return [json.loads(line) for line in answer.stdout.splitlines()]


def users(project: Project) -> dict[str, dict[str, Any]]:
    """By name: when somebody was last seen and how many labels they stored; nobody while no label server answers."""
    try:
        cluster = Cluster.recorded(project)
        prefix = cluster.checked(project, _SECONDS).exec_prefix() if cluster else _running(project)
    except DeployError:
        return {}
    answer = process.run(*prefix, *_COMMAND, "--users", seconds=_SECONDS) if prefix else None
    return dict(json.loads(answer.stdout)) if answer and answer.returncode == 0 else {}


def _running(project: Project) -> list[str]:
    """Command prefix of a label server that runs on this machine; none if none does."""
    container = Stack.load(project).containers().get(LABEL_SERVER) if shutil.which("docker") else None
    return ["docker", "exec", container.name] if container and container.state.running else []


def since(text: str, now: datetime) -> str:
    """A time as the records have it, of `2h`, `30m`, `7d`, or of a date and time of this machine's time zone.

    Raises:
        ValueError: it is none of these.

    """
    if found := re.fullmatch(r"([0-9]{1,6})([mhd])", text):
        moment = now - timedelta(**{_UNITS[found[2]]: int(found[1])})
    else:
        moment = datetime.fromisoformat(text)
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def table(found: list[dict[str, Any]]) -> str:
    """One line for each record, for people."""
    if not found:
        return "Nothing is recorded"
    head = "".join(f"{name:<{width}}" for name, width in _COLUMNS)
    return "\n".join([f"{head}study and series", *map(_row, found)])


def shown_time(time: str) -> str:
    """A record's time in this machine's time zone."""
    return datetime.fromisoformat(time).astimezone().strftime("%Y-%m-%d %H:%M:%S")


def _row(record: dict[str, Any]) -> str:
    values = record | {"time": shown_time(record["time"])}
    cells = "".join(f"{clean(values.get(name) or '-'):<{width - 1}} " for name, width in _COLUMNS)
    return cells + clean(" ".join(record[key] for key in ("study", "series") if record.get(key)))
