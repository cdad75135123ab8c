"""The stack in a cluster with ten label servers, in the order of a cluster's life: up, changes, a dead node, down."""

import base64
import json
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from labelpod.config import settings
from labelpod.security import secret_files
from tests.kubernetes.conftest import LABEL_SERVERS, Site
from tests.support.waiting import eventually


def nodes_of(site: Site, *apps: str) -> list[str]:
    """The nodes on which the pods of these components are."""
    return [pod["spec"].get("nodeName", "") for app in apps for pod in site.plane.pods(app)]


def ready(site: Site) -> int:
    """How many label servers are."""
    found = site.plane.get("/apis/apps/v1/namespaces/labelpod/deployments/label-server")
    return int(found["status"].get("readyReplicas", 0))


@contextmanager
def watched(site: Site, seen: Path) -> Iterator[None]:
    """Note in a file how many label servers are ready, at each change of it."""
    words = ("get", "deployment/label-server", "--namespace=labelpod", "--watch")
    shown = 'jsonpath={.status.readyReplicas}{"\\n"}'
    with seen.open("w") as output:
        process = subprocess.Popen([*site.plane.command(*words), "--output", shown], stdout=output)
        try:
            yield
        finally:
            process.terminate()
            process.wait()


def took(what: str, since: float) -> float:
    """Seconds since then; `pytest -s` shows them."""
    seconds = time.monotonic() - since
    print(f"{what}: {seconds:.1f} s")
    return seconds


def test_up_starts_everything_and_status_says_so(site: Site, capsys):
    assert site.does("kubernetes", "status", "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert told["label-server"] == {"wanted": LABEL_SERVERS, "ready": LABEL_SERVERS}
    assert set(told) == {"label-server", "trainer", "door", "orthanc", "postgres"}


def test_each_label_server_and_the_trainer_has_a_gpu_of_its_own_and_nobody_else_has(site: Site):
    gpus = nodes_of(site, "label-server", "trainer")
    assert len(gpus) == len(set(gpus)) == LABEL_SERVERS + 1
    assert all(name.startswith("gpu") for name in gpus)
    assert not [name for name in nodes_of(site, "orthanc", "postgres", "door") if name.startswith("gpu")]


def test_one_more_than_there_are_gpus_waits_and_the_cluster_says_why(site: Site):
    site.plane.kubectl("scale", "deployment/label-server", f"--replicas={LABEL_SERVERS + 2}", "--namespace=labelpod")

    def waits() -> list[str]:
        conditions = [pod["status"].get("conditions", []) for pod in site.plane.pods("label-server")]
        return [each["message"] for found in conditions for each in found if each.get("reason") == "Unschedulable"]

    (said,) = eventually(waits, 20, "one waits")
    assert "Insufficient nvidia.com/gpu" in said
    assert ready(site) >= LABEL_SERVERS
    assert site.does("kubernetes", "up", "--yes") == 0
    assert len(site.plane.pods("label-server")) == LABEL_SERVERS


def test_who_is_added_or_revoked_is_so_in_the_secret_and_the_pods_are_touched_within_two_seconds(site: Site):
    def stored() -> list[str]:
        secret = site.plane.get("/api/v1/namespaces/labelpod/secrets/users")
        return [each["name"] for each in json.loads(base64.b64decode(secret["data"]["users.json"]))["users"]]

    def touched() -> set[str]:
        pods = [*site.plane.pods("label-server"), *site.plane.pods("trainer")]
        return {pod["metadata"].get("annotations", {}).get("labelpod/users", "") for pod in pods}

    seen = touched()
    for words, there in ((("add", "anna"), True), (("revoke", "anna"), False)):
        since = time.monotonic()
        assert site.does("users", *words) == 0
        # A node then takes about a second to bring it into a pod.
        assert took(f"users {words[0]}", since) < 2
        assert ("anna" in stored()) is there and "admin" in stored()
        assert len(touched()) == 1 and not touched() & seen, "all at once, and anew"
        seen |= touched()


def test_a_rolling_update_takes_one_label_server_at_a_time(site: Site, tmp_path: Path):
    before = {pod["metadata"]["uid"] for pod in site.plane.pods("label-server")}
    site.is_set(INFER_QUEUE="9")
    seen, since = tmp_path / "seen", time.monotonic()
    with watched(site, seen):
        assert site.does("kubernetes", "up", "--yes") == 0
    took("rolling update", since)
    assert min(map(int, seen.read_text().split())) == LABEL_SERVERS - 1
    assert not before & {pod["metadata"]["uid"] for pod in site.plane.pods("label-server")}
    assert len(set(nodes_of(site, "label-server"))) == LABEL_SERVERS


def test_another_password_starts_who_has_read_it_anew_and_nobody_else(site: Site):
    def started() -> dict[str, set[str]]:
        return {app: {pod["metadata"]["uid"] for pod in site.plane.pods(app)} for app in ("orthanc", "label-server")}

    before = started()
    site.is_set(INFER_QUEUE="9", ORTHANC_PASSWORD="another-of-sixteen-letters")
    assert site.does("kubernetes", "up", "--yes") == 0
    changed = started()
    assert not before["orthanc"] & changed["orthanc"] and before["label-server"] == changed["label-server"]
    assert site.does("kubernetes", "up", "--yes") == 0
    assert started() == changed


def test_a_dead_nodes_label_server_is_on_another_node_after_its_toleration(site: Site):
    dead = nodes_of(site, "label-server")[0]
    since = time.monotonic()
    site.nodes.dies(dead)
    eventually(lambda: ready(site) < LABEL_SERVERS, 120, "the loss is noticed")
    took("a dead node is noticed", since)
    eventually(lambda: ready(site) == LABEL_SERVERS, 120, "there are as many again")
    took("complete again", since)
    assert dead not in nodes_of(site, "label-server")
    assert site.does("kubernetes", "status") == 0


@pytest.mark.parametrize("verb", [("users", "add", "ben"), ("kubernetes", "users")])
def test_a_cluster_that_does_not_answer_is_said(site: Site, monkeypatch: pytest.MonkeyPatch, capsys, tmp_path, verb):
    nowhere = site.plane.kubeconfig.read_text().replace(str(site.plane.api.base_url), "https://127.0.0.1:9")
    (tmp_path / "kubeconfig").write_text(nowhere)
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "kubeconfig"))
    assert site.does(*verb) == 1
    assert "still has the users of before: kubectl get" in capsys.readouterr().err


