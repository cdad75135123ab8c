"""Figures for Prometheus: who sees them, what is in them, and what is not."""

import asyncio
import os
import re
import time
from pathlib import Path
from typing import Any

import pytest
import requests
from monailabel.config import settings
from prometheus_client.parser import text_string_to_metric_families

from label_server.models import training_runs
from label_server.web import own_certificate, readiness
from tests.support import certificates
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


def test_the_last_backup_is_told_once_one_was_noted(server: Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setenv("WORKSPACE", str(tmp_path))
    (tmp_path / "last_backup").touch()
    os.utime(tmp_path / "last_backup", (5000, 5000))
    assert figures(server)["labelpod_last_backup_seconds", ""] == 5000


def test_images_leases_queue_and_disk_are_told(server: Server, image: Ct):
    next_image(server)
    found = figures(server)
    assert found["labelpod_images", "unlabelled"] == 1 and found["labelpod_images", "labelled"] == 0
    assert found["labelpod_leases", ""] == 1
    assert found["labelpod_inferences", "working"] == found["labelpod_inferences", "waiting"] == 0
    assert ("labelpod_last_backup_seconds", "") not in found
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

    monkeypatch.setattr(label_app, "loans", away)
    found = figures(server)
    assert ("labelpod_inferences", "waiting") in found
    assert not {name for name, _ in found} & {"labelpod_images", "labelpod_leases", "labelpod_cache_bytes"}


def test_nothing_is_asked_of_an_archive_that_hangs(server: Server, image: Ct, label_app: Any, monkeypatch):
    async def hangs() -> str:
        return "does not answer (ReadTimeout)"

    monkeypatch.setattr(readiness, "problem", hangs)
    monkeypatch.setattr(label_app, "loans", lambda: pytest.fail("it is asked"))
    assert ("labelpod_images", "labelled") not in figures(server)


def test_the_event_loop_looks_at_nothing(server: Server, image: Ct, label_app: Any, monkeypatch):
    looked: list[bool] = []
    loans = label_app.loans
    monkeypatch.setattr(label_app, "loans", lambda: (looked.append(_in_a_loop()), loans())[1])
    figures(server)
    assert looked == [False]


def _in_a_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def test_a_training_tells_its_epochs_and_loss(server: Server):
    run = training_runs.Run(Path(settings.MONAI_LABEL_APP_DIR, "model", "threshold"), "r", 2, 10)
    assert ("labelpod_training_loss", "threshold") not in figures(server)
    run.epoch(1, 0.75)
    run.epoch(2, 0.5)
    found = figures(server)
    assert found["labelpod_training_epochs", "threshold"] == 2 and found["labelpod_training_loss", "threshold"] == 0.5
    run.validated(2, 0.25)
    run.end()
    found = figures(server)
    assert found["labelpod_training_dice", "threshold"] == 0.25 and ("labelpod_training_loss", "threshold") not in found


@certificates.needs_openssl
@pytest.mark.parametrize("days", [30, -0.5], ids=["valid", "expired"])
def test_it_is_told_when_the_certificate_expires(server: Server, tmp_path: Path, monkeypatch, days: float):
    monkeypatch.setattr(own_certificate, "expires", own_certificate.expires.__wrapped__)
    assert ("labelpod_certificate_expires_seconds", "") not in figures(server)
    for name, file in zip(("TLS_CERT_FILE", "TLS_KEY_FILE"), certificates.make(tmp_path, last=days), strict=True):
        monkeypatch.setenv(name, str(file))
    expires = figures(server)["labelpod_certificate_expires_seconds", ""]
    assert abs(expires - time.time() - days * 86400) < 60


def test_a_scrape_of_thousands_of_series_takes_less_than_a_second(server: Server, label_app: Any, monkeypatch):
    store = label_app.datastore()
    folder = store._images.path("1").parent
    for number in range(5000):
        (folder / f"1.{number}").mkdir()
        (folder / f"1.{number}" / "slice.dcm").write_bytes(b"slice")
        (folder / f"1.{number}.nii.gz").write_bytes(b"volume")
    monkeypatch.setattr(store._index, "images", lambda: [f"1.{number}" for number in range(5000)])
    figures(server)
    started = time.monotonic()
    found = figures(server)
    assert time.monotonic() - started < 1
    assert found["labelpod_images", "unlabelled"] == 5000 and found["labelpod_cache_bytes", ""] == 5000 * 11
