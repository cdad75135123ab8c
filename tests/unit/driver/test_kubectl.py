"""What kubectl is told: each command, its order, and that no secret is on a command line. A script stands in for it."""

import json
import re
import shlex
import subprocess
import threading
from pathlib import Path

import pytest

from labelpod import cli
from labelpod.config.settings import PREFIX
from labelpod.project import Project
from tests.support.kubernetes import KUBECTL, OWN, SEVERAL, needs_kubectl
from tests.support.paths import ROOT

STAND_IN = """#!/bin/bash
printf -v line '%q ' "$@"
echo "$line" >>"$KUBECTL_LOG"
case "$1 $*" in
  *"$KUBECTL_FAILS"*) echo "error: the server does not let you" >&2; exit 1 ;;
  config*) cat "$KUBECTL_CONTEXT" ;;
  *"get namespace"*) cat "$KUBECTL_UID" ;;
  create*) cat "$KUBECTL_SECRET" ;;
  port-forward*) echo "Forwarding from 127.0.0.1:$KUBECTL_PORT -> 8000"; exec sleep 60 ;;
  *"get secret"*resourceVersion*) cat "$KUBECTL_LOG.version" ;;
  *"--filename -"*)
    cat >>"$KUBECTL_LOG.given"
    echo 8 >"$KUBECTL_LOG.version" ;;
  get*) cat "$KUBECTL_ANSWER" ;;
esac
"""

KUBECONFIG = """
apiVersion: v1
kind: Config
clusters: [{ name: hospital, cluster: { server: http://127.0.0.1:9 } }]
contexts: [{ name: hospital, context: { cluster: hospital } }]
"""


