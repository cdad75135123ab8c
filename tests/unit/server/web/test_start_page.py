"""The page that a browser begins at: what it shows to whom, and what its buttons do."""

import json
import re
import time
import timeit
from html import unescape
from pathlib import Path

import numpy as np
import pytest

from label_server import audit
from label_server.dicomweb.series import LabelSeries
from label_server.models import training_runs
from label_server.web import readiness, start_page, worker_pools
from labelpod.doctor import told
from labelpod_common.doctor_report import Finding
from tests.support.ct import Ct, ct, read
from tests.support.dicomweb import Pacs
from tests.support.labels import ok
from tests.support.web import HTML, TOKENS, Server

STYLE = Path(start_page.__file__).with_name("start.css")
OWN = {"Origin": "http://testserver"}


@pytest.fixture
def images(pacs: Pacs) -> list[Ct]:
    """Three images that nobody has labelled, in the order of their UIDs."""
    series = sorted((ct(seed) for seed in (1, 2, 3)), key=lambda each: each.uid)
    pacs.store(*series)
    return series


def page(server: Server, user: str = "anna", path: str = "/") -> str:
    answer = server.ask("GET", path, user, headers=HTML)
    assert answer.status_code == 200 and answer.headers["content-type"].startswith("text/html"), answer.text
    return unescape(answer.text)


def words(text: str) -> str:
    return " ".join(re.sub(r"<[^>]*>", " ", text).split())


def next_ct(server: Server, user: str = "anna", strategy: str = "first", **headers: str):
    return server.ask("POST", "/next", user, data={"strategy": strategy}, headers=HTML | headers)


def address(image: Ct) -> str:
    return f"/ohif/label?StudyInstanceUIDs={image.study_uid}&SeriesInstanceUIDs={image.uid}"


def study_date(image: Ct) -> str:
    said = str(read(image.files[0]).StudyDate)
    return f"{said[:4]}-{said[4:6]}-{said[6:]}"


def label(server: Server, image: Ct, user: str = "anna") -> None:
    assert server.submit(image.uid, np.zeros(image.shape), user).status_code == 200


def test_a_browser_gets_a_page_of_ours_and_a_program_json(server: Server, images: list[Ct]):
    text = page(server, "rita")
    assert "Logged in as <b>rita</b>, reviewer" in text and 'href="/ohif/"' in text
    assert server.ask("GET", "/", "rita").json() == {"name": "labelpod", "user": "rita", "role": "reviewer"}


def test_the_start_page_needs_no_script_and_nothing_of_elsewhere(server: Server, images: list[Ct]):
    answer = server.ask("GET", "/", "admin", headers=HTML)
    assert not re.search(r"<script|<style|\bstyle=|\bon\w+=|(src|href|action)=\"(?!/)", answer.text)
    assert "default-src 'self'" in answer.headers["content-security-policy"]
    assert answer.headers["cache-control"] == "no-store"
    kinds = {path: server.ask("GET", path, "anna").headers["content-type"] for path in ("/start.css", "/start.svg")}
    assert kinds == {"/start.css": "text/css; charset=utf-8", "/start.svg": "image/svg+xml"}


def test_the_address_with_the_token_leads_to_the_start_page(server: Server, images: list[Ct]):
    answer = server.ask("GET", f"/{TOKENS['anna']}/", headers=HTML)
    assert (answer.status_code, answer.headers["location"]) == (303, "/")
    text = page(server, "")
    assert "<b>anna</b>" in text and 'action="/logout"' in text and TOKENS["anna"] not in text
    assert server.ask("POST", "/logout", headers=OWN).status_code == 200


def test_forms_of_the_start_page_say_where_they_come_from(server: Server, images: list[Ct]):
    """With no-referrer, Chromium sends them with the origin null, and they are refused."""
    assert server.ask("GET", "/", "anna", headers=HTML).headers["referrer-policy"] == "same-origin"


# --- next ---


def test_next_ct_lends_an_image_and_opens_it(server: Server, images: list[Ct]):
    answer = next_ct(server)
    assert (answer.status_code, answer.headers["location"]) == (303, address(images[0]))
    assert next_ct(server, "berta").headers["location"] == address(images[1]), "the first is on loan"


def test_next_ct_is_on_record_as_any_next_sample(server: Server, images: list[Ct], tmp_path: Path):
    next_ct(server)
    (record,) = audit.records(audit.folder_of(tmp_path))
    assert (record["user"], record["action"], record["outcome"]) == ("anna", "next sample", 303)


