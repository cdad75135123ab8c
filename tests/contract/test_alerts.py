"""The alerts that docs/monitoring.md offers, tried by Prometheus' own tool; and that they ask for what there is."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from label_server.web import audit_actions
from tests.support.paths import ROOT

RULES = ROOT / "docs" / "monitoring" / "labelpod.rules.yml"


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


def test_every_alert_is_tried_in_both_ways():
    alerts = set(re.findall(r"alert: (\w+)", RULES.read_text()))
    tried = Path(__file__).with_name("alerts.yml").read_text()
    quiet, loud = tried.split("what wakes somebody")
    assert alerts == set(re.findall(r"alertname: (\w+)", quiet)) == set(re.findall(r"alertname=\"(\w+)\"", loud))


def test_alerts_ask_for_figures_and_actions_that_there_are():
    asked = RULES.read_text()
    document = (ROOT / "docs" / "monitoring.md").read_text()
    assert all(f"`{name}" in document for name in re.findall(r"labelpod_\w+", asked))
    words = {action.words for action in audit_actions.ENDPOINTS.values()} | {"stranger"}
    assert set(re.findall(r"action!?=\"([^\"]+)\"", asked)) <= words
