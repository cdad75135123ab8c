"""Which Secrets get into the cluster, from where, and who starts anew for them. A script stands in for kubectl."""

import json
from pathlib import Path

import pytest

from tests.support.kubectl_stand_in import Cluster
from tests.support.kubernetes import SEVERAL


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cluster:
    return Cluster(tmp_path, monkeypatch)


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


def test_who_has_read_another_secret_is_started_anew_and_nobody_else(cluster: Cluster):
    for password, restarted in (("one", []), ("one", []), ("two", ["orthanc"]), ("two", ["orthanc"])):
        cluster.is_set(SEVERAL | {"ORTHANC_PASSWORD": f"{password}-of-sixteen-letters"})
        assert cluster.run("up", "--yes") == 0
        assert cluster.restarted == restarted
    login = {"DICOMWEB_USERNAME": "reader", "DICOMWEB_PASSWORD": "another"}
    cluster.is_set(SEVERAL | {"ORTHANC_PASSWORD": "two-of-sixteen-letters"} | login)
    assert cluster.run("up", "--yes") == 0
    assert cluster.restarted == ["orthanc", "label-server", "trainer"]


@pytest.mark.parametrize("words", ["create secret generic users", "apply --kustomize", "rollout restart"])
def test_the_next_up_starts_anew_what_one_that_failed_has_not(cluster: Cluster, words: str):
    assert cluster.run("up", "--yes") == 0
    cluster.is_set(SEVERAL | {"ORTHANC_PASSWORD": "another-of-sixteen-letters"})
    cluster.fails(words)
    assert cluster.run("up", "--yes") == 1
    cluster.fails("none of these words")
    cluster.log.unlink()
    assert cluster.run("up", "--yes") == 0
    assert cluster.restarted == ["orthanc"]


@pytest.mark.parametrize(("secret", "file"), [("label-server", "label_key"), ("postgres", "postgres_password")])
def test_another_folders_stack_in_the_cluster_is_not_given_other_secrets(
    cluster: Cluster, capsys, secret: str, file: str
):
    cluster.has(secret, "of another folder")
    assert cluster.run("up", "--yes") == 1
    assert f"has another secrets/{file}" in capsys.readouterr().err
    assert not [words for words in cluster.told if words.split()[0] not in ("config", "get")]
    assert not cluster.project.cluster_record.exists()
    cluster.has(secret, "hunter2")
    assert cluster.run("up", "--yes") == 0


def test_what_was_started_by_hand_reads_another_password_too(cluster: Cluster):
    cluster.holds("deployment.apps/orthanc", "deployment.apps/label-server", "deployment.apps/trainer")
    assert cluster.run("up", "--yes") == 0
    assert cluster.restarted == ["orthanc", "label-server", "trainer"]


def test_a_missing_secret_is_said_before_anything_is_changed(cluster: Cluster, capsys):
    (cluster.project.secrets / "label_key").unlink()
    assert cluster.run("up", "--yes") == 1
    assert cluster.told == []
    said = capsys.readouterr().err
    assert "secrets/label_key is not there" in said and "deploy.py build" in said


def test_secrets_that_others_make_are_looked_for_and_not_made(cluster: Cluster, capsys):
    cluster.is_set(SEVERAL | {"KUBERNETES_SECRETS": "existing"})
    cluster.answer.write_text("users.json label_deletion dicomweb_password label_key postgresql.json password ")
    (cluster.project.secrets / "label_key").unlink()
    assert cluster.run("up", "--yes") == 0
    told = " ".join(cluster.told)
    assert "create secret" not in told and "annotate pods" not in told
    looked = [words.split()[2] for words in cluster.told if words.startswith("get secret") and "go-template" in words]
    assert looked == ["orthanc", "label-server", "users", "postgres"]
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
