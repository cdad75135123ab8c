"""Images of the datastore: lists, and files that are fetched whole or not at all."""

import hashlib
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from label_server.datastore import dicom_files
from tests.support import app, attacks, dicomweb
from tests.support.ct import SIZE, SLICES, Ct, ct, read, written
from tests.support.dicomweb import Pacs
from tests.support.web import Server


def cached(folder: Path, uid: str) -> list[Path]:
    """What the cache has of an image."""
    return [path for path in folder.glob(f"cache/*/{uid}*") if ".lock" not in path.name]


def test_a_new_image_is_counted_at_once(server: Server, pacs: Pacs):
    assert server.ask("GET", "/info/", "anna").json()["datastore"]["total"] == 0
    pacs.store(ct(1), ct(2))
    assert server.ask("GET", "/info/", "anna").json()["datastore"]["total"] == 2
    pacs.delete(ct(1).uid)
    assert server.ask("GET", "/datastore/", "anna").json()["total"] == 1


def test_another_modality_is_no_image(server: Server, pacs: Pacs):
    for content in ct(3).files:
        slice_ = read(content)
        slice_.Modality = "MR"
        pacs.take(written(slice_))
    assert server.ask("GET", "/datastore/", "anna").json()["total"] == 0


def test_an_image_is_the_volume_of_its_slices(server: Server, image: Ct):
    volume = server.image(image.uid)
    slices = [read(file) for file in image.files]
    assert volume.GetSize() == (SIZE, SIZE, SLICES)
    assert np.allclose(volume.GetOrigin(), slices[0].ImagePositionPatient)
    expected = [each.pixel_array * each.RescaleSlope + each.RescaleIntercept for each in slices]
    assert np.array_equal(sitk.GetArrayFromImage(volume), expected)


def test_an_image_is_fetched_once(server: Server, image: Ct, pacs: Pacs):
    for _ in range(3):
        server.image(image.uid)
    assert len(pacs.requests("GET", r".*/studies/[0-9.]+/series/[0-9.]+")) == 1


def test_a_checksum_tells_whether_a_client_has_it(server: Server, image: Ct):
    """Upstream never finds one that fits."""
    content = server.ask("GET", f"/datastore/image?image={image.uid}", "anna").content
    digest, md5 = hashlib.sha256(content).hexdigest(), hashlib.md5(content).hexdigest()
    statuses = {digest: 200, f"SHA256:{digest}": 200, f"MD5:{md5}": 200, "": 200, "SHA256:0": 404, f"MD5:{digest}": 404}
    statuses |= {"CRC:0": 400, "a:b:c": 400}
    for checksum, status in statuses.items():
        answer = server.ask("HEAD", f"/datastore/image?image={image.uid}&check_sum={checksum}", "anna")
        assert answer.status_code == status, checksum


@pytest.mark.parametrize("uid", ["1.2.3", "no-series", "", "."])
def test_an_image_that_is_not_there_is_404(server: Server, image: Ct, uid: str):
    assert server.ask("GET", f"/datastore/image?image={uid}", "anna").status_code in (400, 404)


def test_an_image_that_is_not_all_there_is_not_taken(server: Server, image: Ct, pacs: Pacs, tmp_path: Path):
    """Upstream takes any folder that is not empty for a whole series (utils/dicom.py:82)."""
    pacs.withheld = 1
    answer = server.ask("GET", f"/datastore/image?image={image.uid}", "anna")
    assert answer.status_code == 503 and answer.headers["retry-after"] == "5"
    assert f"sent {SLICES - 1} of {SLICES} slices" in answer.json()["detail"]
    assert cached(tmp_path, image.uid) == []
    pacs.withheld = 0
    assert server.image(image.uid).GetDepth() == SLICES


def test_an_image_of_one_slice(server: Server, pacs: Pacs):
    pacs.store(Ct(ct(4).uid, ct(4).study_uid, ct(4).files[:1]))
    assert server.image(ct(4).uid).GetSize() == (SIZE, SIZE, 1)


@pytest.mark.parametrize("status", [500, 503, 401])
def test_a_server_that_fails_is_502(server: Server, image: Ct, pacs: Pacs, status: int):
    pacs.status = status
    answer = server.ask("GET", f"/datastore/image?image={image.uid}", "anna")
    assert (answer.status_code, answer.json()) == (502, {"detail": f"The DICOMweb server answered {status}"})
    pacs.status = 0
    assert server.ask("GET", "/info/", "anna").status_code == 200


def test_a_server_that_is_away_is_503_and_found_again(server: Server, image: Ct, label_app, monkeypatch):
    client = label_app.datastore()._client
    url = client.base_url
    monkeypatch.setattr(client, "base_url", "http://127.0.0.1:9/dicom-web")
    monkeypatch.setattr(label_app.datastore()._index._orthanc, "_root", "http://127.0.0.1:9")
    answer = server.ask("GET", "/info/", "anna")
    assert answer.status_code == 503 and "(ConnectionError)" in answer.json()["detail"]
    monkeypatch.setattr(client, "base_url", url)
    monkeypatch.setattr(label_app.datastore()._index._orthanc, "_root", url.removesuffix("/dicom-web"))
    assert server.ask("GET", "/info/", "anna").json()["datastore"]["total"] == 1


