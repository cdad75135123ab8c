"""The question for known vulnerabilities; pip-audit is a stand-in that answers as its JSON format does."""

import json
import sys
import time
from pathlib import Path

import pytest

from labelpod.host import package_sources
from labelpod.images import advisories
from labelpod.project import Project
from tests.support.paths import ROOT

BAD = {"name": "requests", "version": "2.19.1", "vulns": [{"id": "PYSEC-2018-28", "fix_versions": ["2.20.0"]}]}
CLEAN = {"name": "torch", "version": "2.10.0", "vulns": []}
ABSENT = {"name": "ours", "skip_reason": "Dependency not found"}
FOUND = {"name": "jinja2", "version": "3.0", "vulns": [{"id": "GHSA-1", "fix_versions": ["3.1", "4.0"]}]}
UNFIXED = {"name": "jinja2", "version": "3.0", "vulns": [{"id": "GHSA-2", "fix_versions": []}]}


class Audit:
    """What pip-audit says of the known bad version and of the locks, and the report that comes of it."""

    def __init__(self, root: Path, programs, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
        self._programs, self._capsys = programs, capsys
        self._report = root / "build" / "advisories.txt"
        self._report.parent.mkdir()
        self._project = Project(root)
        monkeypatch.setattr(Project, "locks", (root / "image.lock", root / "driver.lock"))
        monkeypatch.setattr(package_sources, "ca_bundle", lambda: None)
        monkeypatch.setattr(sys, "executable", str(programs.folder / "python"))
        self.knows(BAD)

    @staticmethod
    def says(*packages: dict) -> str:
        """The same exit code for a vulnerability as for a failure: pip-audit's way."""
        text = json.dumps({"dependencies": packages, "fixes": []})
        return f"/bin/cat <<'END'\n{text}\nEND\nexit {int(any(each.get('vulns') for each in packages))}"

    def knows(self, *known_bad: dict, image: str = "", driver: str = "") -> None:
        self.answers(self.says(*known_bad), image, driver)

    def answers(self, known_bad: str, image: str = "", driver: str = "") -> None:
        answers = {"requirements.txt": known_bad, "image.lock": image, "driver.lock": driver}
        cases = [f"*{name}*) {script or self.says(CLEAN)};;" for name, script in answers.items()]
        self._programs.add("python", "\n".join(['case "$*" in', *cases, "esac"]))

    def check(self) -> tuple[str, list[str]]:
        """What was said, and the report."""
        advisories.check(self._project)
        return self._capsys.readouterr().err.splitlines()[-1], self._report.read_text().splitlines()

    def calls(self) -> list[str]:
        return self._programs.calls("python")


@pytest.fixture
def audit(tmp_path, programs, monkeypatch, capsys) -> Audit:
    return Audit(tmp_path, programs, monkeypatch, capsys)


def test_without_findings_it_says_how_many_packages_were_looked_up(audit):
    said, report = audit.check()
    assert said == "Known vulnerabilities: none in 2 packages; see build/advisories.txt"
    assert report[0] == "Known vulnerabilities: none in 2 packages"
    assert {"image.lock: none in 1 packages", "driver.lock: none in 1 packages"} <= set(report)


def test_findings_are_counted_and_listed_with_what_mends_them(audit):
    audit.knows(BAD, image=audit.says(CLEAN, FOUND), driver=audit.says(UNFIXED))
    said, report = audit.check()
    assert said.startswith("Known vulnerabilities: 2 in 3 packages;")
    assert report[report.index("image.lock: 1 in 2 packages") + 1] == "  jinja2 3.0: GHSA-1, fixed in 3.1 or 4.0"
    assert report[report.index("driver.lock: 1 in 1 packages") + 1] == "  jinja2 3.0: GHSA-2, fixed in no version yet"


def test_a_package_that_the_database_does_not_have_is_not_called_clean(audit):
    audit.knows(BAD, image=audit.says(CLEAN, ABSENT))
    said, report = audit.check()
    assert said.startswith("Known vulnerabilities: none in 2 packages, 1 more not checked;")
    assert "  not checked: ours: Dependency not found" in report


NOT_CHECKED = "Known vulnerabilities: not checked: the advisory database cannot be reached"


def test_where_nobody_answers_it_says_that_nothing_was_checked_and_why(audit):
    audit.answers("echo 'Traceback' >&2; echo 'ConnectionError: Failed to resolve' >&2; exit 1")
    said, report = audit.check()
    assert said == f"{NOT_CHECKED} (ConnectionError: Failed to resolve); see build/advisories.txt"
    assert report == [f"{NOT_CHECKED} (ConnectionError: Failed to resolve)"]


@pytest.mark.parametrize("answer", [[], [ABSENT], [BAD | {"vulns": []}]])
def test_an_index_without_advisories_is_no_database(audit, answer):
    """pip-audit itself calls this "No known vulnerabilities found"."""
    audit.knows(*answer)
    said, report = audit.check()
    assert said.startswith(NOT_CHECKED) and report[0].startswith(NOT_CHECKED) and "requests==2.19.1" in said
    assert len(audit.calls()) == 1


def test_a_database_lost_midway_leaves_all_unchecked(audit):
    audit.knows(BAD, image=audit.says(FOUND), driver="echo 'gone' >&2; exit 1")
    assert audit.check()[1] == [f"{NOT_CHECKED} (gone)"]


def test_a_missing_pip_audit_is_told(audit, monkeypatch):
    monkeypatch.setattr(sys, "executable", "/absent/python")
    assert audit.check()[0].startswith(f"{NOT_CHECKED} (No such file")


def test_it_ends_in_time_whatever_the_database_does(audit, monkeypatch):
    monkeypatch.setattr(advisories, "SECONDS", 1)
    audit.knows(BAD, image="exec sleep 30")
    started = time.monotonic()
    assert audit.check()[1] == [f"{NOT_CHECKED} (no answer within 1 s)"]
    assert time.monotonic() - started < 5


def test_pip_audit_only_reads_the_locks_and_resolves_nothing(audit):
    audit.check()
    assert len(audit.calls()) == 3
    assert all("-m pip_audit" in call and "--disable-pip" in call for call in audit.calls())


def test_a_new_report_replaces_the_old_one(audit):
    audit.knows(BAD, image=audit.says(FOUND))
    audit.check()
    audit.knows()
    assert audit.check()[1] == [f"{NOT_CHECKED} (what answers in its place knows nothing of requests==2.19.1)"]


def test_the_machines_own_authorities_are_trusted(audit, monkeypatch):
    monkeypatch.delenv("REQUESTS_CA_BUNDLE", raising=False)
    monkeypatch.setattr(package_sources, "ca_bundle", lambda: Path("/etc/site.crt"))
    audit.answers('echo "trusts $REQUESTS_CA_BUNDLE" >&2')
    assert audit.check()[0].startswith(f"{NOT_CHECKED} (trusts /etc/site.crt)")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/etc/own.crt")
    assert audit.check()[0].startswith(f"{NOT_CHECKED} (trusts /etc/own.crt)")


def test_the_locks_are_those_of_the_image_and_of_the_driver():
    server, driver = Project(ROOT).locks
    assert "monailabel==" in server.read_text() and "pip-audit==" in driver.read_text()
