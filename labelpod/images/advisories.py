"""Known vulnerabilities of the locked Python packages, by pip-audit; what was not looked up is never called clean."""

import json
import os
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from labelpod import files, process
from labelpod.console import progress, say
from labelpod.host import package_sources
from labelpod.project import Project

SECONDS = 60
# pip-audit takes an index without advisories for one that knows of none. A version with a published one tells the two
# apart, and costs one question where there is nobody to answer two hundred.
_KNOWN_BAD = "requests==2.19.1"


class _NotCheckedError(Exception):
    """Why there is no answer."""


@dataclass
class _Findings:
    """What the database says of one lock."""

    checked: int = 0
    vulnerable: list[str] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)


def check(project: Project) -> None:
    """Ask about every lock, write the report and say its first line; vulnerabilities stop nothing."""
    deadline = time.monotonic() + SECONDS
    with progress("Asking for known vulnerabilities"):
        try:
            _prove_that_it_answers(deadline)
            found = {lock: _ask(lock, deadline) for lock in project.locks}
        except _NotCheckedError as error:
            summary, details = f"not checked: the advisory database cannot be reached ({error})", []
        else:
            summary, details = _summary(list(found.values())), _details(project, found)
    files.write(
        project.advisories_report, "\n".join([f"Known vulnerabilities: {summary}", *details, ""]).encode(), 0o644
    )
    say(f"Known vulnerabilities: {summary}; see {project.shown(project.advisories_report)}")


def _prove_that_it_answers(deadline: float) -> None:
    with tempfile.TemporaryDirectory() as folder:
        known_bad = Path(folder, "requirements.txt")
        known_bad.write_text(f"{_KNOWN_BAD}\n", encoding="utf-8")
        if not _ask(known_bad, deadline).vulnerable:
            raise _NotCheckedError(f"what answers in its place knows nothing of {_KNOWN_BAD}")


def _ask(lock: Path, deadline: float) -> _Findings:
    command = [sys.executable, "-P", "-m", "pip_audit", "--requirement", str(lock), "--disable-pip", "--no-deps"]
    answer = process.run(
        *_environment(),
        *command,
        "--format",
        "json",
        "--desc",
        "off",
        "--progress-spinner",
        "off",
        "--timeout",
        "10",
        seconds=max(deadline - time.monotonic(), 0),
    )
    try:
        return _read(json.loads(answer.stdout)["dependencies"])
    except ValueError as error:  # its exit code is the same for a vulnerability and for a failure
        late = time.monotonic() >= deadline
        raise _NotCheckedError(f"no answer within {SECONDS} s" if late else process.why(answer)) from error


def _environment() -> list[str]:
    """A proxy that opens TLS is known to the machine's authorities, not to those that pip-audit brings."""
    bundle = package_sources.ca_bundle()
    return ["env", f"REQUESTS_CA_BUNDLE={bundle}"] if bundle and "REQUESTS_CA_BUNDLE" not in os.environ else []


def _read(packages: list[dict[str, Any]]) -> _Findings:
    findings = _Findings()
    for package in packages:
        if reason := package.get("skip_reason"):
            findings.unknown.append(f"{package['name']}: {reason}")
            continue
        findings.checked += 1
        for each in package["vulns"]:
            fixed = " or ".join(each["fix_versions"]) or "no version yet"
            findings.vulnerable.append(f"{package['name']} {package['version']}: {each['id']}, fixed in {fixed}")
    return findings


def _summary(found: list[_Findings]) -> str:
    vulnerable = sum(len(each.vulnerable) for each in found)
    unknown = sum(len(each.unknown) for each in found)
    checked = sum(each.checked for each in found)
    return f"{vulnerable or 'none'} in {checked} packages" + (f", {unknown} more not checked" if unknown else "")


def _details(project: Project, found: dict[Path, _Findings]) -> list[str]:
    lines: list[str] = []
    for lock, each in found.items():
        lines += ["", f"{project.shown(lock)}: {_summary([each])}"]
        lines += [f"  {line}" for line in each.vulnerable]
        lines += [f"  not checked: {line}" for line in each.unknown]
    return lines
