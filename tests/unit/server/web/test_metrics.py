"""Figures for Prometheus: who sees them, what is in them, and what is not."""

import re
from typing import Any

import pytest
import requests
from prometheus_client.parser import text_string_to_metric_families

from tests.support.ct import Ct
from tests.support.labels import ok, painted
from tests.support.offers import next_image
from tests.support.paths import ROOT
from tests.support.web import TOKENS, Server


def figures(server: Server) -> dict[tuple[str, str], float]:
    """Each figure by its name and the values of its labels."""
    answer = server.ask("GET", "/metrics", "prometheus")
    assert answer.status_code == 200, answer.text
    found = text_string_to_metric_families(answer.text)
    return {(each.name, ",".join(each.labels.values())): each.value for family in found for each in family.samples}


@pytest.mark.parametrize(
    ("user", "status"), [("", 401), ("anna", 403), ("rita", 403), ("admin", 200), ("prometheus", 200)]
)
def test_monitors_and_admins_see_the_figures(server: Server, user: str, status: int):
    assert server.ask("GET", "/metrics", user).status_code == status


@pytest.mark.parametrize(
    "path", ["/", "/info/", "/ohif/", "/datastore/", "/proxy/dicom/qido/studies", "/next", "/readyz"]
)
def test_a_monitor_sees_nothing_else(server: Server, image: Ct, path: str):
    for method in ("GET", "POST", "PUT", "DELETE"):
        answer = server.ask(method, path, "prometheus")
        assert answer.status_code == 403 and "/metrics only" in answer.json()["detail"]


def test_requests_are_counted_by_what_they_do_and_how_they_are_answered(server: Server, image: Ct):
    before = figures(server)
    ok(server.submit(image.uid, painted()))
    server.ask("GET", "/datastore/image?image=1.2.3.4", "anna")
    server.ask("GET", "/any/thing/at/all")
    after = figures(server)
    counted = {key: after[key] - before.get(key, 0) for key in after if key[0] == "labelpod_requests_total"}
    assert counted["labelpod_requests_total", "submit label,200"] == 1
    assert counted["labelpod_requests_total", "open image,404"] == 1
    assert counted["labelpod_requests_total", "stranger,401"] == 1


def test_images_leases_queue_and_disk_are_told(server: Server, image: Ct):
    next_image(server)
    found = figures(server)
    assert found["labelpod_images", "unlabelled"] == 1 and found["labelpod_images", "labelled"] == 0
    assert found["labelpod_leases", ""] == 1
    assert found["labelpod_inferences", "working"] == found["labelpod_inferences", "waiting"] == 0
    assert 0 < found["labelpod_disk_bytes", "free"] < found["labelpod_disk_bytes", "size"]
    ok(server.submit(image.uid, painted()))
    found = figures(server)
    assert found["labelpod_images", "labelled"] == 1 and found["labelpod_leases", ""] == 0
    assert found["labelpod_cache_bytes", ""] > 0


def test_there_is_no_word_of_a_patient_an_image_or_a_user_in_them(server: Server, image: Ct):
    ok(server.submit(image.uid, painted()))
    server.ask("GET", f"/{TOKENS['berta']}/datastore/image?image={image.uid}")
    text = server.ask("GET", "/metrics", "prometheus").text
    assert not re.search(r"[0-9]+(\.[0-9]+){4}", text)
    assert not any(word in text for word in ("anna", "berta", *TOKENS.values()))


def test_every_figure_is_explained(server: Server, image: Ct):
    document = (ROOT / "docs" / "monitoring.md").read_text()
    names = {re.sub(r"_(bucket|count|sum|created)$", "", name) for name, _ in figures(server)}
    assert {name for name in names if f"`{name}" not in document} == set()


def test_while_the_archive_does_not_answer_the_others_are_told(server: Server, label_app: Any, monkeypatch):
    def away() -> None:
        raise requests.ConnectionError

    monkeypatch.setattr(label_app.datastore(), "get_labeled_images", away)
    found = figures(server)
    assert ("labelpod_inferences", "waiting") in found and ("labelpod_images", "labelled") not in found
