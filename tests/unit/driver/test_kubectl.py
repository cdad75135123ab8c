"""What kubectl is told: each command, its order, and that no secret is on a command line. A script stands in for it."""

import json
import re
import subprocess
import threading
from pathlib import Path

import pytest

from tests.support.kubectl_stand_in import Cluster
from tests.support.kubernetes import KUBECTL, OWN, SEVERAL, needs_kubectl

KUBECONFIG = """
apiVersion: v1
kind: Config
clusters: [{ name: hospital, cluster: { server: http://127.0.0.1:9 } }]
contexts: [{ name: hospital, context: { cluster: hospital } }]
"""


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cluster:
    return Cluster(tmp_path, monkeypatch)


def test_up_brings_namespace_secrets_and_all_else_in_this_order_and_waits(cluster: Cluster, capsys):
    assert cluster.run("up", "--yes") == 0
    told = cluster.told
    changing = [words for words in told if words.split()[0] not in ("config", "get")]
    assert told[0] == "config current-context" and "build/kubernetes/namespace.yaml" in changing[0]
    secrets = [words.split()[3] for words in told if words.startswith("create secret generic")]
    assert secrets == ["orthanc", "label-server", "postgres", "users"]
    assert all(words.endswith("--context hospital --namespace labelpod") for words in told[1:])
    assert all("--dry-run=client" in words for words in told if "create" in words)
    folder = told.index(next(words for words in told if words.startswith("apply --kustomize")))
    assert told[folder].split()[2].endswith("build/kubernetes")
    waited = [words.split()[2].partition("/")[2] for words in told[folder + 1 :] if words.startswith("rollout status")]
    assert waited == ["postgres", "orthanc", "trainer", "door", "label-server"]
    (last,) = [words for words in told if "rollout status deployment/label-server" in words]
    assert "--timeout=1980s" in last, "a minute for each of three, which start one after the other"
    assert cluster.log.with_name("log.given").read_text() == "kind: Secret" * 4


def test_each_command_that_changes_something_is_shown_and_no_secret_is(cluster: Cluster, capsys):
    assert cluster.run("up", "--yes") == 0
    shown = "".join(capsys.readouterr())
    changing = [words for words in cluster.told if words.split()[0] in ("create", "rollout", "annotate")]
    assert shown.count("$ kubectl") == len(changing) + 2
    assert "hunter2" not in shown + "".join(cluster.told) and "kind: Secret" not in shown


@needs_kubectl
def test_the_real_kubectl_knows_these_words(cluster: Cluster):
    """No cluster answers at that address; a word that kubectl does not know would be refused before it is asked."""
    cluster.holds("deployment.apps/gone")
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
    logins = cluster.project.secrets / "orthanc_users.json"
    for verb in ("up", "down"):
        assert cluster.run(verb) == 1
    assert {words.split()[0] for words in cluster.told} == {"config", "get"}
    assert logins.read_text() == "hunter2" and "ORTHANC_PASSWORD" not in cluster.project.env_file.read_text()
    assert "nothing was changed" in capsys.readouterr().err


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
    cluster.holds("deployment.apps/door", "configmap/door-1")
    assert cluster.run("down", "--yes") == 0
    asked = next(words for words in cluster.commands if "--selector" in words)
    kinds = set(asked[1].split(","))
    assert {"deployments", "statefulsets", "networkpolicies", "configmaps"} <= kinds
    assert not {"persistentvolumeclaims", "secrets", "namespaces", "all"} & kinds
    assert asked[2:4] == ["--selector", "app.kubernetes.io/part-of=labelpod"]
    assert cluster.deleted == ["configmap/door-1", "deployment.apps/door"]
    assert cluster.told[-1].endswith("--context hospital --namespace labelpod")


def test_where_nothing_runs_down_deletes_nothing(cluster: Cluster):
    assert cluster.run("down", "--yes") == 0
    assert cluster.deleted == []


def test_down_deletes_routes_whatever_the_settings_say_by_now(cluster: Cluster):
    cluster.holds("deployment.apps/door", routes=("httproute.gateway.networking.k8s.io/labelpod",))
    assert cluster.run("down", "--yes") == 0
    assert len(cluster.deleted) == 2


def test_routes_that_cannot_be_asked_for_are_an_error_where_there_is_a_gateway(cluster: Cluster, capsys):
    cluster.holds("deployment.apps/door")
    cluster.is_set(OWN)
    assert cluster.run("down", "--yes") == 1
    assert cluster.deleted == [] and "no such resource type" in capsys.readouterr().err


def test_up_deletes_what_other_settings_made_once_the_rest_runs(cluster: Cluster):
    kept = ("deployment.apps/label-server", "service/label-server", "ingress.networking.k8s.io/labelpod")
    cluster.wants("namespace/labelpod", "persistentvolumeclaim/orthanc", "configmap/orthanc-2", *kept)
    cluster.holds(*kept, "deployment.apps/door", "service/door", routes=("httproute.gateway.networking.k8s.io/door",))
    assert cluster.run("up", "--yes") == 0
    assert cluster.deleted == ["deployment.apps/door", "httproute.gateway.networking.k8s.io/door", "service/door"]
    begun = [" ".join(words[:3]) for words in cluster.commands]
    assert begun.index("delete deployment.apps/door httproute.gateway.networking.k8s.io/door") > begun.index(
        "rollout status deployment/label-server"
    )
    asked = [words[1] for words in cluster.commands if words[:1] == ["get"] and "--selector" in words]
    assert not any("configmaps" in kinds for kinds in asked), "`kubectl rollout undo` needs those of before"


def test_what_does_not_start_keeps_what_ran_before(cluster: Cluster):
    cluster.holds("deployment.apps/door")
    cluster.fails("rollout status deployment/label-server")
    assert cluster.run("up", "--yes") == 1
    assert cluster.deleted == []


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


# The namespace is asked for its number once more when it is noted what users it has.
TOLD = ["get namespace", "get secret", "create secret", "apply --server-side", "get namespace", "annotate pods"]


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
    touched = cluster.commands[TOLD.index("annotate pods")]
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
    assert begun(cluster)[-len(TOLD) :] == TOLD


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
