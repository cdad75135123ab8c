"""When a rented pod stops itself, and what does not keep it from that."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from label_server.pod import state, watchdog, work
from label_server.pod.watchdog import Watch
from tests.support.paths import ROOT
from tests.support.waiting import eventually
from tests.unit.conftest import Programs

HOUR, MINUTE = 3600.0, 60.0


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


def test_a_note_of_the_future_is_no_use(folder: Path):
    state.note("used", 1_800_000_000.0)
    assert Watch(60 * MINUTE, 0, started=1000.0).look(1010.0, "")[0] == 1000.0 + HOUR


def test_after_the_most_hours_it_stops_whatever_goes_on():
    watched = Watch(60 * MINUTE, 2 * HOUR, started=0.0)
    assert watched.look(100.0, "a task in the background") == (2 * HOUR, "it has run for 2 hours")


def test_both_may_be_off():
    assert Watch(0, 0, started=0.0).look(1e9, "") == (None, "")


def test_a_busy_gpu_is_work_only_as_long_as_a_pause_may_be():
    watched = Watch(60 * MINUTE, 0, started=0.0)
    assert watched.look(30 * MINUTE, "", gpu=True)[0] == 90 * MINUTE
    assert watched.look(31 * MINUTE, "")[0] == 90 * MINUTE
    for minute in range(32, 600):
        assert watched.look(minute * MINUTE, "", gpu=True)[0] <= 2 * HOUR
    assert watched.look(601 * MINUTE, "a session over SSH", gpu=True)[0] is None


def test_it_is_said_when_it_will_stop():
    state.set_stop(86400.0)
    assert state.stops_at() == "1970-01-02T00:00:00+00:00"
    state.set_stop(None)
    assert state.stops_at() is None


# --- notes ---


def test_outside_of_a_pod_nothing_is_noted(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setattr(state, "_FOLDER", "")
    monkeypatch.chdir(tmp_path)
    state.note_use()
    assert not state.rented() and list(tmp_path.iterdir()) == []


def test_a_note_is_of_the_clock_that_nobody_sets(folder: Path):
    before = state.now()
    state.note_use()
    assert before - 1 <= state.noted(state.USED) <= state.now() + 1


def test_a_request_is_answered_where_its_use_cannot_be_noted(monkeypatch: pytest.MonkeyPatch, folder: Path):
    monkeypatch.setattr(state, "_FOLDER", str(folder / "gone"))
    state.note_use()


# --- what is going on ---


def test_upstreams_task_in_the_background_is_work(monkeypatch: pytest.MonkeyPatch):
    task = f"{work._TASK}.{os.getpid()}"  # another stack on this machine may have one, too
    monkeypatch.setattr(work, "_TASK", task)
    command = [sys.executable, "-c", "input(True)", "-m", task]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        # Its command line is there for certain only when it says something: the kernel fills that in late.
        assert process.stdout and process.stdout.read(4) == b"True"
        assert work.found() == "a task in the background"
        process.communicate(b"\n")
    assert work.found() == ""


@pytest.mark.parametrize(("said", "expected"), [("97\n3\n", 97), ("5\n", 5), ("[N/A]\n", 0), ("", 0)])
def test_the_busiest_gpu_counts(said: str, expected: int, programs: Programs):
    programs.add("nvidia-smi", f"printf '{said}'")
    assert work.gpu_percent() == expected


@pytest.mark.parametrize("name", ["labelpod", "labelpod@notty", "labelpod@pts/0", "labelpod@pts/0,pts/1"])
@pytest.mark.parametrize("program", ["sshd", "sshd-session"])
def test_a_login_is_work(monkeypatch: pytest.MonkeyPatch, name: str, program: str):
    monkeypatch.setattr(work, "_processes", lambda: iter([f"{program}: {name}    "]))
    assert work.found() == "a session over SSH"


@pytest.mark.parametrize(
    "name",
    ["[accepted]", "unknown [net]", "labelpod [net]", "labelpod [priv]", "[listener] 1 of 10-100 startups", "[priv]"],
)
def test_whoever_knocks_is_no_session(monkeypatch: pytest.MonkeyPatch, name: str):
    """sshd names its processes so before anybody has shown a key."""
    monkeypatch.setattr(work, "_processes", lambda: iter([f"sshd: {name} ", "/usr/sbin/sshd -f config labelpod"]))
    assert work.found() == ""


# --- limits ---


@pytest.mark.parametrize("text", ["60m", "-1", "nan", "inf", "1e3", "sixty", "٦٠", "60 0"])
def test_a_limit_that_is_no_number_is_said_and_the_default_holds(monkeypatch, caplog, text: str):
    monkeypatch.setenv("IDLE_STOP_MINUTES", text)
    assert watchdog._limit("IDLE_STOP_MINUTES", 60.0, "minutes") == 60.0
    (said,) = caplog.messages
    assert said.startswith("IDLE_STOP_MINUTES=") and said.endswith("is not a number of minutes: 60 it is")


@pytest.mark.parametrize(("text", "limit"), [("0", 0.0), ("1.5", 1.5), (" 90 ", 90.0), ("", 12.0)])
def test_a_limit_is_taken_as_it_is_and_without_one_the_default_holds(monkeypatch, text: str, limit: float):
    monkeypatch.setenv("MAX_HOURS", text)
    assert watchdog._limit("MAX_HOURS", 12.0, "hours") == limit


def test_without_most_hours_there_are_none_and_with_wrong_ones_twelve(monkeypatch: pytest.MonkeyPatch):
    for text, hours in ((None, 0), ("", 0), ("twelve", 12), ("3", 3)):
        monkeypatch.setenv("MAX_HOURS", text) if text is not None else monkeypatch.delenv("MAX_HOURS", raising=False)
        assert watchdog.Watchdog()._watch.most_seconds == hours * HOUR


# --- since when ---


@pytest.fixture
def first(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """What the kernel says of the container's first process: started 500 s after the machine."""
    file = tmp_path / "stat"
    ticks = 500 * os.sysconf("SC_CLK_TCK")
    file.write_text(f"1 (a name) 9 9) S {' '.join('0' for _ in range(18))} {ticks} 0 0\n")
    monkeypatch.setattr(watchdog, "_FIRST", file)
    return file


