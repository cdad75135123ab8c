"""The audit log as the driver shows it: asked for where it is kept, running or not."""

import json
import subprocess
import time
from datetime import UTC, datetime
from types import SimpleNamespace

import pytest

from labelpod import audit, cli, process
from labelpod.docker.stack import Stack
from labelpod.errors import DeployError
from labelpod.project import Project
from labelpod.security import users
from tests.support.kubectl_stand_in import Cluster
from tests.support.kubernetes import KUBECTL, needs_kubectl

RECORD = {"time": "2026-11-01T08:05:00.000Z", "user": "anna", "role": "annotator", "address": "10.0.0.7"}
RECORD |= {"action": "submit label", "study": "1.1", "series": "1.1.1", "outcome": 200, "milliseconds": 31}
NOW = datetime(2026, 11, 28, 12, 0, tzinfo=UTC)


@pytest.fixture
def answer(programs, monkeypatch, tmp_path):
    """What the label server's container says of its log, and whether it runs."""
    container = SimpleNamespace(name="server-1", state=SimpleNamespace(running=True, status="running"))
    monkeypatch.setattr(Stack, "containers", lambda self: {"label-server": container})

    def say(text: str, code: int = 0) -> None:
        (tmp_path / "said").write_text(text)
        programs.add("docker", f"cat {tmp_path}/said; echo 'no such module' >&2; exit {code}")

    return say


def shown(tmp_path, capsys, *arguments: str) -> str:
    assert cli.main(["audit", *arguments], Project(tmp_path)) == 0
    return capsys.readouterr().out


def test_people_see_a_table(answer, tmp_path, capsys):
    answer(json.dumps(RECORD) + "\n")
    head, row = shown(tmp_path, capsys).splitlines()
    for name, value in (("user", "anna"), ("action", "submit label"), ("outcome", "200"), ("study and", "1.1 1.1.1")):
        assert head.index(name) == row.index(value)


def test_programs_get_a_json_line_each(answer, tmp_path, capsys):
    answer(json.dumps(RECORD) + "\n" + json.dumps(RECORD | {"times": 3}) + "\n")
    lines = shown(tmp_path, capsys, "--json").splitlines()
    assert [json.loads(line) for line in lines] == [RECORD, RECORD | {"times": 3}]


def test_the_label_server_is_asked_for_what_is_wanted(answer, programs, tmp_path, capsys):
    answer("")
    asked = ("--user", "-x", "--study", "1.1", "--since", "2026-11-01T00:00+00:00")
    assert "Nothing is recorded" in shown(tmp_path, capsys, *asked)
    (call,) = programs.calls("docker")
    assert call.startswith("exec -i server-1 start_server python -m label_server.audit")
    assert call.endswith("--since=2026-11-01T00:00:00.000Z --user=-x --study=1.1")


def test_a_record_moves_no_cursor(answer, tmp_path, capsys):
    answer(json.dumps(RECORD | {"user": "\x1b[2Jforged\nline"}) + "\n")
    assert len(shown(tmp_path, capsys).splitlines()) == 2


def test_a_log_that_cannot_be_read_is_said(answer, tmp_path):
    answer("", code=1)
    with pytest.raises(DeployError, match="cannot be read: no such module"):
        audit.records(Project(tmp_path), "", "", "")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2h", "2026-11-28T10:00:00.000Z"),
        ("30m", "2026-11-28T11:30:00.000Z"),
        ("7d", "2026-11-21T12:00:00.000Z"),
        ("2026-11-01T08:30+02:00", "2026-11-01T06:30:00.000Z"),
    ],
)
def test_a_time_is_given_as_people_say_it(text: str, expected: str):
    assert audit.since(text, NOW) == expected


@pytest.mark.parametrize("text", ["yesterday", "2", "h", "-2h", "2h ago", "2026-13-01"])
def test_what_is_no_time_is_refused(text: str):
    with pytest.raises(ValueError, match=r".*"):
        audit.since(text, NOW)


def test_users_are_listed_with_when_they_were_seen_and_their_labels(answer, tmp_path, capsys):
    for name in ("anna", "berta"):
        users.add(name, "annotator", tmp_path / "secrets")
    answer(json.dumps({"anna": {"last_seen": RECORD["time"], "labels_stored": 2}}))
    assert cli.main(["users", "list", "--json"], Project(tmp_path)) == 0
    listed = {each["name"]: (each["last_seen"], each["labels_stored"]) for each in json.loads(capsys.readouterr().out)}
    assert listed == {"anna": (RECORD["time"], 2), "berta": (None, None)}
    assert cli.main(["users", "list"], Project(tmp_path)) == 0
    anna, berta = capsys.readouterr().out.splitlines()
    assert "2026-11-01" in anna and anna.endswith("2 labels") and berta.endswith("-")


