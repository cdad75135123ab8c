"""Sessions: what an annotator uploads to work on, as a file, as slices and as an archive."""

import io
import json
import tempfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from label_server.datastore import sessions
from tests.support import web
from tests.support.attacks import image as volume
from tests.support.attacks import slipping_zip
from tests.support.ct import Ct, ct
from tests.support.web import Server


def zipped(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def ask(server: Server, *files: tuple[str, bytes], query: str = "", user: str = "anna"):
    return server.ask("PUT", f"/session/{query}", user, files=[("files", each) for each in files])


def create(server: Server, *files: tuple[str, bytes], query: str = "", user: str = "anna") -> dict:
    answer = ask(server, *files, query=query, user=user)
    assert answer.status_code == 200, answer.text
    return answer.json()


def given_back(server: Server, made: dict) -> sitk.Image:
    return web.nifti(server.ask("GET", f"/session/{made['session_id']}?image=true", "anna").content)


def test_a_file_is_kept_given_back_and_removed(server: Server):
    made = create(server, ("/home/anna/image.nii.gz", volume((3, 4, 5))), query="?expiry=120")
    where = f"/session/{made['session_id']}"
    assert made["session_info"]["image"].endswith("/image.nii.gz") and made["session_info"]["expiry"] == 120
    assert given_back(server, made).GetSize() == (5, 4, 3)
    assert server.ask("GET", where, "anna").json()["image"] == made["session_info"]["image"]
    assert server.ask("DELETE", where, "anna").status_code == 200
    assert server.ask("GET", where, "anna").status_code == 404
    assert server.ask("DELETE", where, "anna").status_code == 404


def test_slices_and_archives_of_them_become_one_volume(server: Server, image: Ct):
    """Whatever the slices are called, and wherever in the archive they are."""
    expected = server.image(image.uid)
    files = {f"a/{number}": content for number, content in enumerate(image.files)}
    several = [(f"{number}.dcm", content) for number, content in enumerate(image.files)]
    for made in (
        create(server, ("slices.zip", zipped(files | {"README": b"x"})), query="?uncompress=true"),
        create(server, ("slices.zip", zipped(files))),
        create(server, *several),
    ):
        found = given_back(server, made)
        assert found.GetOrigin() == pytest.approx(expected.GetOrigin())
        assert np.array_equal(sitk.GetArrayFromImage(found), sitk.GetArrayFromImage(expected))


def test_two_series_in_one_session_are_refused(server: Server, image: Ct):
    files = {f"{number}.dcm": content for number, content in enumerate(image.files + ct(2).files)}
    answer = ask(server, ("slices.zip", zipped(files)))
    assert answer.status_code == 400 and "more than one series" in answer.text


def test_what_is_no_image_is_refused_and_leaves_nothing(server: Server, tmp_path: Path):
    """Neither on the volume nor in the temporary folder, which is memory."""
    temporary = Path(tempfile.gettempdir())
    for name, content, reason in (
        ("x.zip", slipping_zip(), "outside its folder"),
        ("x.zip", zipped({"a.txt": b"x", "b": b"x"}), "no image in it"),
        ("x.nii.gz", b"x", "no image that can be read"),
    ):
        answer = ask(server, (name, content), query="?uncompress=true")
        assert answer.status_code == 400 and reason in answer.json()["detail"]
    assert list(temporary.iterdir()) == []
    assert not (tmp_path / "sessions").exists() and list((tmp_path / ".reading").iterdir()) == []


@pytest.mark.parametrize("name", ["", "x/", "..%2f", "C:\\"])
@pytest.mark.parametrize("query", ["?uncompress=true", ""])
def test_an_upload_without_a_name_touches_nobody_elses(server: Server, name: str, query: str):
    others = Path(tempfile.gettempdir(), "of-somebody-else")
    others.write_bytes(b"x")
    answer = server.ask("PUT", f"/session/{query}", "anna", **nameless(name, b"no archive"))
    assert answer.status_code == 400 and others.exists()


def nameless(name: str, content: bytes) -> dict:
    """A form with one file; written out, because no client leaves its name away."""
    head = f'--x\r\nContent-Disposition: form-data; name="files"; filename="{name}"\r\n\r\n'.encode()
    return {
        "content": head + content + b"\r\n--x--\r\n",
        "headers": {"Content-Type": "multipart/form-data; boundary=x"},
    }


def test_an_inference_on_a_session(server: Server, image, label_app):
    content = server.ask("GET", f"/datastore/image?image={image.uid}", "anna").content
    made = create(server, ("image.nii.gz", content))
    form = {"params": json.dumps({"above": -500})}
    answer = server.ask("POST", f"/infer/threshold?session_id={made['session_id']}&output=json", "anna", data=form)
    assert answer.status_code == 200 and answer.json() == {"label_names": {"dense": 1}}
    assert label_app._infers["threshold"].asked[-1]["image"] == made["session_info"]["image"]


def test_a_session_is_its_owners(server: Server):
    made = create(server, ("x.nii.gz", volume()))
    where = f"/session/{made['session_id']}"
    for method, path in (
        ("GET", where),
        ("GET", f"{where}?image=true"),
        ("DELETE", where),
        ("POST", f"/infer/threshold?session_id={made['session_id']}"),
    ):
        assert server.ask(method, path, "berta").status_code == 404, method
    assert server.ask("GET", where, "anna").status_code == 200
    assert server.ask("DELETE", where, "admin").status_code == 200


def test_the_name_of_a_session_cannot_be_guessed(server: Server):
    """Upstream's holds the time and the machine; it has version 1 in its third part."""
    made = create(server, ("x.nii.gz", volume()))
    assert made["session_id"].split("-")[2].startswith("4")


def test_the_longest_unused_session_makes_way_for_another_of_its_owner(server: Server, monkeypatch, tmp_path: Path):
    other = create(server, ("x.nii.gz", volume()), user="berta")
    made = [create(server, ("x.nii.gz", volume())) for _ in range(2)]
    size = Path(made[0]["session_info"]["image"]).stat().st_size
    monkeypatch.setattr(sessions, "_PER_USER", 2 * size)
    made.append(create(server, ("x.nii.gz", volume())))
    answers = [server.ask("GET", f"/session/{each['session_id']}", "anna").status_code for each in made]
    assert answers == [404, 200, 200]
    assert server.ask("GET", f"/session/{other['session_id']}", "berta").status_code == 200
    monkeypatch.setattr(sessions, "_ALL", 3 * size)
    refused = ask(server, ("x.nii.gz", volume()), user="rita")
    assert refused.status_code == 400 and "all users" in refused.text
