"""The alerts and the dashboard that docs/monitoring.md offers, tried by Prometheus' own tool, ask for what there is."""

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from label_server.web import audit_actions
from labelpod import render
from labelpod.config.settings import Settings
from tests.support.kubernetes import SITES, manifests
from tests.support.paths import ROOT

RULES = ROOT / "docs" / "monitoring" / "labelpod.rules.yml"
DASHBOARD = json.loads((RULES.parent / "grafana.json").read_text())
QUERIES = [target["expr"] for panel in DASHBOARD["panels"] for target in panel["targets"]]


@pytest.fixture
def promtool() -> str:
    if not (program := shutil.which("promtool")):
        pytest.skip("promtool is not installed (Debian package prometheus)")
    return program


def test_each_alert_is_raised_when_it_should_be_and_on_a_quiet_day_none_is(promtool: str, tmp_path: Path):
    for file in (RULES, Path(__file__).with_name("alerts.yml")):
        shutil.copy(file, tmp_path)
    tried = subprocess.run(
        [promtool, "test", "rules", "alerts.yml"], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
    )
    assert tried.returncode == 0, tried.stdout + tried.stderr


@pytest.mark.parametrize("site", SITES)
def test_prometheus_understands_the_file_for_a_cluster(promtool: str, tmp_path: Path, site: str):
    text = manifests(SITES[site] | {"KUBERNETES_PROMETHEUS_NAMESPACE": "monitoring"})["prometheus.yml"]
    jobs = understood(promtool, text, tmp_path)
    assert [job["job_name"] for job in jobs] == [
        "labelpod",
        "orthanc",
        *(["door"] if "LABEL_SERVERS" in SITES[site] else []),
    ]


@pytest.mark.parametrize("servers", [1, 2])
@pytest.mark.parametrize("certificate", ["", "c.pem"], ids=["http", "https"])
def test_prometheus_understands_the_file_that_the_stack_gives_it(
    promtool: str, tmp_path: Path, certificate: str, servers: int
):
    values = Settings(TLS_CERT=certificate, LABEL_SERVERS=servers)
    jobs = understood(promtool, render.render(values, ROOT / "templates")["prometheus.yml"], tmp_path)
    schemes = dict.fromkeys(("labelpod", "orthanc"), "https" if certificate else "http")
    schemes |= {"door": "http"} if servers > 1 else {}
    assert {job["job_name"]: job["scheme"] for job in jobs} == schemes


def understood(promtool: str, text: str, folder: Path) -> list[dict[str, Any]]:
    """The jobs of a file that Prometheus's own tool finds nothing wrong with."""
    (folder / "prometheus.yml").write_text(text)
    shutil.copy(RULES, folder)
    command = [promtool, "check", "config", "--syntax-only", "prometheus.yml"]
    tried = subprocess.run(command, cwd=folder, capture_output=True, check=False)
    assert tried.returncode == 0, tried.stderr
    return yaml.safe_load(text)["scrape_configs"]


def test_every_alert_is_tried_in_both_ways():
    alerts = set(re.findall(r"alert: (\w+)", RULES.read_text()))
    tried = Path(__file__).with_name("alerts.yml").read_text()
    quiet, loud = tried.split("what wakes somebody")
    assert alerts == set(re.findall(r"alertname: (\w+)", quiet)) == set(re.findall(r"alertname=\"(\w+)\"", loud))


def test_prometheus_understands_every_query_of_the_dashboard(promtool: str, tmp_path: Path):
    rules = [{"record": f"query:{number}", "expr": query} for number, query in enumerate(QUERIES)]
    (tmp_path / "rules.yml").write_text(
        json.dumps({"groups": [{"name": "dashboard", "rules": rules}]})
    )  # YAML has JSON
    tried = subprocess.run([promtool, "check", "rules", "rules.yml"], cwd=tmp_path, capture_output=True, check=False)
    assert tried.returncode == 0, tried.stderr


def test_the_panels_of_the_dashboard_lie_beside_each_other():
    places = [tuple(panel["gridPos"].values()) for panel in DASHBOARD["panels"]]
    assert len(set(places)) == len(places) and all(x + w <= 24 for x, _, w, _ in places)


@pytest.mark.parametrize("asked", [RULES.read_text(), "\n".join(QUERIES)], ids=["alerts", "dashboard"])
def test_there_are_the_figures_and_actions_that_are_asked_for(asked: str):
    document = (ROOT / "docs" / "monitoring.md").read_text()
    names = {name.removesuffix("_bucket") for name in re.findall(r"labelpod_\w+", asked)}
    assert {name for name in names if f"`{name}" not in document} == set()
    words = {action.words for action in audit_actions.ENDPOINTS.values()} | {"stranger"}
    assert set(re.findall(r"action!?=\"([^\"]+)\"", asked)) <= words