def test_what_other_settings_need_no_more_is_deleted_and_comes_back_with_them(site: Site):
    kinds = "deployments,services,networkpolicies,poddisruptionbudgets"
    before = site.plane.kubectl("get", kinds, "--namespace=labelpod", "--output=name").split()
    site.is_set(DICOM_BIND_ADDRESS="127.0.0.1")
    assert site.does("kubernetes", "up", "--yes") == 0
    after = site.plane.kubectl("get", kinds, "--namespace=labelpod", "--output=name").split()
    assert set(before) - set(after) == {"service/dicom"}
    site.is_set()
    assert site.does("kubernetes", "up", "--yes") == 0
    again = site.plane.kubectl("get", kinds, "--namespace=labelpod", "--output=name").split()
    assert again == before


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"LABEL_SERVERS": "1"}, "are in the volume trainer"),
        ({"KUBERNETES_POSTGRES_HOST": "db.example.org"}, "database"),
    ],
)
def test_what_would_leave_models_or_studies_behind_is_refused(site: Site, capsys, changed: dict[str, str], said: str):
    site.is_set(**changed)
    secret_files.write(settings.load(site.project.env_file, {}), site.project.secrets)
    assert site.does("kubernetes", "up", "--yes") == 1
    assert said in capsys.readouterr().err
    site.is_set()


def test_down_leaves_volumes_and_secrets_and_nothing_else(site: Site, capsys):
    assert site.does("kubernetes", "down", "--yes") == 0
    kinds = "deployments,statefulsets,daemonsets,services,ingresses,networkpolicies,poddisruptionbudgets"
    assert site.plane.kubectl("get", kinds, "--namespace=labelpod", "--output=name") == ""
    kept = site.plane.kubectl("get", "secrets,persistentvolumeclaims", "--namespace=labelpod", "--output=name")
    assert {"secret/users", "persistentvolumeclaim/models", "persistentvolumeclaim/orthanc"} <= set(kept.split())
    living = site.nodes.alive
    eventually(lambda: not [pod for pod in site.plane.pods() if pod["spec"]["nodeName"] in living], 30, "all are gone")
    assert not site.project.cluster_record.exists()


def test_a_namespace_that_was_made_anew_is_not_taken_for_the_one_that_was_started_in(site: Site, capsys):
    assert site.does("kubernetes", "up", "--yes") == 0
    # The dead node will never say that its pods are gone.
    site.plane.kubectl("delete", "pods", "--all", "--namespace=labelpod", "--force", "--grace-period=0")
    site.plane.kubectl("delete", "namespace", "labelpod", "--timeout=60s")
    site.plane.kubectl("create", "namespace", "labelpod")
    assert site.does("users", "add", "carl") == 1
    assert "is not the one that `kubernetes up` started this folder in" in capsys.readouterr().err