class Cluster:
    """A folder with settings and secrets, and a kubectl that notes what it is told."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.project, self.log, self._patch = Project(folder), folder / "log", monkeypatch
        for name in ("templates", "images"):
            (folder / name).symlink_to(ROOT / name)
        (folder / "secrets" / "users").mkdir(parents=True)
        for name in ("orthanc_users.json", "label_deletion", "dicomweb_password", "label_key"):
            (folder / "secrets" / name).write_text("hunter2")
        (folder / "secrets" / "users" / "users.json").write_text('{"users": []}')
        for name in ("orthanc_postgres.json", "postgres_password"):
            (folder / "secrets" / name).write_text("hunter2")
        (folder / "bin").mkdir()
        (folder / "bin" / "kubectl").write_text(STAND_IN)
        (folder / "bin" / "kubectl").chmod(0o755)
        monkeypatch.setenv("PATH", f"{folder / 'bin'}:/usr/bin:/bin")
        self.answer = folder / "answer"
        self.context, self.uid = folder / "context", folder / "uid"
        self.context.write_text("hospital\n")
        self.uid.write_text("7f00")
        (folder / "secret").write_text("kind: Secret")
        self.has_secrets("")
        for name in ("log", "answer", "secret", "context", "uid"):
            monkeypatch.setenv(f"KUBECTL_{name.upper()}", str(folder / name))
        self.fails("none of these words")
        self.is_set(SEVERAL)

    def is_set(self, values: dict[str, str]) -> None:
        self.project.env_file.write_text("".join(f"{PREFIX}{name}={value}\n" for name, value in values.items()))

    def has_secrets(self, version: str) -> None:
        """It has all Secrets in this version, "": none; kubectl brings version 8."""
        self.log.with_name("log.version").write_text(version)

    def fails(self, words: str) -> None:
        self._patch.setenv("KUBECTL_FAILS", words)

    def run(self, *words: str) -> int:
        return self.does("kubernetes", *words)

    def does(self, *words: str) -> int:
        return cli.main([*words], self.project)

    def has_started(self) -> None:
        """`kubernetes up` was run, and what it told kubectl is forgotten."""
        assert self.run("up", "--yes") == 0
        self.log.unlink()
        self.log.with_name("log.given").unlink()

    @property
    def users(self) -> list[str]:
        """Without those whose tokens are made here."""
        known = json.loads((self.project.secrets / "users/users.json").read_text())["users"]
        return [each["name"] for each in known if each["name"] not in ("admin", "monitor")]

    @property
    def commands(self) -> list[list[str]]:
        return [shlex.split(line) for line in self.log.read_text().splitlines()] if self.log.exists() else []

    @property
    def told(self) -> list[str]:
        return [" ".join(words) for words in self.commands]


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cluster:
    return Cluster(tmp_path, monkeypatch)


def test_up_brings_namespace_secrets_and_all_else_in_this_order_and_waits(cluster: Cluster, capsys):
    assert cluster.run("up", "--yes") == 0
    told = cluster.told
    assert told[0] == "config current-context" and "build/kubernetes/namespace.yaml" in told[1]
    secrets = [words.split()[3] for words in told if words.startswith("create secret generic")]
    assert secrets == ["orthanc", "label-server", "postgres", "users"]
    assert all(words.endswith("--context hospital --namespace labelpod") for words in told[1:])
    assert all("--dry-run=client" in words for words in told if "create" in words)
    folder = told.index(next(words for words in told if words.startswith("apply --kustomize")))
    assert told[folder].split()[2].endswith("build/kubernetes")
    waited = [words.split()[2].partition("/")[2] for words in told[folder + 1 :]]
    assert waited == ["postgres", "orthanc", "trainer", "door", "label-server"]
    assert "--timeout=1380s" in told[-1], "a minute for each of three, which start one after the other"
    assert cluster.log.with_name("log.given").read_text() == "kind: Secret" * 4


def test_up_brings_the_password_that_the_settings_have_now(cluster: Cluster):
    logins = cluster.project.secrets / "orthanc_users.json"
    for password in ("one-of-sixteen-letters", "two-of-sixteen-letters"):
        cluster.is_set(SEVERAL | {"ORTHANC_PASSWORD": password})
        assert cluster.run("up", "--yes") == 0
        assert json.loads(logins.read_text())["RegisteredUsers"]["labelpod"] == password
    assert (cluster.project.secrets / "label_key").read_text() == "hunter2", "labels are known by it"
    cluster.is_set(SEVERAL | {"ORTHANC_PASSWORD": "three-of-sixteen-letters", "KUBERNETES_SECRETS": "existing"})
    cluster.answer.write_text("users.json label_deletion dicomweb_password label_key postgresql.json password")
    assert cluster.run("up", "--yes") == 0
    assert json.loads(logins.read_text())["RegisteredUsers"]["labelpod"] == "two-of-sixteen-letters"


def test_where_no_password_is_set_one_is_made(cluster: Cluster):
    assert cluster.run("up", "--yes") == 0
    logins = json.loads((cluster.project.secrets / "orthanc_users.json").read_text())["RegisteredUsers"]
    assert {*logins} == {"labelpod", "label-server", "monitor"} and all(len(each) > 16 for each in logins.values())


@pytest.mark.parametrize(
    ("version", "runs", "restarted"),
    [
        ("7\n", True, ["deployment/label-server", "deployment/orthanc", "deployment/trainer"]),
        ("8\n", True, []),
        ("", True, []),
        ("7\n", False, []),
    ],
    ids=["changed", "the same", "none yet", "nothing runs"],
)
def test_who_read_a_secret_that_has_changed_is_started_anew(
    cluster: Cluster, version: str, runs: bool, restarted: list[str]
):
    cluster.has_secrets(version)
    cluster.answer.write_text("it" if runs else "")
    assert cluster.run("up", "--yes") == 0
    told = cluster.told
    assert [words.split()[2] for words in told if words.startswith("rollout restart")] == restarted
    last_secret = max(place for place, words in enumerate(told) if words.startswith("apply --server-side"))
    assert not restarted or told.index("rollout restart deployment/orthanc --context hospital --namespace labelpod") > (
        last_secret
    ), "with all of them"


def test_each_command_that_changes_something_is_shown_and_no_secret_is(cluster: Cluster, capsys):
    assert cluster.run("up", "--yes") == 0
    shown = "".join(capsys.readouterr())
    changing = [words for words in cluster.told if words.split()[0] in ("create", "rollout", "annotate")]
    assert shown.count("$ kubectl") == len(changing) + 2
    assert "hunter2" not in shown + "".join(cluster.told) and "kind: Secret" not in shown


@needs_kubectl
def test_the_real_kubectl_knows_these_words(cluster: Cluster):
    """No cluster answers at that address; a word that kubectl does not know would be refused before it is asked."""
    assert cluster.run("up", "--yes") == cluster.run("down", "--yes") == 0
    cluster.answer.write_text('{"items": []}')
    cluster.run("status")
    configuration = cluster.project.root / "kubeconfig"
    configuration.write_text(KUBECONFIG)
    for words in cluster.commands:
        command, env = [str(KUBECTL), *words], {"KUBECONFIG": str(configuration)}
        result = subprocess.run(command, capture_output=True, text=True, check=False, input="kind: Secret", env=env)
        refused = re.search("unknown (flag|command|shorthand)|invalid argument|required", result.stderr)
        assert not refused, f"{words}: {result.stderr}"
        assert words[0] != "create" or (result.returncode == 0 and "kind: Secret" in result.stdout)


def test_without_a_yes_nothing_is_changed_and_the_cluster_is_named(cluster: Cluster, capsys):
    for verb in ("up", "down"):
        assert cluster.run(verb) == 1
    assert cluster.told == ["config current-context"] * 2
    assert "nothing was changed" in capsys.readouterr().err


def test_a_missing_secret_is_said_before_anything_is_changed(cluster: Cluster, capsys):
    (cluster.project.secrets / "label_key").unlink()
    assert cluster.run("up", "--yes") == 1
    assert cluster.told == []
    said = capsys.readouterr().err
    assert "secrets/label_key is not there" in said and "deploy.py build" in said


def test_what_kubectl_refuses_is_said_in_its_words_and_ends_it(cluster: Cluster, capsys):
    cluster.fails("secret generic users")
    assert cluster.run("up", "--yes") == 1
    assert "Error: kubectl create: the server does not let you" in capsys.readouterr().err
    assert "users" in cluster.told[-1], "nothing after it"


def test_without_kubectl_it_is_said_what_to_install(cluster: Cluster, monkeypatch: pytest.MonkeyPatch, capsys):
    monkeypatch.setenv("PATH", str(cluster.project.root))
    assert cluster.run("up", "--yes") == 1
    assert "kubectl is not installed" in capsys.readouterr().err


def test_down_deletes_what_runs_and_neither_volumes_nor_secrets_nor_the_namespace(cluster: Cluster):
    assert cluster.run("down", "--yes") == 0
    asked, *deleted = cluster.told
    assert asked == "config current-context" and len(deleted) == 1
    kinds = deleted[0].split()[1].split(",")
    assert {"deployments", "statefulsets", "networkpolicies", "configmaps"} <= set(kinds)
    assert not {"persistentvolumeclaims", "secrets", "namespaces", "all"} & set(kinds)
    assert "--selector app.kubernetes.io/part-of=labelpod" in deleted[0]
    assert deleted[0].endswith("--context hospital --namespace labelpod")


def test_down_asks_for_routes_only_where_there_is_a_gateway(cluster: Cluster):
    cluster.is_set(OWN)
    assert cluster.run("down", "--yes") == 0
    assert [words for words in cluster.told if "httproutes" in words]


@pytest.mark.parametrize(("ready", "code"), [(3, 0), (2, 1), (None, 1)])
def test_status_ends_with_1_if_a_pod_is_not_ready(cluster: Cluster, capsys, ready: int | None, code: int):
    said = {} if ready is None else {"readyReplicas": ready}
    items = [{"metadata": {"name": "label-server"}, "spec": {"replicas": 3}, "status": said}]
    cluster.answer.write_text(json.dumps({"items": items}))
    assert cluster.run("status") == code
    assert capsys.readouterr().out == f"label-server  {ready or 0} of 3 ready\n"
    assert cluster.run("status", "--json") == code
    assert json.loads(capsys.readouterr().out) == {"label-server": {"wanted": 3, "ready": ready or 0}}


def test_status_says_if_there_is_nothing(cluster: Cluster, capsys):
    cluster.answer.write_text('{"items": []}')
    assert cluster.run("status") == 1
    assert "nothing of labelpod runs in namespace labelpod of the cluster hospital" in capsys.readouterr().err


TOLD = ["get namespace", "create secret", "apply --server-side", "annotate pods"]


def begun(cluster: Cluster) -> list[str]:
    return [" ".join(words[:2]) for words in cluster.commands]


def test_users_who_are_added_or_revoked_are_so_in_the_cluster(cluster: Cluster, capsys):
    cluster.has_started()
    cluster.context.write_text("another")
    assert cluster.does("users", "add", "anna") == 0
    assert begun(cluster) == TOLD and cluster.users == ["anna"]
    assert cluster.does("users", "revoke", "anna") == 0
    assert begun(cluster) == TOLD * 2 and cluster.users == []
    assert all(words[-4:] == ["--context", "hospital", "--namespace", "labelpod"] for words in cluster.commands)
    touched = cluster.commands[3]
    assert "app in (label-server,trainer)" in touched and "--overwrite" in touched
    said = capsys.readouterr()
    assert "Access of anna revoked" in said.out
    shown = [line for line in said.err.splitlines() if "$ kubectl annotate pods" in line]
    assert len(shown) == 3, "up, add and revoke"


def test_programs_get_the_new_user_and_nothing_else_and_the_address_is_the_clusters(cluster: Cluster, capsys):
    cluster.has_started()
    capsys.readouterr()
    assert cluster.does("users", "add", "anna", "--json") == 0
    said = capsys.readouterr()
    made = json.loads(said.out)
    assert made["url"] == f"https://labels.example.org/{made['token']}/"
    assert "this machine only" not in said.err and made["token"] not in said.err + "".join(cluster.told)


@pytest.mark.parametrize("failing", ["get namespace", "create secret generic users", "--filename -", "annotate"])
def test_who_is_revoked_where_the_cluster_was_not_told_is_not_said_to_be(cluster: Cluster, capsys, failing: str):
    assert cluster.does("users", "add", "anna") == 0
    cluster.has_started()
    capsys.readouterr()
    cluster.fails(failing)
    assert cluster.does("users", "revoke", "anna") == 1
    said = capsys.readouterr()
    assert "revoked" not in said.out and cluster.users == []
    error = said.err[said.err.index("Error:") :].splitlines()
    assert len(error) == 2 and "still has the users of before: kubectl" in error[0] and "does not let you" in error[0]
    assert "python3 deploy.py kubernetes users" in error[1]
    cluster.fails("none of these words")
    cluster.log.unlink()
    assert cluster.run("users") == 0
    assert begun(cluster) == TOLD


def test_the_same_command_again_tells_the_cluster_what_the_first_one_did_not(cluster: Cluster, capsys):
    assert cluster.does("users", "add", "anna") == 0
    cluster.has_started()
    cluster.fails("create secret generic users")
    assert cluster.does("users", "revoke", "anna") == 1
    cluster.fails("none of these words")
    cluster.log.unlink()
    assert cluster.does("users", "revoke", "anna") == 1
    assert begun(cluster) == TOLD and "there is no user anna" in capsys.readouterr().err


def test_a_file_of_users_that_cannot_be_read_does_not_get_into_the_cluster(cluster: Cluster, capsys):
    cluster.has_started()
    (cluster.project.secrets / "users" / "users.json").write_text("[]")
    for words in (("users", "revoke", "anna"), ("kubernetes", "users"), ("kubernetes", "up", "--yes")):
        assert cluster.does(*words) == 1
        assert "users.json cannot be read" in capsys.readouterr().err
    assert "secret generic users" not in " ".join(cluster.told)


def test_the_token_of_who_is_added_is_shown_though_the_cluster_was_not_told(cluster: Cluster, capsys):
    cluster.has_started()
    capsys.readouterr()
    cluster.fails("annotate")
    assert cluster.does("users", "add", "anna", "--json") == 1
    said = capsys.readouterr()
    assert json.loads(said.out)["name"] == "anna" and "still has the users of before" in said.err


def test_another_cluster_that_has_a_context_of_the_same_name_gets_no_users(cluster: Cluster, capsys):
    cluster.has_started()
    for other in ("8a00", ""):  # another namespace, and none
        cluster.uid.write_text(other)
        for words in (("users", "add", f"anna{other}"), ("kubernetes", "down", "--yes"), ("kubernetes", "up", "--yes")):
            assert cluster.does(*words) == 1
            assert "delete .kubernetes.json" in capsys.readouterr().err
    assert not [words for words in cluster.commands if words[0] not in ("get", "config")]


def test_a_folder_runs_in_one_cluster_until_it_is_stopped_there(cluster: Cluster, capsys):
    cluster.has_started()
    cluster.context.write_text("another")
    assert cluster.run("up", "--yes") == 1
    assert "runs in namespace labelpod of the cluster hospital" in capsys.readouterr().err
    cluster.is_set(SEVERAL | {"KUBERNETES_NAMESPACE": "second"})
    assert cluster.run("up", "--yes") == 1
    assert cluster.run("down", "--yes") == 0
    assert cluster.commands[-1][-4:] == ["--context", "hospital", "--namespace", "labelpod"]
    assert cluster.run("up", "--yes") == 0
    assert cluster.commands[-1][-4:] == ["--context", "another", "--namespace", "second"]


def test_a_folder_that_runs_in_no_cluster_tells_none(cluster: Cluster, capsys):
    assert cluster.does("users", "add", "anna") == 0
    cluster.has_started()
    assert cluster.run("down", "--yes") == 0
    cluster.log.unlink()
    assert cluster.does("users", "revoke", "anna") == 0
    assert cluster.told == []
    assert cluster.run("users") == 1
    assert "was started in no cluster" in capsys.readouterr().err


def test_what_only_started_to_start_is_known_to_have_users(cluster: Cluster):
    cluster.fails("apply --kustomize")
    assert cluster.run("up", "--yes") == 1
    assert cluster.does("users", "add", "anna") == 0
    assert begun(cluster)[-4:] == TOLD


def test_a_record_that_cannot_be_read_is_said(cluster: Cluster, capsys):
    for content in ("", "[]", '{"context": "hospital"}'):
        cluster.project.cluster_record.write_text(content)
        assert cluster.does("users", "add", f"anna{len(content)}") == 1
        assert ".kubernetes.json cannot be read" in capsys.readouterr().err
    assert cluster.users == [], "their tokens were never shown"


def test_the_cluster_gets_the_users_of_the_last_of_several_at_once(cluster: Cluster):
    """One kubectl reads the file and another one writes the Secret: nobody else's may come in between."""
    cluster.has_started()
    names = [f"user{number}" for number in range(4)]
    commands = [threading.Thread(target=cluster.does, args=("users", "add", name)) for name in names]
    for each in commands:
        each.start()
    for each in commands:
        each.join()
    pairs = [words for words in begun(cluster) if words.startswith(("create", "apply"))]
    assert pairs == ["create secret", "apply --server-side"] * 4 and sorted(cluster.users) == names


