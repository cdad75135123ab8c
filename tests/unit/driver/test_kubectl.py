"""What kubectl is told: each command, its order, and that no secret is on a command line. A script stands in for it."""

import json
import re
import subprocess
from pathlib import Path

import pytest

from labelpod import cli
from labelpod.config.settings import PREFIX
from labelpod.project import Project
from tests.support.kubernetes import KUBECTL, OWN, SEVERAL, needs_kubectl
from tests.support.paths import ROOT

STAND_IN = """#!/bin/sh
echo "$@" >>"$KUBECTL_LOG"
case "$1 $*" in
  *"$KUBECTL_FAILS"*) echo "error: the server does not let you" >&2; exit 1 ;;
  config*) echo hospital ;;
  create*) cat "$KUBECTL_SECRET" ;;
  *"--filename -"*) cat >>"$KUBECTL_LOG.given" ;;
  get*) cat "$KUBECTL_ANSWER" ;;
esac
"""


class Cluster:
    """A folder with settings and secrets, and a kubectl that notes what it is told."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.project, self.log, self._patch = Project(folder), folder / "log", monkeypatch
        for name in ("templates", "images"):
            (folder / name).symlink_to(ROOT / name)
        (folder / "secrets" / "users").mkdir(parents=True)
        for name in ("orthanc_users.json", "label_deletion", "dicomweb_password", "label_key", "users/users.json"):
            (folder / "secrets" / name).write_text("hunter2")
        for name in ("orthanc_postgres.json", "postgres_password"):
            (folder / "secrets" / name).write_text("hunter2")
        (folder / "bin").mkdir()
        (folder / "bin" / "kubectl").write_text(STAND_IN)
        (folder / "bin" / "kubectl").chmod(0o755)
        monkeypatch.setenv("PATH", f"{folder / 'bin'}:/usr/bin:/bin")
        self.answer = folder / "answer"
        (folder / "secret").write_text("kind: Secret")
        for name, value in (("LOG", self.log), ("ANSWER", self.answer), ("SECRET", folder / "secret")):
            monkeypatch.setenv(f"KUBECTL_{name}", str(value))
        self.fails("none of these words")
        self.is_set(SEVERAL)

    def is_set(self, values: dict[str, str]) -> None:
        self.project.env_file.write_text("".join(f"{PREFIX}{name}={value}\n" for name, value in values.items()))

    def fails(self, words: str) -> None:
        self._patch.setenv("KUBECTL_FAILS", words)

    def run(self, *words: str) -> int:
        return cli.main(["kubernetes", *words], self.project)

    @property
    def told(self) -> list[str]:
        return self.log.read_text().splitlines() if self.log.exists() else []


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cluster:
    return Cluster(tmp_path, monkeypatch)


def test_up_brings_namespace_secrets_and_all_else_in_this_order_and_waits(cluster: Cluster, capsys):
    assert cluster.run("up", "--yes") == 0
    told = cluster.told
    assert told[0] == "config current-context" and told[1].endswith("build/kubernetes/namespace.yaml")
    secrets = [words.split()[3] for words in told if words.startswith("create secret generic")]
    assert secrets == ["orthanc", "label-server", "users", "postgres"]
    assert all("--namespace labelpod" in words and "--dry-run=client" in words for words in told if "create" in words)
    folder = told.index(next(words for words in told if words.startswith("apply --kustomize")))
    assert told[folder].endswith("build/kubernetes")
    waited = [words.split()[2].partition("/")[2] for words in told[folder + 1 :]]
    assert waited == ["postgres", "orthanc", "trainer", "door", "label-server"]
    assert cluster.log.with_name("log.given").read_text() == "kind: Secret" * 4


def test_each_command_that_changes_something_is_shown_and_no_secret_is(cluster: Cluster, capsys):
    assert cluster.run("up", "--yes") == 0
    shown = "".join(capsys.readouterr())
    assert (
        shown.count("$ kubectl")
        == len([words for words in cluster.told if words.split()[0] in ("create", "rollout")]) + 2
    )
    assert "hunter2" not in shown + "".join(cluster.told) and "kind: Secret" not in shown


@needs_kubectl
def test_the_real_kubectl_knows_these_words(cluster: Cluster):
    """No cluster answers at that address; a word that kubectl does not know would be refused before it is asked."""
    assert cluster.run("up", "--yes") == cluster.run("down", "--yes") == 0
    cluster.answer.write_text('{"items": []}')
    cluster.run("status")
    for words in cluster.told:
        command = [str(KUBECTL), "--server=http://127.0.0.1:9", *words.split()]
        result = subprocess.run(
            command, capture_output=True, text=True, check=False, input="kind: Secret", env={"KUBECONFIG": "/dev/null"}
        )
        refused = re.search("unknown (flag|command|shorthand)|invalid argument|required", result.stderr)
        assert not refused, f"{words}: {result.stderr}"
        assert words.split()[0] != "create" or (result.returncode == 0 and "kind: Secret" in result.stdout)


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
    assert "--selector app.kubernetes.io/part-of=labelpod --namespace labelpod" in deleted[0]


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
