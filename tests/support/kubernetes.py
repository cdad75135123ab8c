"""What `render --for kubernetes` makes, as objects, for a few sites that differ in all that changes a file."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from labelpod import kubernetes
from labelpod.config.settings import Settings
from labelpod.project import Project
from tests.support.paths import ROOT

IMAGES = "registry.example.org/labelpod"
ONE = {
    "KUBERNETES_IMAGES": IMAGES,
    "KUBERNETES_HOST": "labels.example.org",
    "TRUSTED_PROXY": "10.244.0.0/16",
}
SEVERAL = ONE | {
    "LABEL_SERVERS": "3",
    "ORTHANC_DB": "postgres",
    "KUBERNETES_SHARED_STORAGE_CLASS": "nfs",
    "DICOM_BIND_ADDRESS": "0.0.0.0",
    "DICOM_AETS": "CT1@10.0.0.5,CT2@10.0.0.6",
    "KUBERNETES_PROMETHEUS_NAMESPACE": "monitoring",
}
OWN = SEVERAL | {
    "DEVICE": "cpu",
    "KUBERNETES_GATEWAY": "gateways/inside",
    "KUBERNETES_INGRESS_NAMESPACE": "gateways",
    "KUBERNETES_POSTGRES_HOST": "database.example.org",
    "ORTHANC_SERVERS": "2",
    "KUBERNETES_STORAGE_CLASS": "fast",
    "LABEL_SERVER_CPUS": "4",
    "WEIGHTS_WAIT": "0",
}
SITES = {"one": ONE, "several": SEVERAL, "own": OWN, "one-with-postgres": ONE | {"ORTHANC_DB": "postgres"}}
# The PyPI package puts it beside Python.
KUBECTL = shutil.which("kubectl", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
needs_kubectl = pytest.mark.skipif(not KUBECTL, reason="kubectl is missing: pip install -r tests/requirements.lock")


def manifests(values: dict[str, str], digests: dict[str, str] | None = None) -> dict[str, str]:
    return kubernetes.manifests(Settings.model_validate(values), Project(ROOT), digests)


def objects(values: dict[str, str]) -> list[dict[str, Any]]:
    """All objects of the files, as kustomize gets them."""
    texts = manifests(values)
    names = [name for name in texts if name.endswith(".yaml") and name != kubernetes.KUSTOMIZATION]
    return [each for name in names for each in yaml.safe_load_all(texts[name]) if each]


def kustomized(values: dict[str, str], folder: Path, digests: dict[str, str] | None = None) -> list[dict[str, Any]]:
    """All objects as the cluster gets them."""
    for name, text in manifests(values, digests).items():
        (folder / name).write_text(text)
    result = subprocess.run([str(KUBECTL), "kustomize", str(folder)], capture_output=True, text=True, check=False)
    assert (result.returncode, result.stderr) == (0, "")
    return list(yaml.safe_load_all(result.stdout))


def of_kind(found: list[dict[str, Any]], *kinds: str) -> dict[str, dict[str, Any]]:
    """Objects of these kinds by their names."""
    return {each["metadata"]["name"]: each for each in found if each["kind"] in kinds}


def pods(found: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """The pods' templates by the names of what makes them."""
    return {
        name: each["spec"]["template"]
        for name, each in of_kind(found, "Deployment", "StatefulSet", "DaemonSet").items()
    }


def containers(found: list[dict[str, Any]]) -> Iterator[tuple[str, dict[str, Any], dict[str, Any]]]:
    """Each container: name of its pod, the pod's spec, its own."""
    for name, pod in pods(found).items():
        for container in pod["spec"]["containers"]:
            yield name, pod["spec"], container
