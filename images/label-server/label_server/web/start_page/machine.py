"""What an admin sees besides: who uses the server, what was refused, the room on its disk, and what doctor found."""

import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from label_server import audit, paths, users
from label_server.users import User
from labelpod_common import doctor_report
from labelpod_common.doctor_report import Report

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
    """The users, the GB that are free and there are, the requests refused in a day, and what doctor found last."""

    users: list[Known]
    free: int
    size: int
    refusals: int
    doctor: Report | None


def machine(known: Iterable[User]) -> Machine:
    """Look at the disk and at the end of all servers' audit logs: the whole of them may take seconds."""
    seen, refusals = _recent(audit.newest(*audit.folders()))
    disk = shutil.disk_usage(paths.workspace())
    by_name = {user.name: user for user in known}
    told = [Known(name, by_name[name].role.name.lower(), seen.get(name, "")) for name in sorted(by_name)]
    doctor = doctor_report.read(users.file().with_name(doctor_report.NAME))
    return Machine(told, disk.free // _GB, disk.total // _GB, refusals, doctor)


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
