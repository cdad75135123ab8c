"""A label that somebody has changed meanwhile is not replaced unseen: ETag, If-Match, If-None-Match."""

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
from pydicom import Dataset

from label_server.dicomweb.client import DicomWebClient
from tests.support import app, segs
from tests.support.ct import Ct, ct, written
from tests.support.dicomweb import Pacs
from tests.support.labels import ok, painted
from tests.support.segs import Painted
from tests.support.web import Server, nifti


def seen(server: Server, uid: str) -> str | None:
    """The version of the final label, as all ways to ask for it tell."""
    told = [
        server.ask("GET", f"/datastore/label?label={uid}&tag=final", "anna"),
        server.ask("HEAD", f"/datastore/label?label={uid}&tag=final", "anna"),
        server.ask("HEAD", f"/datastore/label?image={uid}&tag=final", "anna"),
        server.ask("GET", f"/datastore/label/info?label={uid}&tag=final", "anna"),
    ]
    (version,) = {answer.headers.get("etag") for answer in told}
    return version


def following(server: Server, uid: str, version: str, first: int, user: str = "anna") -> Any:
    return server.submit(uid, painted(first), user, **{"If-Match": version})


def foreign(pacs: Pacs, name: str) -> None:
    pacs.take(written(segs.make(ct(), Painted(name, painted() == 2))))


def test_every_save_gives_a_label_another_version(server: Server, image: Ct):
    assert seen(server, image.uid) is None
    versions = []
    for user in ("anna", "berta", "anna", "anna"):
        answer = server.submit(image.uid, painted(), user)
        ok(answer)
        versions.append(answer.headers["etag"])
        assert seen(server, image.uid) == versions[-1] == seen(server, image.uid)
    assert len(set(versions)) == 4


def test_a_draft_has_no_version_to_follow(server: Server, image: Ct, pacs: Pacs):
    ok(server.submit(image.uid, painted(), tag="version_1"))
    answer = server.submit(image.uid, painted(), tag="version_1", **{"If-None-Match": "*"})
    assert answer.status_code == 400 and pacs.segmentations() == []


def test_a_save_that_follows_what_its_author_has_seen_is_stored(server: Server, image: Ct):
    first = server.submit(image.uid, painted(0), "berta").headers["etag"]
    second = following(server, image.uid, first, 1)
    ok(second)
    ok(following(server, image.uid, second.headers["etag"], 0))
    assert np.array_equal(server.label(image.uid), painted(0))


def test_a_save_that_follows_an_older_label_is_refused_and_kept(server: Server, image: Ct, pacs: Pacs):
    old = server.submit(image.uid, painted(0), "anna").headers["etag"]
    new = server.submit(image.uid, painted(1), "berta").headers["etag"]
    stored = list(pacs.series)
    answer = following(server, image.uid, old, 2)
    assert answer.status_code == 409 and answer.json()["changed_by"] == "berta" and answer.json()["version"] == new
    at = datetime.fromisoformat(answer.json()["changed_at"])
    assert at.tzinfo and abs((datetime.now().astimezone() - at).total_seconds()) < 60
    detail = answer.json()["detail"]
    assert f"berta has stored a label of this image meanwhile, at {answer.json()['changed_at']}" in detail
    assert list(pacs.series) == stored and seen(server, image.uid) == new
    assert np.array_equal(server.label(image.uid), painted(1))
    (kept,) = server.ask("GET", "/datastore/kept", "anna").json()
    assert kept in detail
    content = server.ask("GET", f"/datastore/kept/{kept}", "anna").content
    assert np.array_equal(sitk.GetArrayFromImage(nifti(content)), painted(2))


def test_a_first_label_is_refused_if_another_has_come_first(server: Server, image: Ct):
    first = server.submit(image.uid, painted(0), "berta", **{"If-None-Match": "*"})
    ok(first)
    answer = server.submit(image.uid, painted(1), "anna", **{"If-None-Match": "*"})
    assert answer.status_code == 409 and answer.json()["changed_by"] == "berta"
    assert seen(server, image.uid) == first.headers["etag"]


def test_who_does_not_say_what_they_have_seen_saves_as_before(server: Server, image: Ct):
    """3D Slicer."""
    ok(server.submit(image.uid, painted(0), "berta"))
    ok(server.submit(image.uid, painted(1), "anna"))
    assert np.array_equal(server.label(image.uid), painted(1))


