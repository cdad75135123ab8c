"""What `deploy.py doctor` found last: the driver writes it beside the users, the label server shows it to admins."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

NAME = "doctor.json"


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at; an error stops `up`. The remedy is a command or an edit, "" if ok."""

    level: Literal["ok", "warning", "error"]
    subject: str
    message: str
    remedy: str = ""


@dataclass(frozen=True)
class Report:
    """When the machine was looked at (ISO 8601, UTC), and what was wrong then."""

    time: str
    findings: tuple[Finding, ...]


def dump(report: Report) -> str:
    """The file's text."""
    return json.dumps(asdict(report), indent=2)


def read(file: Path) -> Report | None:
    """The report; None if there is none that can be read."""
    try:
        said = json.loads(file.read_text(encoding="utf-8"))
        return Report(str(said["time"]), tuple(Finding(**each) for each in said["findings"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None