INFO = {"models": {"deepgrow_2d": {}, "deepedit": {}}, "datastore": {"total": 7, "completed": 3}}


def pod(name: str, ready: int) -> dict:
    return {"metadata": {"name": name}, "spec": {"replicas": 2}, "status": {"readyReplicas": ready}}


@pytest.mark.parametrize(("servers", "entrance"), [("2", "door"), ("1", "label-server")])
def test_the_label_server_in_the_cluster_is_asked_past_the_ingress(
    cluster: Cluster, web, monkeypatch: pytest.MonkeyPatch, capsys, servers: str, entrance: str
):
    cluster.is_set(SEVERAL | {"LABEL_SERVERS": servers, "LABEL_SERVER_TOKEN": "t" * 24})
    cluster.has_started()
    cluster.answer.write_text(json.dumps({"items": [pod("door", 2)]}))
    web.pages["/info/"] = web.answer(200, json.dumps(INFO).encode())
    monkeypatch.setenv("KUBECTL_PORT", web.url.rpartition(":")[2])
    assert cluster.run("test") == 0
    assert "It answers: deepedit, deepgrow_2d; 7 studies, 3 of them labelled" in capsys.readouterr().out
    assert f"port-forward service/{entrance} :8000 --context hospital --namespace labelpod" in cluster.told
    assert cluster.run("test", "--json") == 0
    assert json.loads(capsys.readouterr().out)["studies"] == 7
    web.pages["/info/"] = web.answer(502, b'{"detail": "The DICOMweb server does not answer"}')
    assert cluster.run("test") == 1 and "The DICOMweb server does not answer" in capsys.readouterr().err


