"""What a reviewer says of a label holds for that version of it, and comes back to its author."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import SimpleITK as sitk

from tests.support import app, segs, web
from tests.support.ct import Ct, ct, written
from tests.support.dicomweb import Pacs
from tests.support.labels import ok, painted
from tests.support.segs import Painted
from tests.support.web import Server

FLAGGED = {"status": "flagged", "approvedBy": "x", "level": "hard", "comment": "~5 mm: <b>rim</b> fehlt, größer"}
APPROVED = {"status": "approved", "approvedBy": "", "level": "easy", "comment": ""}


def judge(server: Server, uid: str, said: dict[str, Any] = APPROVED, user: str = "rita", **headers: str) -> Any:
    """As 3D Slicer's MONAI Label Reviewer does."""
    form = {"params": json.dumps({"segmentationMeta": {**said, "editTime": 1}})}
    address = f"/datastore/updatelabelinfo?label={uid}&tag=final"
    return server.ask("PUT", address, user, data=form, headers=headers)


def info(server: Server, uid: str) -> dict[str, Any]:
    return server.ask("GET", f"/datastore/label/info?label={uid}&tag=final", "anna").json()


def listed(server: Server, uid: str) -> dict[str, Any]:
    """As MONAI Label Reviewer reads it."""
    objects = server.ask("GET", "/datastore/?output=all", "rita").json()["objects"]
    return objects[uid]["labels"]["final"]["info"]


def reviews(server: Server, user: str = "rita") -> list[dict[str, str]]:
    answer = server.ask("GET", "/datastore/review", user)
    ok(answer)
    return answer.json()


def states(server: Server, user: str = "rita") -> dict[str, str]:
    return {each["image"]: each["state"] for each in reviews(server, user)}


def test_a_judgement_comes_back_with_the_labels_author_and_date(server: Server, image: Ct):
    ok(server.submit(image.uid, painted()))
    ok(judge(server, image.uid, FLAGGED))
    told = info(server, image.uid)
    assert told["segmentationMeta"] == listed(server, image.uid)["segmentationMeta"] == {**FLAGGED, "editTime": 1}
    assert (told["user"], told["client_id"], told["reviewer"]) == ("anna", "anna", "rita")
    age = datetime.now().astimezone() - datetime.fromisoformat(told["created"])
    assert timedelta(seconds=-2) < age < timedelta(minutes=1)


def test_reviewers_see_every_label_with_its_judgement(server: Server, pacs: Pacs, image: Ct):
    other = ct(2)
    pacs.store(other, ct(3))
    ok(server.submit(image.uid, painted()))
    ok(server.submit(other.uid, painted(), "berta"))
    ok(judge(server, image.uid, FLAGGED))
    first, second = sorted(reviews(server), key=lambda each: each["image"] != image.uid)
    assert timedelta(0) <= datetime.now(UTC) - datetime.fromisoformat(first.pop("at")) < timedelta(minutes=1)
    judged = {"state": "flagged", "difficulty": "hard", "comment": FLAGGED["comment"], "by": "rita"}
    assert first == {"image": image.uid, "study": image.study_uid} | judged
    unjudged = dict.fromkeys(("state", "difficulty", "comment", "by", "at"), "")
    assert second == {"image": other.uid, "study": other.study_uid} | unjudged


def test_annotators_see_the_judgements_of_their_own_labels_only(server: Server, pacs: Pacs, image: Ct):
    pacs.store(ct(2), ct(3))
    ok(server.submit(image.uid, painted()))
    ok(server.submit(ct(2).uid, painted(), "berta"))
    pacs.take(written(segs.make(ct(3), Painted("Nodule", painted() == 2), ContentCreatorName="anna")))
    ok(judge(server, image.uid, FLAGGED))
    assert states(server, "anna") == {image.uid: "flagged"} and states(server, "berta") == {ct(2).uid: ""}
    assert len(states(server, "admin")) == 3


# --- of which version ---


@pytest.mark.parametrize("user", ["anna", "berta"])
def test_a_label_that_is_saved_anew_is_not_judged_yet(server: Server, image: Ct, user: str):
    ok(server.submit(image.uid, painted()))
    ok(judge(server, image.uid))
    assert states(server) == {image.uid: "approved"}
    ok(server.submit(image.uid, painted(1), user))
    for told in (info(server, image.uid), listed(server, image.uid)):
        assert "segmentationMeta" not in told and "reviewer" not in told
    assert states(server) == {image.uid: ""}


def test_what_another_server_has_stored_is_not_judged_yet(server: Server, image: Ct, pacs: Pacs, tmp_path: Path):
    """The old judgement stuck to it when it was fetched."""
    ok(server.submit(image.uid, painted(0)))
    ok(judge(server, image.uid))
    label = sitk.GetImageFromArray(painted(1))
    label.CopyInformation(server.image(image.uid))
    sitk.WriteImage(label, str(tmp_path / "label.nii.gz"))
    app.another_server(pacs.url, tmp_path).save_label(image.uid, str(tmp_path / "label.nii.gz"), "final", {})
    assert states(server) == {image.uid: ""} and "segmentationMeta" not in listed(server, image.uid)
    server.label(image.uid)
    for told in (info(server, image.uid), listed(server, image.uid)):
        assert "segmentationMeta" not in told and told["user"] == "server"
    assert states(server) == {image.uid: ""}


