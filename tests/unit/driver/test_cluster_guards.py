"""What an `up` or `down` must not take over, cut off or forget in a cluster. A script stands in for kubectl."""

import json
import shutil
from pathlib import Path

import pytest

from labelpod.project import Project
from tests.support.kubectl_stand_in import Cluster
from tests.support.kubernetes import ONE, OWN, SEVERAL

CHANGING = {"apply", "create", "delete", "annotate", "rollout"}


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cluster:
    return Cluster(tmp_path, monkeypatch)


def changed(cluster: Cluster) -> set[str]:
    return CHANGING & {words[0] for words in cluster.commands}


def test_a_namespace_in_which_others_are_is_not_taken(cluster: Cluster, capsys):
    cluster.notes("pods", "pod/somebody-else-7c9\n")
    assert cluster.run("up", "--yes") == 1
    said = capsys.readouterr().err
    assert "has pods of others, such as pod/somebody-else-7c9" in said and "LABELPOD_KUBERNETES_NAMESPACE" in said
    assert not changed(cluster) and not cluster.project.cluster_record.exists()


def test_a_namespace_of_the_stacks_own_is_known_by_its_label(cluster: Cluster):
    cluster.notes("pods", "pod/orthanc-7c9\n")
    cluster.notes("label", "labelpod")
    assert cluster.run("up", "--yes") == 0


@pytest.mark.parametrize(
    ("there", "settings"),
    [("sqlite", SEVERAL), ("postgres", ONE), ("postgres", OWN), ("old.example.org", OWN)],
)
def test_another_database_than_the_one_that_knows_the_studies_is_refused(
    cluster: Cluster, capsys, there: str, settings: dict[str, str]
):
    (cluster.project.secrets / "orthanc_postgres_tls.json").write_text("hunter2")
    cluster.is_set(settings)
    cluster.notes("database", there)
    assert cluster.run("up", "--yes") == 1
    assert f"are known by the database {there}, and these settings name" in capsys.readouterr().err
    assert not changed(cluster)


def test_the_database_that_knows_the_studies_goes_on(cluster: Cluster):
    cluster.notes("database", "postgres")
    assert cluster.run("up", "--yes") == 0


@pytest.mark.parametrize(("volume", "settings"), [("label-server", SEVERAL), ("trainer", ONE)])
def test_models_in_a_volume_that_nobody_would_read_are_not_left_behind_unsaid(
    cluster: Cluster, capsys, volume: str, settings: dict[str, str]
):
    cluster.is_set(settings)
    cluster.notes(f"claim.{volume}", f"persistentvolumeclaim/{volume}\n")
    assert cluster.run("up", "--yes") == 1
    said = capsys.readouterr().err
    assert (
        f"are in the volume {volume}" in said and f"LABELPOD_LABEL_SERVERS={settings.get('LABEL_SERVERS', 1)}" in said
    )
    assert not changed(cluster)


def test_down_without_a_record_stops_no_other_folders_stack(cluster: Cluster, capsys):
    cluster.holds("deployment.apps/orthanc")
    cluster.has("label-server", "of another folder")
    assert cluster.run("down", "--yes") == 1
    assert "has another secrets/label_key" in capsys.readouterr().err and cluster.deleted == []
    (cluster.project.secrets / "label_key").unlink()
    assert cluster.run("down", "--yes") == 1 and cluster.deleted == [], "a folder that has none started nothing"


def test_down_waits_until_the_pods_have_ended_and_says_if_some_have_not(cluster: Cluster, capsys):
    cluster.has_started()
    assert cluster.run("down", "--yes") == 0
    (waited,) = [words for words in cluster.commands if words[0] == "wait"]
    assert waited[1:3] == ["--for=delete", "pods"] and waited[-4:-2] == ["--context", "hospital"]
    cluster.has_started()
    cluster.fails("wait --for=delete")
    capsys.readouterr()
    assert cluster.run("down", "--yes") == 0
    assert "Some pods have not ended yet" in capsys.readouterr().err
    assert not cluster.project.cluster_record.exists()


def copy_of(cluster: Cluster, folder: Path) -> Project:
    """The folder of a colleague: the same settings, secrets and record."""
    shutil.copytree(cluster.project.root, folder, symlinks=True)
    return Project(folder)


def names(project: Project) -> list[str]:
    return [each["name"] for each in json.loads((project.secrets / "users" / "users.json").read_text())["users"]]


def test_who_was_revoked_from_one_folder_does_not_come_back_from_another(
    cluster: Cluster, capsys, tmp_path_factory: pytest.TempPathFactory
):
    assert cluster.does("users", "add", "anna") == 0
    cluster.has_started()
    other = copy_of(cluster, tmp_path_factory.mktemp("colleague") / "x")
    assert cluster.does("users", "revoke", "anna") == 0
    mine, cluster.project = cluster.project, other
    capsys.readouterr()
    cluster.log.unlink()
    for words in (("users", "add", "ben"), ("kubernetes", "users"), ("kubernetes", "up", "--yes")):
        assert cluster.does(*words) == 1
        assert "were changed from another folder" in capsys.readouterr().err
    assert not changed(cluster)
    shutil.copy(mine.secrets / "users" / "users.json", other.secrets / "users" / "users.json")
    assert cluster.run("users") == 0, "now it knows those that are there"
    assert cluster.does("users", "add", "ben") == 0
    assert "ben" in names(other) and "anna" not in names(other)


def test_after_down_the_same_folder_starts_again_with_another_token_of_its_admin(cluster: Cluster):
    cluster.is_set(SEVERAL | {"LABEL_SERVER_TOKEN": "t" * 24})
    cluster.has_started()
    assert cluster.run("down", "--yes") == 0
    cluster.is_set(SEVERAL | {"LABEL_SERVER_TOKEN": "u" * 24})
    assert cluster.run("up", "--yes") == 0