def test_a_cluster_whose_pods_are_not_ready_is_not_asked(cluster: Cluster, capsys):
    cluster.has_started()
    cluster.answer.write_text(json.dumps({"items": [pod("door", 2), pod("label-server", 1)]}))
    assert cluster.run("test") == 1
    assert "not all pods of label-server are ready" in capsys.readouterr().err
    assert "port-forward" not in " ".join(cluster.told)


def test_what_keeps_kubectl_from_leading_there_is_said(cluster: Cluster, capsys):
    cluster.has_started()
    cluster.answer.write_text(json.dumps({"items": [pod("door", 2)]}))
    cluster.fails("port-forward")
    assert cluster.run("test") == 1
    assert "kubectl port-forward: error: the server does not let you" in capsys.readouterr().err


@needs_kubectl
def test_the_real_kubectl_knows_how_it_is_asked_for_a_secrets_names_and_a_port(cluster: Cluster):
    cluster.is_set(SEVERAL | {"KUBERNETES_SECRETS": "existing"})
    cluster.run("up", "--yes")
    cluster.run("test")
    configuration = cluster.project.root / "kubeconfig"
    configuration.write_text(KUBECONFIG)
    asked = [words for words in cluster.commands if words[0] == "port-forward" or words[:2] == ["get", "secret"]]
    for words in asked or [["port-forward", "service/door", ":8000"]]:
        command, env = [str(KUBECTL), *words], {"KUBECONFIG": str(configuration)}
        result = subprocess.run(command, capture_output=True, text=True, check=False, env=env)
        assert "127.0.0.1:9" in result.stderr, f"{words}: {result.stderr}"