def test_next_ct_is_by_lot_unless_another_way_is_chosen(server: Server, images: list[Ct]):
    assert re.findall(r'<option value="(\w+)">', page(server)) == ["random", "first"]
    answer = server.ask("POST", "/next", "anna")
    assert answer.headers["location"] in map(address, images)


def test_another_site_asks_for_no_next_ct(server: Server, images: list[Ct]):
    server.ask("GET", f"/{TOKENS['anna']}/", headers=HTML)
    assert next_ct(server, "", Origin="http://evil.example").status_code == 401
    assert next_ct(server, "", **OWN).status_code == 303


@pytest.mark.parametrize("body", [b"strategy=", b"strategy=none", b"strategy=first&strategy=x", b"\xff=%ff", b"="])
def test_a_strategy_that_is_none_is_no_fault(server: Server, images: list[Ct], body: bytes):
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    assert server.ask("POST", "/next", "anna", content=body, headers=headers).status_code in (303, 404)


def test_where_all_is_labelled_the_page_says_so(server: Server, image: Ct):
    label(server, image)
    answer = next_ct(server)
    assert (answer.status_code, answer.headers["location"]) == (303, "/next")
    assert "All 1 CTs that can be labelled have a label" in page(server, path="/next")


def test_only_reviewers_and_admins_see_who_has_what_on_loan(server: Server, image: Ct):
    next_ct(server, "berta")
    assert next_ct(server).headers["location"] == "/next"
    seen = {user: page(server, user, "/next") for user in ("anna", "rita", "admin")}
    assert all("1 of the other 1 is on loan" in words(text) for text in seen.values())
    assert ["berta" in seen[user] for user in seen] == [False, True, True]
    assert re.search(r"berta</td><td><time datetime=\"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ\">", seen["rita"])


def test_what_the_user_has_skipped_is_told_apart_from_what_others_have(server: Server, images: list[Ct]):
    for image in images[1:]:
        ok(server.ask("POST", f"/activelearning/skip?image={image.uid}", "anna", json={"reason": "motion"}))
    next_ct(server, "berta")
    ok(server.ask("POST", f"/activelearning/skip?image={images[0].uid}", "anna", json={"reason": "motion"}))
    assert next_ct(server).headers["location"] == "/next"
    text = words(page(server, path="/next"))
    assert f"{len(images)} of the other {len(images)} were skipped by you: others label them" in text
    assert "on loan" not in text and "can be asked for" not in text