def test_a_label_of_another_program_that_loses_a_part_is_not_judged_any_more(server: Server, image: Ct, pacs: Pacs):
    """The newest of its series is the same."""
    first = pacs.take(written(segs.make(ct(), Painted("nodule1", painted() == 2))))
    pacs.take(written(segs.make(ct(), Painted("nodule2", painted() == 3))))
    ok(judge(server, image.uid))
    assert "segmentationMeta" in listed(server, image.uid)
    pacs.delete(str(first.SeriesInstanceUID))
    for told in (info(server, image.uid), listed(server, image.uid)):
        assert "segmentationMeta" not in told


def test_a_label_that_another_program_adds_to_is_not_judged_any_more(server: Server, image: Ct, pacs: Pacs):
    pacs.take(written(segs.make(ct(), Painted("nodule1", painted() == 2))))
    ok(judge(server, image.uid))
    assert states(server) == {image.uid: "approved"}
    pacs.take(written(segs.make(ct(), Painted("nodule2", painted() == 3))))
    assert "segmentationMeta" not in info(server, image.uid) and states(server) == {image.uid: ""}


def test_a_judgement_outlives_the_label_maps_file(server: Server, image: Ct, label_app: Any):
    """The cache makes the file anew, of the same label."""
    ok(server.submit(image.uid, painted()))
    ok(judge(server, image.uid))
    Path(label_app.datastore().get_label_uri(image.uid, "final")).unlink()
    server.label(image.uid)
    assert states(server) == {image.uid: "approved"}


def test_a_label_that_nobody_has_opened_here_can_be_judged(server: Server, image: Ct, pacs: Pacs):
    pacs.take(written(segs.make(ct(), Painted("nodule1", painted() == 2))))
    ok(judge(server, image.uid, FLAGGED))
    assert states(server) == {image.uid: "flagged"}


def test_a_judgement_of_a_label_that_was_changed_meanwhile_is_refused(server: Server, image: Ct):
    old = server.submit(image.uid, painted()).headers["etag"]
    new = server.submit(image.uid, painted(1), "berta").headers["etag"]
    answer = judge(server, image.uid, **{"If-Match": old})
    assert answer.status_code == 409 and answer.json()["changed_by"] == "berta"
    assert answer.json()["detail"].startswith("The judgement was not saved: berta has stored a label")
    assert states(server) == {image.uid: ""}
    ok(judge(server, image.uid, **{"If-Match": new}))
    form = {"info": json.dumps({"segmentationMeta": FLAGGED})}
    address = f"/datastore/label/info?label={image.uid}&tag=final"
    assert server.ask("PUT", address, "rita", data=form, headers={"If-Match": old}).status_code == 409
    ok(server.ask("PUT", address, "rita", data=form, headers={"If-Match": new}))
    assert states(server) == {image.uid: "flagged"}


def test_there_is_no_judgement_of_a_label_that_is_gone(server: Server, image: Ct, pacs: Pacs):
    assert judge(server, image.uid).status_code == 404
    ok(server.submit(image.uid, painted()))
    ok(judge(server, image.uid))
    (label,) = pacs.segmentations()
    pacs.delete(str(label.SeriesInstanceUID))
    assert judge(server, image.uid).status_code == 404
    assert info(server, image.uid) == {} and reviews(server) == []


def test_a_reviewers_own_label_brings_its_judgement(server: Server, image: Ct):
    label = sitk.GetImageFromArray(painted())
    label.CopyInformation(server.image(image.uid, "rita"))
    form = {"params": json.dumps({"segmentationMeta": APPROVED})}
    files = {"label": ("label.nii.gz", web.written(label))}
    ok(server.ask("PUT", f"/datastore/label?image={image.uid}", "rita", data=form, files=files))
    (told,) = reviews(server)
    assert (told["state"], told["by"]) == ("approved", "rita") and datetime.fromisoformat(told["at"])


@pytest.mark.parametrize(
    "said", ["x", 7, None, [], {"status": 7, "level": {}, "comment": None}, {"status": "<b>"}], ids=str
)
def test_a_judgement_of_any_kind_stops_no_list(server: Server, image: Ct, said: Any):
    ok(server.submit(image.uid, painted()))
    form = {"info": json.dumps({"segmentationMeta": said})}
    ok(server.ask("PUT", f"/datastore/label/info?label={image.uid}&tag=final", "rita", data=form))
    (told,) = reviews(server)
    assert (told["state"], told["difficulty"], told["comment"]) == ("", "", "")


@pytest.mark.parametrize("shared", [True, False], ids=["in Orthanc", "in the cache only"])
def test_a_save_that_comes_again_takes_back_nothing_that_was_said_since(
    server: Server, image: Ct, pacs: Pacs, shared: bool
):
    if not shared:
        pacs.registered = set()
    first = {"If-None-Match": "*"}
    ok(server.submit(image.uid, painted(), **first))
    ok(judge(server, image.uid, FLAGGED))
    ok(server.submit(image.uid, painted(), **first))
    assert info(server, image.uid)["segmentationMeta"] == {**FLAGGED, "editTime": 1}
    assert set(states(server).values()) == {"flagged"}
    mine = server.ask("GET", f"/datastore/label?label={image.uid}&tag=final", "anna").headers["etag"]
    ok(server.submit(image.uid, painted(1), "berta", **{"If-Match": mine}))
    ok(judge(server, image.uid))
    ok(server.submit(image.uid, painted(), **first))
    assert set(states(server).values()) == {"approved"}, "of another's later label"
