"""When a rented pod stops itself, and by which way."""

import logging
import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from label_server.pod import state, watchdog
from label_server.pod.watchdog import Watch
from tests.unit.conftest import Programs

HOUR, MINUTE = 3600.0, 60.0
KEY = "the-key-of-the-pod"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A pod's own folder."""
    monkeypatch.setattr(state, "_FOLDER", str(tmp_path))
    monkeypatch.setattr(state, "_last_noted", float("-inf"))
    return tmp_path


# --- when ---


def test_without_use_it_stops_when_the_minutes_are_over():
    watched = Watch(60 * MINUTE, 0, started=1000.0)
    assert watched.look(1010.0, "")[0] == 1000.0 + HOUR
    at, why = watched.look(9999.0, "")
    assert at == 1000.0 + HOUR and "60 minutes" in why


def test_work_keeps_the_pod_and_restarts_the_wait():
    watched = Watch(60 * MINUTE, 0, started=0.0)
    assert watched.look(5000.0, "a session over SSH") == (None, "")
    assert watched.look(5010.0, "")[0] == 5000.0 + HOUR


def test_a_request_is_use(folder: Path):
    state.note_use()
    os.utime(folder / "used", (7000.0, 7000.0))
    assert Watch(60 * MINUTE, 0, started=0.0).look(7100.0, "")[0] == 7000.0 + HOUR


def test_after_the_most_hours_it_stops_whatever_goes_on():
    watched = Watch(60 * MINUTE, 2 * HOUR, started=0.0)
    assert watched.look(100.0, "a task in the background") == (2 * HOUR, "it has run for 2 hours")


def test_both_may_be_off():
    assert Watch(0, 0, started=0.0).look(1e9, "") == (None, "")


def test_it_is_said_when_it_will_stop():
    state.set_stop(86400.0)
    assert state.stops_at() == "1970-01-02T00:00:00+00:00"
    state.set_stop(None)
    assert state.stops_at() is None


def test_outside_of_a_pod_nothing_is_noted(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setattr(state, "_FOLDER", "")
    monkeypatch.chdir(tmp_path)
    state.note_use()
    assert not state.rented() and list(tmp_path.iterdir()) == []


# --- what is going on ---


def test_upstreams_task_in_the_background_is_work(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(watchdog, "_gpu_percent", lambda: 0)
    task = f"{watchdog._TASK}.{os.getpid()}"  # another stack on this machine may have one, too
    monkeypatch.setattr(watchdog, "_TASK", task)
    command = [sys.executable, "-c", "input(True)", "-m", task]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        # Its command line is there for certain only when it says something: the kernel fills that in late.
        assert process.stdout and process.stdout.read(4) == b"True"
        assert watchdog.busy() == "a task in the background"
        process.communicate(b"\n")
    assert watchdog.busy() == ""


@pytest.mark.parametrize(("said", "expected"), [("97\n3\n", "the GPU, 97 %"), ("5\n", ""), ("[N/A]\n", ""), ("", "")])
def test_a_busy_gpu_is_work(said: str, expected: str, programs: Programs, monkeypatch: pytest.MonkeyPatch):
    programs.add("nvidia-smi", f"printf '{said}'")
    monkeypatch.setattr(watchdog, "_processes", lambda: iter(()))
    assert watchdog.busy() == expected


def test_a_login_is_work_and_a_knock_is_not(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(watchdog, "_gpu_percent", lambda: 0)
    monkeypatch.setattr(watchdog, "_processes", lambda: iter(["sshd: [accepted]", "sshd: unknown [net]"]))
    assert watchdog.busy() == ""
    monkeypatch.setattr(watchdog, "_processes", lambda: iter(["sshd: labelpod"]))
    assert watchdog.busy() == "a session over SSH"


# --- how ---


@pytest.fixture
def api(web, monkeypatch: pytest.MonkeyPatch):
    """RunPod's two APIs, both of which refuse."""
    web.pages["/graphql"] = web.answer(200, b'{"errors": [{"message": "Not allowed"}]}')
    web.pages["/v2/pods/pod1/action"] = web.answer(403, b"<html>")
    monkeypatch.setenv("RUNPOD_GRAPHQL_URL", f"{web.url}/graphql")
    monkeypatch.setenv("RUNPOD_REST_URL", f"{web.url}/v2")
    monkeypatch.setenv("RUNPOD_API_KEY", KEY)
    return web


def ways(api, programs: Programs) -> list[str]:
    return [path for path, _ in api.asked] + programs.calls("runpodctl")


def test_the_first_way_that_works_is_the_last_one_tried(api, programs: Programs, monkeypatch: pytest.MonkeyPatch):
    programs.add("runpodctl", "exit 0")
    api.pages["/graphql"] = api.answer(200, b'{"data": {"podStop": {"id": "pod1"}}}')
    assert watchdog.stop("pod1")
    assert ways(api, programs) == ["/graphql"]
    headers = api.asked[0][1]
    assert headers["Authorization"] == f"Bearer {KEY}" and headers["User-Agent"] == "labelpod-watchdog"


def test_an_answer_with_errors_is_no_success(api, programs: Programs):
    programs.add("runpodctl", '[ "$1" = pod ]')
    assert watchdog.stop("pod1")
    assert ways(api, programs) == ["/graphql", "stop pod pod1", "pod stop pod1"]


def test_the_owners_key_is_for_rest(api, programs: Programs, monkeypatch: pytest.MonkeyPatch):
    programs.add("runpodctl", 'echo "unknown command" >&2; exit 1')
    api.pages["/v2/pods/pod1/action"] = api.answer(200, b"{}")
    monkeypatch.setenv("RUNPOD_STOP_API_KEY", "the-owners")
    assert watchdog.stop("pod1")
    assert api.asked[-1][1]["Authorization"] == "Bearer the-owners"


def test_it_is_loud_when_no_way_works_and_says_no_key(api, programs: Programs, caplog: pytest.LogCaptureFixture):
    programs.add("runpodctl", 'echo "unknown command" >&2; exit 1')
    with caplog.at_level(logging.INFO):
        assert not watchdog.stop("pod1")
    said = [record.getMessage() for record in caplog.records]
    assert [record.levelname for record in caplog.records] == ["WARNING"] * 4 + ["ERROR"]
    assert "Not allowed" in said[0] and "unknown command" in said[1] and "403" in said[3] and "COSTING" in said[4]
    assert KEY not in caplog.text + str(ways(api, programs))


def test_a_service_that_cannot_be_reached_is_no_end(monkeypatch: pytest.MonkeyPatch, programs: Programs):
    programs.add("runpodctl", "exit 0")
    monkeypatch.setenv("RUNPOD_API_KEY", KEY)
    monkeypatch.setenv("RUNPOD_GRAPHQL_URL", "http://127.0.0.1:9/graphql")
    assert watchdog.stop("pod1")


# --- the record of trainings ---


def test_the_record_is_copied_whole_and_only_when_it_has_changed(tmp_path: Path):
    here, there = tmp_path / "here.db", tmp_path / "there.db"
    watchdog.save_record(here, there)
    assert not there.exists()
    with closing(sqlite3.connect(here)) as database:
        database.execute("create table runs (name)")
        database.execute("insert into runs values ('first')")
        database.commit()
        watchdog.save_record(here, there)
    with closing(sqlite3.connect(there)) as database:
        assert database.execute("select name from runs").fetchall() == [("first",)]
    before = there.stat().st_ino
    watchdog.save_record(here, there)
    assert there.stat().st_ino == before
