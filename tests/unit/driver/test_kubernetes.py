"""The folder for Kubernetes: which settings it takes, what is written where. What is in it: tests/contract."""

import os
from pathlib import Path

import pytest

from labelpod import cli, kubernetes
from labelpod.config import settings
from labelpod.config.settings import PREFIX, Settings
from labelpod.errors import DeployError
from labelpod.project import Project
from tests.support.kubernetes import ONE, OWN, SEVERAL, SITES, manifests
from tests.support.paths import ROOT

GOLDEN = Path(__file__).with_name("golden") / "kubernetes"


@pytest.fixture
def project(tmp_path: Path) -> Project:
    for name in ("templates", "images"):
        (tmp_path / name).symlink_to(ROOT / name)
    lines = [f"{PREFIX}{name}={value}\n" for name, value in SEVERAL.items()]
    (tmp_path / ".env").write_text("".join(lines))
    return Project(tmp_path)


@pytest.mark.parametrize("name", [*kubernetes.components(Settings.model_validate(SEVERAL)), kubernetes.KUSTOMIZATION])
def test_several_label_servers_give_the_golden_files(name: str):
    golden, rendered = GOLDEN / name, manifests(SEVERAL)[name]
    if os.environ.get("UPDATE_GOLDEN"):
        golden.write_text(rendered)
    assert rendered == golden.read_text(), (
        "if this is meant: UPDATE_GOLDEN=1 pytest tests/unit/driver/test_kubernetes.py"
    )


@pytest.mark.parametrize("site", SITES)
def test_every_file_says_that_it_is_generated(site: str):
    texts = manifests(SITES[site])
    assert all("do not edit" in text for name, text in texts.items() if name != "access.lua")


def test_the_door_in_a_cluster_knows_pods_and_not_containers():
    door = manifests(SEVERAL)["haproxy.cfg"]
    assert "STACK" not in door and "orthanc:8042" not in door and "haproxy.cfg" not in manifests(ONE)
    servers = "server-template label-server-pods- 3 label-server-pods.labelpod.svc.cluster.local:8000"
    trainer = "server-template trainer-pods- 1 trainer-pods.labelpod.svc.cluster.local:8000"
    assert door.count(servers) == door.count(trainer) == 1
    assert door.count("hash-key addr") == 2, "each door would else count the pods in an order of its own"
    assert "bind :8404" in door, "a probe comes from the node"
    assert ".other.svc." in manifests(SEVERAL | {"KUBERNETES_NAMESPACE": "other"})["haproxy.cfg"]