def test_what_is_left_out_is_told_with_the_reason_and_escaped(
    server: Server, images: list[Ct], label_app, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(label_app.datastore(), "left_out", lambda: {"1.2.3": "localizer: <b>it is one"})
    for path in ("/", "/next"):
        text = server.ask("GET", path, "anna", headers=HTML).text
        assert "localizer: &lt;b&gt;it is one <code>1.2.3</code>" in text


def test_of_many_that_are_left_out_the_first_are_named(
    server: Server, images: list[Ct], label_app, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(label_app.datastore(), "left_out", lambda: {f"1.2.{n}": "localizer" for n in range(53)})
    for path in ("/", "/next"):
        text = words(page(server, path=path))
        assert text.count("localizer") == 50 and "and 3 more: deploy.py studies list names all" in text


def test_an_archive_without_a_ct_is_told_from_one_that_is_done(server: Server):
    assert next_ct(server).headers["location"] == "/next"
    assert "The server has no CT that can be labelled" in page(server, path="/next")


# --- where I was ---


def test_continue_leads_to_what_is_on_loan_and_then_to_what_was_saved_last(server: Server, images: list[Ct]):
    assert "Continue where I was" not in page(server)
    label(server, images[2])
    label(server, images[1])
    assert f'href="{address(images[1])}">Continue where I was' in page(server)
    next_ct(server)
    text = page(server)
    assert f'href="{address(images[0])}">Continue where I was' in text
    assert f"CT of {study_date(images[0])} {images[0].uid} , until" in words(text), "the worklist has it"
    assert "Continue where I was" not in page(server, "berta")


# --- how far it is ---


def numbers(server: Server, user: str = "anna") -> dict[str, str]:
    return dict(re.findall(r"<dt>([^<]+)</dt><dd>([^<]+)</dd>", page(server, user)))


def test_progress_counts_what_is_labelled_reviewed_and_left(server: Server, images: list[Ct]):
    label(server, images[0])
    label(server, images[1], "berta")
    for image, status in ((images[0], "approved"), (images[1], "flagged")):
        info = {"info": json.dumps({"segmentationMeta": {"status": status}})}
        path = f"/datastore/label/info?label={image.uid}&tag=final"
        assert server.ask("PUT", path, "rita", data=info).status_code == 200
    expected = {"Labelled": "2 (1 by you)", "To review": "0", "Approved": "1", "To correct": "1", "Left to label": "1"}
    assert numbers(server) == expected
    label(server, images[1], "berta")
    assert numbers(server)["To review"] == "1", "the corrected label is another"


def test_a_verdict_on_another_label_than_the_one_that_counts_is_none(server: Server, image: Ct):
    label(server, image)
    info = {"info": json.dumps({"segmentationMeta": {"status": "approved"}})}
    server.ask("PUT", f"/datastore/label/info?label={image.uid}&tag=final", "rita", data=info)
    assert numbers(server)["Approved"] == "1"
    label(server, image, "berta")
    assert numbers(server)["Approved"] == "0"


def test_labels_per_day_are_a_plot_and_numbers(server: Server, images: list[Ct]):
    label(server, images[0])
    label(server, images[1], "berta")
    text = page(server)
    assert 'aria-label="Labels per day: 2 in 30 days, 1 of them yours"' in text
    assert f'<th scope="row">{time.strftime("%Y-%m-%d")}</th><td>2</td><td>1</td>' in text
    assert len(re.findall(r'<rect class="all"', text)) == 30


def test_a_thousand_labelled_studies_take_less_than_300_ms(
    server: Server, label_app, images: list[Ct], monkeypatch: pytest.MonkeyPatch
):
    store, index = label_app.datastore(), label_app.datastore()._index
    page(server)
    known = index._lists.images[images[0].uid]
    many = {f"1.2.{number}": known for number in range(2000)}
    labels = {uid: LabelSeries(f"{uid}.9", "1.2", uid, "20260101120000", True, "anna") for uid in list(many)[:1000]}
    monkeypatch.setattr(index, "images", lambda: list(many))
    monkeypatch.setattr(store._stored, "counting", lambda: labels)
    assert "1000 (0 by you)" in page(server, "admin"), "a separator of thousands would be another in each country"
    assert min(timeit.repeat(lambda: page(server, "admin"), number=1, repeat=3)) < 0.3


# --- models and what runs ---


def run(folder: Path, name: str, dice: list[float], problem: str = "") -> None:
    done = training_runs.Run(folder, name, 5, 10)
    for epoch, value in enumerate(dice, start=1):
        done.validated(epoch, value)
    done.end(problem)


def test_models_are_told_with_what_they_are_for_and_their_trainings(server: Server, image: Ct, tmp_path: Path):
    text = words(page(server))
    assert "threshold untrained : What is denser than a threshold" in text
    folder = tmp_path / "radiology" / "model" / "threshold"
    run(folder, "one", [0.5, 0.823])
    run(folder, "two", [float("nan")])
    run(folder, "three", [], "out of <memory>")
    with (folder / "runs.jsonl").open("a") as file:
        file.write('{"run": "of another version"}\n')
    text = page(server)
    assert 'aria-label="Dice of the last trainings of threshold: 0.82"' in text
    assert re.findall(r"</th><td>([^<]*)</td>", text)[-4:] == ["not measured", "not measured", "not measured", "0.82"]
    assert "out of &lt;memory&gt;" in server.ask("GET", "/", "anna", headers=HTML).text


def test_a_training_that_runs_is_shown_with_its_progress(server: Server, image: Ct, tmp_path: Path):
    assert "No training runs." in page(server)
    training_runs.Run(tmp_path / "radiology" / "model" / "threshold", "one", 5, 10).epoch(3, 0.1)
    text = page(server)
    assert "threshold is trained, epoch 3 of 10" in text and '<progress max="10" value="3">' in text


def test_inferences_that_run_and_wait_are_shown(server: Server, image: Ct, monkeypatch: pytest.MonkeyPatch):
    assert "No inference runs." in page(server)
    monkeypatch.setattr(worker_pools.inference, "_here", 3)
    monkeypatch.setitem(worker_pools.inference._working, "berta", 1)
    assert "An inference runs, 2 wait." in page(server)


# --- the machine ---


def test_only_an_admin_sees_the_users_the_disk_and_the_refusals(server: Server, image: Ct):
    server.ask("DELETE", f"/datastore/image?id={image.uid}", "berta")
    text = words(page(server, "admin"))
    assert re.search(
        r"berta annotator \d{4}-\d\d-\d\d \d\d:\d\d UTC prometheus monitor not lately rita reviewer not lately", text
    )
    assert re.search(r"Disk \d+ of \d+ GB free Refused in a day 1; deploy.py audit", text)
    assert all("This server" not in page(server, user) for user in ("anna", "rita"))


def test_an_admin_sees_what_users_did_at_other_label_servers(
    server: Server, image: Ct, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    monkeypatch.setenv("SHARED", str(tmp_path / "records"))
    trail = audit.Trail(audit.folder_of(tmp_path / "records" / "servers" / "another"))
    trail.write(audit.Kind.REFUSAL, {"user": "rita", "times": 4})
    text = words(page(server, "admin"))
    assert re.search(r"rita reviewer \d{4}-", text) and "Refused in a day 4" in text


def test_an_admin_sees_what_doctor_found_last(
    server: Server, image: Ct, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    monkeypatch.setenv("USERS_FILE", str(tmp_path / "users" / "users.json"))
    assert "Doctor" not in page(server, "admin"), "in a cluster it never looks"
    (tmp_path / "users").mkdir()
    told.keep([Finding("ok", "disk", "plenty")], tmp_path)
    assert re.search(r"Doctor \d{4}-\d\d-\d\d \d\d:\d\d UTC: nothing was wrong", words(page(server, "admin")))
    told.keep([Finding("ok", "disk", "plenty"), Finding("warning", "memory", "6 GB", "use more")], tmp_path)
    text = page(server, "admin")
    assert "these were wrong warning memory: 6 GB → use more" in words(text)
    assert "plenty" not in text and "memory" not in page(server, "berta")
    (tmp_path / "users" / "doctor.json").write_text('{"time": 3, "findings": [{}]}')
    assert "Doctor" not in page(server, "admin"), "what cannot be read is none"


def test_the_start_page_says_if_the_dicom_server_is_away(server: Server, pacs: Pacs, image: Ct):
    page(server)
    pacs.status = 503
    text = words(page(server))
    assert "The DICOM server answers 503: no CT can be opened or saved now" in text


def test_a_dicom_server_that_is_away_is_told_to_who_asks_for_the_next_ct(server: Server, pacs: Pacs, image: Ct):
    pacs.status = 503
    for answer in (next_ct(server), server.ask("GET", "/next", "anna", headers=HTML)):
        assert answer.status_code == 502 and "The DICOMweb server answered 503" in answer.text
        assert answer.headers["content-type"].startswith("text/html")


def test_the_connection_is_tested_in_words(server: Server, pacs: Pacs):
    text = words(page(server, path="/connection"))
    assert "answers this browser at http://testserver/" in text and "The DICOM server answers the label server" in text
    pacs.status = 401
    assert "The DICOM server answers 401" in words(page(server, path="/connection"))


def test_what_the_dicom_server_lacks_is_no_fault_of_the_page(
    server: Server, image: Ct, monkeypatch: pytest.MonkeyPatch
):
    async def away() -> str:
        return "does not answer (ConnectError)"

    monkeypatch.setattr(readiness, "problem", away)
    assert "does not answer (ConnectError)" in page(server)


# --- how it looks ---


def luminance(color: str) -> float:
    """Of a colour as #rrggbb, as WCAG 2 has it."""
    parts = [int(color[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return sum(weight * part for weight, part in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def contrast(one: str, other: str) -> float:
    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def test_every_text_has_contrast_in_the_light_and_in_the_dark():
    schemes = [dict(re.findall(r"--([a-z-]+): (#[0-9a-f]{6})", part)) for part in STYLE.read_text().split("@media")]
    assert len(schemes) == 2 and schemes[0].keys() == schemes[1].keys()
    for colors in schemes:
        pairs = {(text, back) for text in ("text", "soft", "strong", "mine", "warn") for back in ("back", "card")}
        for text, back in pairs | {("on-strong", "strong")}:
            assert contrast(colors[text], colors[back]) >= 4.5, (text, back)
        assert contrast(colors["line"], colors["card"]) >= 3