def test_nobody_waits_for_the_next_click_to_be_prepared(server: Server, image: Ct, label_app, monkeypatch):
    """It begins when the file has been sent."""
    asked: list[str] = []
    monkeypatch.setattr(label_app, "prepare", asked.append)
    server.image(image.uid)
    assert asked == [image.uid]


def test_an_image_is_not_uploaded_but_sent_to_the_pacs(server: Server, image: Ct):
    answer = server.ask("PUT", "/datastore/image?image=new", "anna", files={"file": ("x.nii.gz", attacks.image())})
    assert answer.status_code == 400 and "send it there" in answer.json()["detail"]
    answer = server.ask(
        "PUT", f"/datastore/image?image={image.uid}", "anna", files={"file": ("x.nii.gz", attacks.image())}
    )
    assert answer.status_code == 400 and "there is an image of this name" in answer.json()["detail"]


def test_an_image_is_removed_from_the_cache_with_its_slices(server: Server, image: Ct, tmp_path: Path, pacs: Pacs):
    server.image(image.uid)
    assert len(cached(tmp_path, image.uid)) == 2
    assert server.ask("DELETE", f"/datastore/image?id={image.uid}", "admin").status_code == 200
    assert cached(tmp_path, image.uid) == [] and image.uid in pacs.series
    assert server.image(image.uid).GetDepth() == SLICES


@pytest.mark.parametrize("uid", ["", "1.2", "labels"])
def test_removing_no_image_removes_nothing_else(server: Server, image: Ct, tmp_path: Path, uid: str):
    server.submit(image.uid, np.ones(image.shape))
    before = sorted(tmp_path.glob("cache/**/*.nii.gz"))
    answer = server.ask("DELETE", f"/datastore/image?id={uid}", "admin")
    assert answer.status_code < 500
    assert sorted(tmp_path.glob("cache/**/*.nii.gz")) == before and len(before) == 2


def test_what_is_known_of_an_image(server: Server, image: Ct):
    server.image(image.uid)
    told = server.ask("GET", f"/datastore/image/info?image={image.uid}", "anna").json()
    assert (told["name"], told["Modality"]) == (f"{image.uid}.nii.gz", "CT")
    answer = server.ask("PUT", f"/datastore/image/info?image={image.uid}", "rita", data={"info": '{"seen": true}'})
    assert answer.status_code == 200
    assert server.ask("GET", f"/datastore/image/info?image={image.uid}", "anna").json()["seen"] is True


def test_the_whole_list_tells_of_images_that_nobody_opened(server: Server, pacs: Pacs):
    """Upstream tells of those alone that somebody has opened."""
    pacs.store(ct(1), ct(2))
    server.image(ct(1).uid)
    listed = server.ask("GET", "/datastore/?output=all", "anna").json()["objects"]
    assert set(listed) == {ct(1).uid, ct(2).uid}
    assert listed[ct(2).uid]["image"]["info"] == {"name": f"{ct(2).uid}.nii.gz"}


def test_the_dicomweb_login_is_the_servers(pacs: Pacs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    dicomweb.log_in(monkeypatch, tmp_path, "own", "password")
    app.load(tmp_path, pacs.url, monkeypatch).datastore().list_images()
    assert {each.headers["authorization"] for each in pacs.asked} == {"Basic b3duOnBhc3N3b3Jk"}


def test_a_training_holds_its_images(server: Server, image: Ct, label_app, monkeypatch: pytest.MonkeyPatch):
    """Nothing that it reads makes way meanwhile."""
    store = label_app.datastore()
    monkeypatch.setattr(store._images, "_most", 0)
    monkeypatch.setattr("label_server.datastore.image_cache._IN_USE_SECONDS", -1)
    path = Path(store.get_image_uri(image.uid))
    assert not path.exists(), "there is room for none"
    assert label_app.train({"model": "threshold"})["trained"] == {"model": "threshold"}
    assert Path(store.get_image_uri(image.uid)).exists()


@pytest.mark.parametrize(("megabytes", "status"), [(1, 200), (3, 400)])
def test_a_slice_that_inflates_without_end_is_refused(
    server: Server, pacs: Pacs, megabytes: int, status: int, monkeypatch: pytest.MonkeyPatch
):
    """And one that is merely deflated is read."""
    monkeypatch.setattr(dicom_files, "_MOST_INFLATED", 2**21)
    files = [attacks.deflated(each, megabytes) for each in ct(7).files[:2]]
    pacs.store(Ct(ct(7).uid, ct(7).study_uid, tuple(files)))
    answer = server.ask("GET", f"/datastore/image?image={ct(7).uid}", "anna")
    assert answer.status_code == status, answer.text
    assert status == 200 or "inflates to more than 2 MB" in answer.text


def test_a_series_that_would_fill_the_memory_at_one_millimetre_is_refused(server: Server, pacs: Pacs):
    for content in ct(4).files:
        slice_ = read(content)
        slice_.PixelSpacing = [1000, 1000]
        pacs.take(written(slice_))
    answer = server.ask("GET", f"/datastore/image?image={ct(4).uid}", "anna")
    assert answer.status_code == 400 and "where no patient does" in answer.text, answer.text


def test_a_series_without_positions_is_refused_before_it_is_painted(server: Server, pacs: Pacs):
    slice_ = read(ct(5).files[0])
    del slice_.ImagePositionPatient
    pacs.take(written(slice_))
    for answer in (server.ask("GET", f"/datastore/image?image={ct(5).uid}", "anna"),):
        assert answer.status_code == 400 and "missing-position" in answer.text, answer.text