def test_a_label_that_was_deleted_and_made_anew_is_another(server: Server, image: Ct):
    old = server.submit(image.uid, painted(0)).headers["etag"]
    ok(server.ask("DELETE", f"/datastore/label?id={image.uid}&tag=final", "admin"))
    assert seen(server, image.uid) is None
    gone = following(server, image.uid, old, 1)
    assert gone.status_code == 409 and "was deleted meanwhile" in gone.json()["detail"]
    assert (gone.json()["changed_by"], gone.json()["changed_at"]) == ("", "")
    ok(server.submit(image.uid, painted(0)))
    assert seen(server, image.uid) != old and following(server, image.uid, old, 1).status_code == 409


def test_another_programs_newer_label_is_another_version(server: Server, image: Ct, pacs: Pacs):
    foreign(pacs, "Nodule")
    first = seen(server, image.uid)
    foreign(pacs, "Other nodule")
    second = seen(server, image.uid)
    assert first and second and first != second
    answer = following(server, image.uid, first, 0)
    assert answer.status_code == 409 and answer.json()["changed_by"] == "another program"
    ok(following(server, image.uid, second, 0))


def test_what_another_server_has_stored_is_seen_at_once(
    server: Server, image: Ct, pacs: Pacs, label_app: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    old = server.submit(image.uid, painted(0)).headers["etag"]
    monkeypatch.setattr(label_app.datastore()._index, "_max_age", 3600)
    label = sitk.GetImageFromArray(painted(1))
    label.CopyInformation(server.image(image.uid))
    sitk.WriteImage(label, str(tmp_path / "label.nii.gz"))
    app.another_server(pacs.url, tmp_path).save_label(image.uid, str(tmp_path / "label.nii.gz"), "final", {})
    assert following(server, image.uid, old, 2).status_code == 409


def test_of_two_that_follow_the_same_label_at_once_one_is_stored(server: Server, image: Ct, pacs: Pacs, monkeypatch):
    seen_by_both = server.submit(image.uid, painted(0), "rita").headers["etag"]
    for user in ("anna", "berta"):
        server.image(image.uid, user)
    store, both = DicomWebClient.store_instances, threading.Barrier(2)

    def slowly(self: DicomWebClient, *given: Any, **more: Any) -> Any:
        with pytest.raises(threading.BrokenBarrierError):
            both.wait(0.5)  # nobody else gets that far
        return store(self, *given, **more)

    monkeypatch.setattr(DicomWebClient, "store_instances", slowly)
    with ThreadPoolExecutor() as pool:
        asked = [pool.submit(following, server, image.uid, seen_by_both, 1, user) for user in ("anna", "berta")]
    assert sorted(each.result().status_code for each in asked) == [200, 409]


@pytest.mark.parametrize(
    "headers",
    [
        {"If-Match": "x"},
        {"If-Match": "*"},
        {"If-Match": ""},
        {"If-Match": f'"{"0" * 31}"'},
        {"If-None-Match": '"x"'},
        {"If-None-Match": "*", "If-Match": f'"{"0" * 32}"'},
    ],
    ids=lambda headers: " ".join(headers.values()),
)
def test_a_version_that_is_none_is_refused(server: Server, image: Ct, pacs: Pacs, headers: dict[str, str]):
    assert server.submit(image.uid, painted(), **headers).status_code == 400 and pacs.segmentations() == []


def test_a_label_that_cannot_be_read_is_none_that_a_first_one_would_replace(server: Server, image: Ct, pacs: Pacs):
    """The viewer cannot show it, and starts anew beside it."""

    def beside_the_grid(seg: Dataset) -> None:
        measures = seg.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0]
        measures.PixelSpacing = [3 * value for value in measures.PixelSpacing]

    pacs.take(written(segs.make(ct(), Painted("Nodule", painted() == 2), change=beside_the_grid)))
    assert server.ask("GET", f"/datastore/label?label={image.uid}&tag=final", "anna").status_code == 422
    answer = server.submit(image.uid, painted(), **{"If-None-Match": "*"})
    ok(answer)
    assert seen(server, image.uid) == answer.headers["etag"] and len(pacs.segmentations()) == 2
