"""Prometheus beside the stack: it gets its figures, and what docs/monitoring offers asks for what there is."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
import requests
import yaml

from tests.contract.test_alerts import QUERIES, RULES
from tests.stack.conftest import TOKEN
from tests.support.annotator import Annotator
from tests.support.clone import Clone
from tests.support.ports import held_port
from tests.support.waiting import eventually

# What a server without a GPU, a training and HTTPS does not tell.
ABSENT = ("labelpod_gpu_", "labelpod_training_", "labelpod_certificate_")
EXPRESSIONS = [rule["expr"] for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]]


class Prometheus:
    """Prometheus' own interface.

    Args:
        url: of its pages.

    """

    def __init__(self, url: str) -> None:
        self._url = url

    def ask(self, what: str, **query: str) -> Any:
        answer = requests.get(f"{self._url}/api/v1/{what}", params=query, timeout=10)
        assert answer.status_code == 200, answer.text
        return answer.json()["data"]

    def series(self, query: str) -> list[Any]:
        return list(self.ask("query", query=query)["result"])

    def count(self, action: str) -> float:
        found = self.series(f'sum(labelpod_requests_total{{action="{action}", status="200"}})')
        return float(found[0]["value"][1]) if found else 0

    def answers(self) -> bool:
        try:
            return requests.get(f"{self._url}/-/ready", timeout=2).ok
        except requests.RequestException:
            return False


@pytest.fixture(scope="module")
def prometheus(running: Clone) -> Iterator[Prometheus]:
    """Prometheus, which asks each second, so that nobody waits."""
    file = running.root / "build" / "prometheus.yml"
    file.write_text(file.read_text().replace("15s", "1s"))
    running.environment["PROMETHEUS_PORT"] = str(held_port())
    started = running.compose("--profile", "monitoring", "up", "--detach", "prometheus")
    try:
        assert started.returncode == 0, started.stderr
        found = Prometheus(f"http://127.0.0.1:{running.environment['PROMETHEUS_PORT']}")
        eventually(found.answers, 30, "Prometheus answers")
        yield found
    finally:
        running.compose("--profile", "monitoring", "rm", "--stop", "--force", "prometheus")


def test_prometheus_gets_the_figures_and_every_query_and_rule_has_something_to_look_at(
    prometheus: Prometheus, annotator: Annotator, ct: str, stack: Clone
):
    image = annotator.image(ct)
    mask = annotator.click("deepgrow_2d", ct, [size // 2 for size in image.GetSize()])
    annotator.submit(ct, image, mask)
    annotator.next_sample()
    stack.run_in("label-server", "touch", "/workspace/last_backup")  # docs/database.md
    requests.get(annotator.url.replace(TOKEN, "wrong" * 5), timeout=10)
    for action in ("infer", "submit label", "next sample"):
        eventually(lambda action=action: prometheus.count(action) > 0, 20, f"{action} is counted")
    eventually(lambda: len(prometheus.series("up == 1")) == 2, 20, "both are asked")
    eventually(lambda: prometheus.series("orthanc_count_series == 2"), 20, "Orthanc tells of the CT and its label")
    eventually(lambda: prometheus.series("labelpod_last_backup_seconds"), 20, "the backup is told")
    for query in QUERIES:
        shown = query.replace("$instance", ".*")
        if not any(name in query for name in ABSENT):
            eventually(lambda shown=shown: prometheus.series(shown), 10, f"{shown} has an answer")
        prometheus.series(shown)
    for name in {found for each in EXPRESSIONS for found in re.findall(r"labelpod_\w+", each)}:
        assert name.startswith(ABSENT) or prometheus.series(name), name
    (group,) = prometheus.ask("rules")["groups"]
    rules = [(rule["name"], rule["health"], rule["state"]) for rule in group["rules"]]
    assert len(rules) == len(EXPRESSIONS) and {each[1:] for each in rules} == {("ok", "inactive")}


def test_prometheus_login_at_orthanc_opens_the_figures_and_nothing_else(stack: Clone):
    login = ("monitor", (stack.root / "secrets" / "orthanc_monitor").read_text())
    root = f"http://127.0.0.1:{stack.environment['ORTHANC_PORT']}"
    assert requests.get(f"{root}/tools/metrics-prometheus", auth=login, timeout=10).status_code == 200
    for path in ("/system", "/dicom-web/studies", "/changes", "/tools/metrics-prometheus/", "/app/explorer.html"):
        assert requests.get(f"{root}{path}", auth=login, timeout=10).status_code == 403, path
    for method in ("POST", "PUT", "DELETE"):
        answer = requests.request(method, f"{root}/tools/metrics-prometheus", data=b"0", auth=login, timeout=10)
        assert answer.status_code == 403, method


def test_no_secret_of_prometheus_is_in_its_files_or_its_arguments(prometheus: Prometheus, stack: Clone):
    secrets = [(stack.root / "secrets" / name).read_text() for name in ("monitor_token", "orthanc_monitor")]
    seen = stack.compose("--profile", "monitoring", "config").stdout + prometheus.ask("status/config")["yaml"]
    assert not any(secret in seen for secret in secrets)