@pytest.mark.parametrize("problem", ["no docker", "no engine", "an older image"])
def test_users_are_listed_whatever_docker_says(problem: str, answer, tmp_path, monkeypatch, capsys):
    def refuse(_: Stack) -> None:
        raise DeployError("Docker does not answer", "python3 deploy.py doctor")

    answer("", code=1)
    if problem == "no docker":
        monkeypatch.setenv("PATH", str(tmp_path))
    if problem == "no engine":
        monkeypatch.setattr(Stack, "containers", refuse)
    users.add("anna", "annotator", tmp_path / "secrets")
    assert cli.main(["users", "list"], Project(tmp_path)) == 0
    assert capsys.readouterr().out.startswith("annotator  anna ")


# --- in a cluster ---

ASKED = "exec deployment/label-server --context hospital --namespace labelpod -- start_server python -m"


@pytest.fixture
def cluster(tmp_path, monkeypatch) -> Cluster:
    """One that the folder runs in, with a record and a user."""
    started = Cluster(tmp_path, monkeypatch)
    known = {"context": "hospital", "namespace": "labelpod", "uid": "7f00"}
    started.project.cluster_record.write_text(json.dumps(known))
    users.add("anna", "annotator", started.project.secrets)
    started.answer.write_text(json.dumps(RECORD) + "\n")
    return started


def test_where_the_folder_runs_in_a_cluster_one_of_its_label_servers_tells_of_all(cluster: Cluster, capsys):
    assert cluster.does("audit", "--user", "anna", "--json") == 0
    said = capsys.readouterr()
    assert json.loads(said.out) == RECORD
    assert cluster.told[-1] == f"{ASKED} label_server.audit --user=anna"
    assert f"$ kubectl {cluster.told[-1]}" in said.err


@needs_kubectl
def test_the_real_kubectl_knows_the_question(cluster: Cluster):
    """It refuses words that it does not know before it looks for the cluster."""
    cluster.does("audit", "--user", "anna")
    command = [str(KUBECTL), *cluster.commands[-1]]
    result = subprocess.run(command, capture_output=True, text=True, check=False, env={"KUBECONFIG": "/dev/null"})
    assert 'context "hospital" does not exist' in result.stderr


@pytest.mark.parametrize(
    ("fails", "uid", "said"),
    [
        ("exec deployment", "7f00", "the audit log cannot be read: the server does not let you"),
        ("get namespace", "7f00", "kubectl get: the server does not let you"),
        ("none of these words", "another", "is not the one that `kubernetes up` started this folder in"),
    ],
    ids=["no right", "no answer", "another cluster"],
)
def test_where_the_cluster_does_not_tell_there_is_no_log_but_the_users(
    cluster: Cluster, capsys, fails: str, uid: str, said: str
):
    cluster.fails(fails)
    cluster.uid.write_text(uid)
    assert cluster.does("audit") == 1
    message, remedy = capsys.readouterr().err.splitlines()[-2:]
    assert message.startswith("Error: ") and said in message and "kub" in remedy.lower()
    cluster.log.unlink()
    assert cluster.does("users", "list") == 0
    assert "annotator  anna " in capsys.readouterr().out
    assert "docker" not in "".join(cluster.told) and ("exec" in cluster.told[-1]) == fails.startswith("exec")


def test_users_are_listed_though_the_cluster_says_nothing_at_all(cluster: Cluster, monkeypatch, capsys):
    monkeypatch.setattr(audit, "_SECONDS", 0.1)
    (cluster.project.root / "bin" / "kubectl").write_text("#!/bin/sh\nexec sleep 20\n")
    began = time.monotonic()
    assert cluster.does("users", "list") == 0
    assert "annotator  anna " in capsys.readouterr().out and time.monotonic() - began < 10


def test_users_of_a_cluster_are_listed_with_when_they_were_seen_and_their_labels(cluster: Cluster, capsys):
    cluster.answer.write_text(json.dumps({"anna": {"last_seen": RECORD["time"], "labels_stored": 2}}))
    assert cluster.does("users", "list", "--json") == 0
    listed = {each["name"]: each for each in json.loads(capsys.readouterr().out)}
    assert (listed["anna"]["last_seen"], listed["anna"]["labels_stored"]) == (RECORD["time"], 2)
    assert cluster.told[-1] == f"{ASKED} label_server.audit --users"


def test_a_command_in_a_pod_that_fails_says_why_and_not_only_how():
    said = "no such module\ncommand terminated with exit code 1\n"
    assert process.why(subprocess.CompletedProcess([], 1, "", said)) == "no such module"
