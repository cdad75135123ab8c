"""Two label servers over one Orthanc, each with a workspace of its own: what a reviewer says, both know."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import requests
import SimpleITK as sitk

from label_server.datastore import judgements
from label_server.datastore.stored_labels import StoredLabels
from tests.support import app, segs, web
from tests.support.ct import ct, written
from tests.support.dicomweb import Pacs
from tests.support.labels import ok, painted
from tests.support.nifti_files import written as nifti
from tests.support.segs import Painted
from tests.support.web import HTML, Server

REVIEW = "labelpod-review"
FLAGGED = {"status": "flagged", "approvedBy": "", "level": "hard", "comment": "größer: <b>rim</b>"}


@pytest.fixture
def images(pacs: Pacs) -> list[str]:
    """Three images that nobody has labelled; sorted."""
    pacs.store(*(ct(seed) for seed in (1, 2, 3)))
    return sorted(pacs.series)


def judge(server: Server, uid: str, said: Any = FLAGGED, user: str = "rita") -> Any:
    form = {"params": json.dumps({"segmentationMeta": said})}
    return server.ask("PUT", f"/datastore/updatelabelinfo?label={uid}&tag=final", user, data=form)


def told(server: Server, uid: str) -> list[Any]:
    """The judgement of a label as each way to ask for it has it; None for none."""
    info = server.ask("GET", f"/datastore/label/info?label={uid}&tag=final", "rita").json()
    known = server.ask("GET", "/datastore/?output=all", "rita").json()["objects"][uid]["labels"]["final"]["info"]
    assert {key: known.get(key) for key in ("reviewer", "reviewed")} == {
        key: info.get(key) for key in ("reviewer", "reviewed")
    }
    return [info.get("segmentationMeta"), known.get("segmentationMeta")]


def reviewed(server: Server) -> dict[str, tuple[str, str]]:
    """State and reviewer of each labelled image."""
    listed = server.ask("GET", "/datastore/review", "rita").json()
    return {each["image"]: (each["state"], each["by"]) for each in listed}


def test_a_judgement_at_one_server_is_known_at_another(server: Server, second: Any, images: list[str]):
    ok(server.submit(images[0], painted()))
    ok(judge(server, images[0]))
    with app.asked(second):
        assert told(server, images[0]) == [FLAGGED, FLAGGED]
        assert reviewed(server) == {images[0]: ("flagged", "rita")}
        ok(judge(server, images[0], FLAGGED | {"status": "approved"}, "admin"))
    assert reviewed(server) == {images[0]: ("approved", "admin")}
    assert told(server, images[0]) == [FLAGGED | {"status": "approved"}] * 2


def test_a_judgement_outlives_an_emptied_cache(
    server: Server, images: list[str], pacs: Pacs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    ok(server.submit(images[0], painted()))
    ok(judge(server, images[0]))
    shutil.rmtree(tmp_path / "cache")
    app.load(tmp_path, pacs.url, monkeypatch)
    assert told(server, images[0]) == [FLAGGED, FLAGGED] and reviewed(server) == {images[0]: ("flagged", "rita")}
    assert "<dt>To correct</dt><dd>1</dd>" in server.ask("GET", "/", "rita", headers=HTML).text


def test_a_judgement_holds_for_no_other_version_at_another_server(server: Server, second: Any, images: list[str]):
    ok(server.submit(images[0], painted()))
    ok(judge(server, images[0]))
    with app.asked(second):
        ok(server.submit(images[0], painted(1), "berta"))
        assert told(server, images[0]) == [None, None]
    assert told(server, images[0]) == [None, None] and reviewed(server) == {images[0]: ("", "")}


def test_a_judgement_of_a_version_is_not_written_to_one_that_comes_while_that_is_fetched(
    server: Server, second: Any, label_app: Any, images: list[str], pacs: Pacs, monkeypatch: pytest.MonkeyPatch
):
    with app.asked(second):
        version = server.submit(images[0], painted()).headers["etag"]
    read = StoredLabels.read

    def slowly(self: StoredLabels, *given: Any) -> Any:
        found = read(self, *given)
        if self is label_app.datastore()._stored:
            with app.asked(second):
                ok(server.submit(images[0], painted(1), "berta", **{"If-Match": version}))
        return found

    with monkeypatch.context() as slow:
        slow.setattr(StoredLabels, "read", slowly)
        form = {"params": json.dumps({"segmentationMeta": FLAGGED})}
        address = f"/datastore/updatelabelinfo?label={images[0]}&tag=final"
        answer = server.ask("PUT", address, "rita", data=form, headers={"If-Match": version})
    assert answer.status_code == 409 and answer.json()["changed_by"] == "berta"
    assert reviewed(server) == {images[0]: ("", "")} and pacs.said(REVIEW) == {}


def test_a_judgement_of_another_programs_label_holds_until_that_gains_a_part(
    server: Server, second: Any, images: list[str], pacs: Pacs
):
    pacs.take(written(segs.make(ct(), Painted("nodule1", painted() == 2))))
    ok(judge(server, ct().uid))
    with app.asked(second):
        assert told(server, ct().uid) == [FLAGGED, FLAGGED]
        pacs.take(written(segs.make(ct(), Painted("nodule2", painted() == 3))))
        assert told(server, ct().uid) == [None, None]


def test_what_a_reviewer_says_of_their_own_label_is_known_at_another(server: Server, second: Any, images: list[str]):
    label = sitk.GetImageFromArray(painted())
    label.CopyInformation(server.image(images[0], "rita"))
    form = {"params": json.dumps({"segmentationMeta": FLAGGED})}
    files = {"label": ("label.nii.gz", web.written(label))}
    ok(server.ask("PUT", f"/datastore/label?image={images[0]}", "rita", data=form, files=files))
    with app.asked(second):
        assert told(server, images[0]) == [FLAGGED, FLAGGED] and reviewed(server) == {images[0]: ("flagged", "rita")}


def test_a_judgement_from_before_it_was_in_orthanc_is_not_lost(server: Server, images: list[str], pacs: Pacs):
    ok(server.submit(images[0], painted()))
    ok(judge(server, images[0]))
    pacs.metadata.clear()
    assert told(server, images[0]) == [FLAGGED, FLAGGED]


def test_without_a_place_in_orthanc_a_judgement_is_in_the_cache(server: Server, images: list[str], pacs: Pacs):
    pacs.registered.clear()
    ok(server.submit(images[0], painted()))
    ok(judge(server, images[0]))
    assert told(server, images[0]) == [FLAGGED, FLAGGED] and pacs.metadata == {}


@pytest.mark.parametrize("text", ["", "{", "[]", "7", "[" * 5000, '{"version": "x", "segmentationMeta": {}}'])
def test_what_is_no_judgement_stops_no_list(server: Server, images: list[str], pacs: Pacs, text: str):
    ok(server.submit(images[0], painted()))
    (label,) = pacs.segmentations()
    pacs.metadata[str(label.SeriesInstanceUID), REVIEW] = (0, text.encode())
    assert told(server, images[0]) == [None, None]
    ok(judge(server, images[0]))
    assert reviewed(server) == {images[0]: ("flagged", "rita")}


def test_a_judgement_that_is_too_long_is_refused_and_the_earlier_one_stays(
    server: Server, images: list[str], pacs: Pacs
):
    ok(server.submit(images[0], painted(), "rita"))
    ok(judge(server, images[0]))
    long = {"status": "approved", "comments": ["x" * 2000] * 10}
    assert judge(server, images[0], long).status_code == 400
    label = sitk.GetImageFromArray(painted())
    label.CopyInformation(server.image(images[0], "rita"))
    form = {"params": json.dumps({"segmentationMeta": long})}
    files = {"label": ("label.nii.gz", web.written(label))}
    answer = server.ask("PUT", f"/datastore/label?image={images[0]}", "rita", data=form, files=files)
    assert answer.status_code == 400 and answer.json()["detail"] == "Refused: a judgement of more than 16 KB"
    assert told(server, images[0]) == [FLAGGED, FLAGGED] and max(map(len, pacs.said(REVIEW).values())) < 500


def test_a_judgement_that_orthanc_does_not_take_is_not_said_to_be_saved(
    server: Server, label_app: Any, images: list[str], pacs: Pacs, monkeypatch: pytest.MonkeyPatch
):
    ok(server.submit(images[0], painted()))

    def away(*_: Any) -> None:
        raise requests.ConnectionError

    with monkeypatch.context() as patch:
        patch.setattr(label_app.datastore()._judgements._metadata, "replace", away)
        assert judge(server, images[0]).status_code == 503
    assert told(server, images[0]) == [None, None]


def test_annotators_write_no_judgement(server: Server, images: list[str], pacs: Pacs):
    ok(server.submit(images[0], painted()))
    assert judge(server, images[0], user="anna").status_code == 403
    assert pacs.said(REVIEW) == {}


def test_all_judgements_are_asked_for_at_once(server: Server, images: list[str], pacs: Pacs):
    for uid in images:
        ok(server.submit(uid, painted()))
        ok(judge(server, uid))
    for path in ("/datastore/review", "/datastore/?output=all", "/"):
        pacs.asked.clear()
        ok(server.ask("GET", path, "rita", headers=HTML if path == "/" else {}))
        asked = [each for each in pacs.asked if REVIEW in each.path or REVIEW.encode() in each.body]
        assert len(asked) <= 1, path


def test_a_reviewers_own_save_that_comes_again_takes_back_nothing_that_was_said_since(
    server: Server, images: list[str], monkeypatch: pytest.MonkeyPatch
):
    def save() -> Any:
        label = sitk.GetImageFromArray(painted())
        label.CopyInformation(server.image(images[0], "rita"))
        names = [{"name": f"nodule{number}", "idx": number} for number in (1, 2, 3)]
        said = {"label_info": names, "segmentationMeta": {"status": "approved"}}
        file = {"label": ("label.nii.gz", nifti(label))}
        address = f"/datastore/label?image={images[0]}&tag=final"
        return server.ask(
            "PUT", address, "rita", data={"params": json.dumps(said)}, files=file, headers={"If-None-Match": "*"}
        )

    with monkeypatch.context() as cut_off:
        cut_off.setattr(judgements.Judgements, "write", lambda *_: True)
        ok(save())
    ok(save())
    assert told(server, images[0])[0] == {"status": "approved"}, "which was not said the first time"
    ok(judge(server, images[0], FLAGGED, "admin"))
    ok(save())
    assert told(server, images[0]) == [FLAGGED] * 2
