"""What an admin sees besides: who uses the server, what was refused, and the room on its disk."""

import os
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from label_server import audit
from label_server.users import User

_GB = 10**9
_REFUSALS = timedelta(days=1)


@dataclass(frozen=True)
class Known:
    """A user, their role, and when they were last seen, "" if that is long ago."""

    name: str
    role: str
    seen: str


@dataclass(frozen=True)
class Machine:
    """The users, the GB that are free and there are, the requests that were refused in a day."""

    users: list[Known]
    free: int
    size: int
    refusals: int


def machine(known: Iterable[User]) -> Machine:
    """Look at the disk and at the end of the audit log: the whole of it may take seconds."""
    workspace = os.environ["WORKSPACE"]
    seen, refusals = _recent(audit.newest(audit.folder_of(workspace)))
    disk = shutil.disk_usage(workspace)
    users = {user.name: user for user in known}
    told = [Known(name, users[name].role.name.lower(), seen.get(name, "")) for name in sorted(users)]
    return Machine(told, disk.free // _GB, disk.total // _GB, refusals)


def _recent(records: Iterable[tuple[audit.Kind, audit.Record]]) -> tuple[dict[str, str], int]:
    """When each user was last seen, and how many requests were refused within a day."""
    seen: dict[str, str] = {}
    refusals, since = 0, f"{datetime.now(UTC) - _REFUSALS:%Y-%m-%dT%H:%M:%S}"
    for kind, record in records:
        name, time = str(record.get("user")), record["time"]
        seen[name] = max(seen.get(name, ""), time)
        if kind == audit.Kind.REFUSAL and time >= since:
            refusals += int(record.get("times", 1))
    return seen, refusals