def test_secrets_that_others_make_are_looked_for_and_not_made(cluster: Cluster, capsys):
    cluster.is_set(SEVERAL | {"KUBERNETES_SECRETS": "existing"})
    cluster.answer.write_text("users.json label_deletion dicomweb_password label_key postgresql.json password ")
    (cluster.project.secrets / "label_key").unlink()
    assert cluster.run("up", "--yes") == 0
    told = " ".join(cluster.told)
    assert "create secret" not in told and "annotate" not in told
    assert [words.split()[2] for words in cluster.told if words.startswith("get secret")] == [
        *("orthanc", "label-server", "users", "postgres"),
    ]
    capsys.readouterr()
    assert cluster.does("users", "add", "anna") == 1
    said = capsys.readouterr().err
    assert "does not know it yet" in said and "what makes the Secret `users` there" in said


def test_a_secret_that_others_should_have_made_is_missed_by_its_name(cluster: Cluster, capsys):
    cluster.is_set(SEVERAL | {"KUBERNETES_SECRETS": "existing"})
    cluster.answer.write_text("users.json ")
    assert cluster.run("up", "--yes") == 1
    said = capsys.readouterr().err
    assert "the Secret orthanc of namespace labelpod of the cluster hospital has no label_deletion" in said
    assert "apply --kustomize" not in " ".join(cluster.told)