# What a cluster cannot be given, and a word of the reason and of what to do.
REFUSED = {
    "no place of the images": ({"KUBERNETES_IMAGES": ""}, "KUBERNETES_IMAGES", "REGISTRY/FOLDER"),
    "several on SQLite": ({"ORTHANC_DB": "sqlite"}, "ORTHANC_DB=sqlite", "ORTHANC_DB in .env to postgres"),
    "no shared class": ({"KUBERNETES_SHARED_STORAGE_CLASS": ""}, "SHARED_STORAGE_CLASS", "ReadWriteMany"),
    "two Orthancs without a shared class": (
        {"LABEL_SERVERS": "1", "ORTHANC_SERVERS": "2", "KUBERNETES_SHARED_STORAGE_CLASS": ""},
        "ORTHANC_SERVERS=2 without LABELPOD_KUBERNETES_SHARED_STORAGE_CLASS",
        "ReadWriteMany",
    ),
    "a database and SQLite": (
        {"LABEL_SERVERS": "1", "ORTHANC_DB": "sqlite", "KUBERNETES_POSTGRES_HOST": "db.example.org"},
        "KUBERNETES_POSTGRES_HOST",
        "postgres",
    ),
    "more than the volume holds": ({"ORTHANC_MAX_GB": "501"}, "KUBERNETES_ORTHANC_GB=500", "KUBERNETES_ORTHANC_GB"),
    "a folder": ({"LABEL_SERVERS": "1", "STUDIES": "/srv/studies"}, "/srv/studies", "DICOMweb"),
    "HTTPS inside": ({"TLS_CERT": "c.pem", "TLS_KEY": "k.pem"}, "ends at the Ingress", "TLS_SECRET"),
    "one address for all": ({"TRUSTED_PROXY": ""}, "TRUSTED_PROXY", "network of the cluster's pods"),
    "a DICOM port for all": ({"DICOM_AETS": ""}, "DICOM_BIND_ADDRESS", "AET@ADDRESS"),
    "scanners by name": ({"DICOM_AETS": "CT1@pacs"}, "DICOM_BIND_ADDRESS", "addresses"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_settings_that_contradict_each_other_in_a_cluster_are_refused_with_the_reason(case: str):
    changed, reason, remedy = REFUSED[case]
    with pytest.raises(DeployError) as caught:
        manifests(SEVERAL | changed)
    assert reason in caught.value.message and remedy in caught.value.remedy
    assert "\n" not in caught.value.message + caught.value.remedy


WRONG = [
    ("NAMESPACE", "Labels"),
    ("NAMESPACE", "a b"),
    ("IMAGES", "registry/labelpod:1"),
    ("IMAGES", "registry/a b"),
    ("STORAGE_CLASS", "fast}"),
    ("SHARED_STORAGE_CLASS", "-nfs"),
    ("POSTGRES_HOST", "10.0.0.7"),
    ("POSTGRES_HOST", "db: {"),
    ("HOST", "labels.example.org/x"),
    ("TLS_SECRET", "a]"),
    ("INGRESS_CLASS", "x: y"),
    ("INGRESS_NAMESPACE", "a.b}"),
    ("GATEWAY", "inside"),
    ("GPU", "gpu"),
    ("GPU", 'nvidia.com/gpu: "9'),
    ("ORTHANC_GB", "0"),
]


@pytest.mark.parametrize(("name", "value"), WRONG)
def test_what_is_no_name_in_a_cluster_is_refused_before_it_gets_into_a_file(tmp_path: Path, name: str, value: str):
    with pytest.raises(DeployError, match=f"KUBERNETES_{name}"):
        settings.load(tmp_path / "absent", {f"{PREFIX}KUBERNETES_{name}": value})


def test_compose_does_not_mind_what_only_a_cluster_cannot_be_given(tmp_path: Path):
    values = {"LABEL_SERVERS": "2", "KUBERNETES_POSTGRES_HOST": "db.example.org", "ORTHANC_MAX_GB": "9000"}
    settings.load(tmp_path / "absent", {PREFIX + name: value for name, value in values.items()})


def test_render_for_kubernetes_writes_a_folder_and_says_what_has_changed(project: Project, capsys):
    assert cli.main(["render", "--for", "kubernetes"], project) == 0
    folder = project.build / "kubernetes"
    assert {path.name for path in folder.iterdir()} == set(manifests(SEVERAL))
    assert "build/kubernetes/door.yaml written" in capsys.readouterr().out
    assert cli.main(["render", "--for", "kubernetes"], project) == 0
    assert capsys.readouterr().out == ""
    assert not (project.build / "orthanc.json").exists(), "Compose's"


def test_render_without_for_writes_composes_files_as_before(project: Project, capsys):
    (project.root / "docs").symlink_to(ROOT / "docs")
    assert cli.main(["render"], project) == 0
    assert (project.build / "haproxy.cfg").exists() and not (project.build / "kubernetes").exists()
    assert cli.main(["render", "--output", "elsewhere"], project) == 2
    assert "--for kubernetes" in capsys.readouterr().err


def test_a_file_that_the_settings_no_longer_need_is_removed(project: Project):
    folder = project.root / "a" / "b"
    kubernetes.write(Settings.model_validate(SEVERAL), project, folder)
    assert (folder / "door.yaml").exists() and (folder / "haproxy.cfg").exists()
    kubernetes.write(Settings.model_validate(ONE), project, folder)
    assert {path.name for path in folder.iterdir()} == set(manifests(ONE))
    kubernetes.write(Settings.model_validate(OWN), project, folder)
    assert (folder / "gateway.yaml").exists() and not (folder / "ingress.yaml").exists()


def test_a_folder_with_something_else_in_it_is_left_alone(project: Project):
    folder = project.root / "mine"
    folder.mkdir()
    (folder / "ingress.yaml").write_text("my own")
    with pytest.raises(DeployError, match=r"ingress\.yaml") as caught:
        kubernetes.write(Settings.model_validate(OWN), project, folder)
    assert "--output" in caught.value.remedy
    assert [path.name for path in folder.iterdir()] == ["ingress.yaml"]


def test_what_a_user_has_put_beside_the_files_stays(project: Project):
    folder = project.root / "here"
    kubernetes.write(Settings.model_validate(ONE), project, folder)
    (folder / "mine.yaml").write_text("my own")
    kubernetes.write(Settings.model_validate(ONE), project, folder)
    assert (folder / "mine.yaml").read_text() == "my own"


def test_what_docker_has_pushed_is_named_by_its_digest(project: Project, monkeypatch: pytest.MonkeyPatch):
    """The digest of another registry's, of the same image, is not that of ours."""
    digest = f"sha256:{'b' * 64}"
    known = f'["registry.example.org/labelpod/door@{digest}", "other.example.org/door@sha256:0"]'
    programs = project.root / "bin"
    programs.mkdir()
    (programs / "docker").write_text(f"#!/bin/sh\ncase $* in *labelpod/door:*) echo '{known}' ;; *) exit 1 ;; esac\n")
    (programs / "docker").chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:/usr/bin:/bin")
    assert kubernetes.pushed(Settings.model_validate(SEVERAL)) == {"door": digest}
    kubernetes.write(Settings.model_validate(SEVERAL), project, project.root / "here")
    assert f"digest: {digest}\n" in (project.root / "here" / "kustomization.yaml").read_text()


def test_without_docker_images_are_named_by_their_tags(project: Project, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PATH", str(project.root))
    assert kubernetes.pushed(Settings.model_validate(SEVERAL)) == {}


@pytest.mark.parametrize(
    ("memory", "quantity"), [("16g", "16Gi"), ("2gb", "2Gi"), ("512m", "512Mi"), ("256mb", "256Mi")]
)
def test_memory_is_said_in_the_clusters_units(memory: str, quantity: str):
    assert kubernetes.size(memory) == quantity


@pytest.mark.parametrize(
    ("url", "port"), [("https://pacs/dicom-web", 443), ("http://pacs/dicom-web", 80), ("http://pacs:8042/x", 8042)]
)
def test_a_pacs_of_the_sites_own_is_reached_at_its_port(url: str, port: int):
    text = manifests(ONE | {"STUDIES": url, "WEIGHTS_WAIT": "0"})["network-policies.yaml"]
    assert f"    - ports:\n        - {{ port: {port}, protocol: TCP }}\n" in text
