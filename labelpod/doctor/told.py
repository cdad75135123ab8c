"""Keeps what the last look at the machine found, for the admin's start page."""

from collections.abc import Iterable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from labelpod import files
from labelpod.errors import DeployError
from labelpod_common import doctor_report
from labelpod_common.doctor_report import Finding, Report


def keep(findings: Iterable[Finding], secrets: Path) -> None:
    """Write down what is wrong where a stack was set up: beside the users, which the label server reads anyway.

    Who may not write there has looked all the same.
    """
    wrong = tuple(each for each in findings if each.level != "ok")
    report = Report(f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}", wrong)
    file = secrets / "users" / doctor_report.NAME
    with suppress(DeployError, OSError):
        if file.parent.is_dir():
            files.write(file, doctor_report.dump(report).encode(), 0o644)
