"""What `render --for kubernetes` writes, run as pods by Podman with the real images: a CT is labelled through it."""

import base64
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from labelpod import kubernetes
from labelpod.config.settings import Settings
from labelpod.docker.tags import service_tags
from labelpod.security import secret_files
from labelpod_common import __version__
from tests.support import podman
from tests.support.clone import Clone
from tests.support.kubernetes import SEVERAL, kustomized, needs_kubectl, of_kind
from tests.support.paths import ROOT
from tests.support.podman import Podman

pytestmark = needs_kubectl
PASSWORD, TOKEN = "throw-away", "throw-away-token-of-32-letters-0"
SITE = SEVERAL | {
    "DEVICE": "cpu",
    "WEIGHTS_WAIT": "0",
    "LABEL_SERVERS": "2",
    "LABEL_SERVER_TOKEN": TOKEN,
    "ORTHANC_PASSWORD": PASSWORD,
}
# In a cluster, what `fsGroup` does to a volume: its owner there. Podman has words of its own.
OWNERS = {"orthanc": (100, 101), "postgres": (999, 999)}
LABEL_SERVER_USER = (1000, 1000)


@pytest.fixture(scope="module")
def pods(tmp_path_factory: pytest.TempPathFactory, engine: None) -> Iterator[Podman]:
    """All workloads of the site, two label servers among them."""
    values = Settings.model_validate(SITE)
    clone = Clone.make(tmp_path_factory.mktemp("pods"), "labelpod-test-pods")
    clone.done("build", "--yes", ORTHANC_DB=values.ORTHANC_DB, LABEL_SERVERS=str(values.LABEL_SERVERS))
    images = {
        f"{values.KUBERNETES_IMAGES}/{tag.removeprefix('labelpod/').removesuffix(':local')}:{__version__}": tag
        for tag in service_tags(values)
    }
    with podman.running(tmp_path_factory.mktemp("podman"), images) as running:
        play_all(running, values, tmp_path_factory.mktemp("site"))
        yield running


def play_all(running: Podman, values: Settings, folder: Path) -> None:
    """Play what a cluster would get."""
    secret_files.write(values, folder / "secrets")
    running.play(secrets(values, folder / "secrets"))
    found = kustomized(SITE, folder)
    names = service_names(found)
    for name in ("postgres", "orthanc", "trainer", "label-server", "label-server-2", "door"):
        app = name.removesuffix("-2")
        running.play(workload(found, app, name), *names.get(app, ()))


def secrets(values: Settings, folder: Path) -> list[dict[str, Any]]:
    """As `kubernetes up` makes them."""
    made = []
    for name, files in kubernetes.secrets(values).items():
        data = {key: base64.b64encode((folder / file).read_bytes()).decode() for key, file in files.items()}
        made.append({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "data": data})
    return made


def service_names(found: list[dict[str, Any]]) -> dict[str, list[str]]:
    """App -> the names of its Services, short and whole."""
    names: dict[str, list[str]] = {}
    for name, service in of_kind(found, "Service").items():
        app = service["spec"]["selector"]["app"]
        names.setdefault(app, []).extend([name, f"{name}.{service['metadata']['namespace']}.svc.cluster.local"])
    return names


def workload(found: list[dict[str, Any]], app: str, name: str) -> list[dict[str, Any]]:
    """One pod of an app, as Podman knows it, with what it mounts."""
    original = of_kind(found, "Deployment", "StatefulSet")[app]
    template = original["spec"]["template"]
    spec = {"replicas": 1, "selector": original["spec"]["selector"], "template": template}
    made = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name}, "spec": spec}
    claimed = {
        each["persistentVolumeClaim"]["claimName"]
        for each in template["spec"]["volumes"]
        if "persistentVolumeClaim" in each
    }
    claims = [
        owned(each) for each in found if each["kind"] == "PersistentVolumeClaim" and each["metadata"]["name"] in claimed
    ]
    return [*(each for each in found if each["kind"] == "ConfigMap"), *claims, made]


def owned(claim: dict[str, Any]) -> dict[str, Any]:
    user, group = OWNERS.get(claim["metadata"]["name"], LABEL_SERVER_USER)
    annotations = {"volume.podman.io/uid": str(user), "volume.podman.io/gid": str(group)}
    return claim | {"metadata": {"name": claim["metadata"]["name"], "annotations": annotations}}


def test_a_ct_is_labelled_through_the_pods(pods: Podman):
    door, orthanc = (pods.address(f"{name}-pod-{name}") for name in ("door", "orthanc"))
    wait = f"until curl -sf --max-time 5 http://{door}:8000/{TOKEN}/info/ >/dev/null; do sleep 0.5; done"
    pods.here("timeout", "180", "bash", "-c", wait)
    program = ROOT / "tests" / "stack" / "programs" / "label_a_ct.py"
    where = (f"http://{door}:8000/{TOKEN}", f"http://{orthanc}:8042", PASSWORD)
    pods.here("env", f"PYTHONPATH={ROOT}", sys.executable, str(program), *where)
    records = pods.run("podman", "volume", "inspect", "--format", "{{.Mountpoint}}", "records").strip()
    asked = f"cd {records}/servers && grep --files-with-matches 'submit label' */audit/changes.jsonl"
    (file,) = pods.run("bash", "-c", asked).split()
    assert not file.startswith("trainer/"), "what outlives the pod that annotated"


def test_what_trains_goes_to_the_trainer(pods: Podman):
    door = pods.address("door-pod-door")
    asked = pods.here("curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", f"http://{door}:8000/{TOKEN}/train/")
    assert asked == "404", "nothing is trained"
    logs = {name: pods.logs(f"{name}-pod-label-server") for name in ("trainer", "label-server", "label-server-2")}
    assert [name for name, log in logs.items() if "GET /train/ 404" in log] == ["trainer"]