def test_a_pod_counts_from_its_first_process_and_a_new_watchdog_does_not_start_over(first: Path):
    assert watchdog.started(9000.0) == 500.0


def test_a_container_that_is_started_over_is_the_same_pod(first: Path):
    watchdog._keep(100.0, 450.0)
    assert watchdog.started(505.0) == 100.0


@pytest.mark.parametrize(("since", "seen"), [(100.0, 350.0), (100.0, 9000.0), (450.0, 100.0), (0.0, 450.0)])
def test_what_ran_before_a_stop_is_another_pod(first: Path, since: float, seen: float):
    watchdog._keep(since, seen)
    assert watchdog.started(1400.0) == 500.0


@pytest.mark.parametrize("text", ["", "1 (init) S 0", "1 (init) S " + "x " * 30])
def test_where_the_kernel_does_not_say_it_counts_from_now(first: Path, text: str):
    first.write_text(text)
    assert watchdog.started(9000.0) == 9000.0
    first.unlink()
    assert watchdog.started(9000.0) == 9000.0


# --- as a process ---


@pytest.fixture
def process(folder: Path, programs: Programs):
    """The watchdog as start_pod runs it."""
    programs.add("nvidia-smi", "exit 1")
    environment = {"POD_FOLDER": str(folder), "RUNPOD_POD_ID": "pod1", "IDLE_STOP_MINUTES": "60m", "MAX_HOURS": "0"}
    path = {"PATH": os.environ["PATH"], "PYTHONPATH": f"{ROOT / 'images' / 'label-server'}:{ROOT}"}
    command = [sys.executable, "-m", "label_server.pod.watchdog"]
    running = subprocess.Popen(command, env=environment | path, stderr=subprocess.PIPE, text=True)
    yield running
    running.kill()
    running.communicate()


def test_it_runs_on_with_a_limit_that_is_none_and_forgets_the_pod_when_it_is_stopped_on_purpose(process, folder: Path):
    eventually(lambda: (folder / state.SEEN).exists(), 20, "it has looked once")
    assert process.poll() is None
    process.send_signal(signal.SIGTERM)
    assert process.wait(10) == 0 and not (folder / state.STARTED).exists()
    assert "IDLE_STOP_MINUTES=60m is not a number of minutes" in process.stderr.read()


def test_a_log_that_nobody_takes_does_not_keep_it_from_stopping_the_pod(folder: Path, programs: Programs, web):
    programs.add("nvidia-smi", "exit 1")
    programs.add("runpodctl", "exit 1")
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    with pytest.raises(BlockingIOError):
        while True:
            os.write(writer, b"x" * 4096)
    os.set_blocking(writer, True)
    # The first process of this machine is older than a second.
    environment = {"POD_FOLDER": str(folder), "RUNPOD_POD_ID": "pod1", "MAX_HOURS": "0.0003", "RUNPOD_API_KEY": "k"}
    environment |= {"RUNPOD_REST_URL": f"{web.url}/v2", "RUNPOD_GRAPHQL_URL": f"{web.url}/graphql"}
    environment |= {"PATH": os.environ["PATH"], "PYTHONPATH": f"{ROOT / 'images' / 'label-server'}:{ROOT}"}
    running = subprocess.Popen([sys.executable, "-m", "label_server.pod.watchdog"], env=environment, stderr=writer)
    try:
        eventually(lambda: "/graphql" in [path for path, _ in web.asked], 30, "it tries all ways")
        assert web.asked[0][0] == "/v2/pods/pod1/action"
    finally:
        running.kill()
        running.wait()
        os.close(reader)
        os.close(writer)


_WITHOUT_THREADS = """
import runpy, threading
def start(_): raise RuntimeError("can't start new thread")
threading.Thread.start = start
runpy.run_module("label_server.pod.watchdog", run_name="__main__")
"""


def test_where_no_thread_can_be_started_it_stops_the_pod_and_says_what_it_says(folder: Path, programs: Programs, web):
    programs.add("nvidia-smi", "exit 1")
    programs.add("runpodctl", "exit 1")
    environment = {"POD_FOLDER": str(folder), "RUNPOD_POD_ID": "pod1", "MAX_HOURS": "0.0003", "RUNPOD_API_KEY": "k"}
    environment |= {"RUNPOD_REST_URL": f"{web.url}/v2", "RUNPOD_GRAPHQL_URL": f"{web.url}/graphql"}
    environment |= {"PATH": os.environ["PATH"], "PYTHONPATH": f"{ROOT / 'images' / 'label-server'}:{ROOT}"}
    command = [sys.executable, "-c", _WITHOUT_THREADS]
    running = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)
    try:
        eventually(lambda: "/graphql" in [path for path, _ in web.asked], 30, "it tries all ways")
        assert web.asked[0][0] == "/v2/pods/pod1/action"
    finally:
        running.kill()
        said = running.communicate()[1]
    assert "watchdog: INFO Stopping the pod: it has run for" in said
