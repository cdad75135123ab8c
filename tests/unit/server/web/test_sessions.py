"""Sessions: what an annotator uploads, as files and as archives."""

import io
import json
import tarfile
import tempfile
import zipfile
from pathlib import Path

import pytest

from label_server.datastore import uploads
from label_server.errors import Refused
from tests.support.attacks import linking_tar, slipping_zip
from tests.support.web import Server

SLICES = {"a/1.dcm": b"one", "a/b/2.dcm": b"two", "3.dcm": b"three"}


def zipped(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.mkdir("empty")
        for name, content in files.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def tarred(files: dict[str, bytes], mode: str = "w:gz") -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode) as archive:
        folder = tarfile.TarInfo("empty")
        folder.type = tarfile.DIRTYPE
        archive.addfile(folder)
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def device() -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        info = tarfile.TarInfo("device")
        info.type = tarfile.CHRTYPE
        archive.addfile(info)
    return buffer.getvalue()


def linking_zip() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        info = zipfile.ZipInfo("link")
        info.external_attr = 0o120777 << 16
        archive.writestr(info, "/workspace")
    return buffer.getvalue()


def unpacked(content: bytes, folder: Path, most: int = 2**20) -> dict[str, bytes]:
    archive, target = folder / "archive", folder / "unpacked"
    archive.write_bytes(content)
    target.mkdir()
    uploads.unpack(archive, target, most)
    return {str(path.relative_to(target)): path.read_bytes() for path in target.rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    "content",
    [zipped(SLICES), tarred(SLICES), tarred(SLICES, "w"), tarred(SLICES, "w:xz")],
    ids=["zip", "tar.gz", "tar", "tar.xz"],
)
def test_an_archive_is_unpacked_with_its_folders(tmp_path: Path, content: bytes):
    assert unpacked(content, tmp_path) == SLICES


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (slipping_zip(), "outside its folder"),
        (zipped({"/etc/x": b"x"}), "outside its folder"),
        (zipped({"..\\x": b"x"}), "outside its folder"),
        (zipped({"C:x": b"x"}), "outside its folder"),
        (tarred({"a/../../x": b"x"}), "outside its folder"),
        (linking_tar(), "a link or a device"),
        (linking_zip(), "holds a link"),
        (device(), "a link or a device"),
        (tarred({"a": b"x", "a/b": b"y"}), "cannot be unpacked"),
        (zipped(SLICES)[:-30], "cannot be unpacked"),
        (tarred(SLICES)[:-30], "cannot be unpacked"),
        (b"no archive", "cannot be unpacked"),
        (b"", "cannot be unpacked"),
        (zipped({"x": bytes(2**20 + 1)}), "more than 1 MB"),
        (zipped({"x": bytes(2**19), "y": bytes(2**19 + 1)}), "more than 1 MB"),
    ],
    # Without the content, which holds the time: each process must find the same tests.
    ids=lambda each: "archive" if isinstance(each, bytes) else each,
)
def test_an_archive_that_reaches_out_is_refused(tmp_path: Path, content: bytes, reason: str):
    with pytest.raises(Refused, match=reason):
        unpacked(content, tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"archive", "unpacked"}


def test_an_archive_of_too_many_files_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(uploads, "MAX_FILES", 2)
    with pytest.raises(Refused, match="more than 2 files"):
        unpacked(zipped(SLICES), tmp_path)


def test_the_same_name_twice_is_refused(tmp_path: Path):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive, pytest.warns(UserWarning, match="Duplicate"):
        for content in ("one", "two"):
            archive.writestr("x", content)
    with pytest.raises(Refused):
        unpacked(buffer.getvalue(), tmp_path)


# --- through the web ---


def create(server: Server, *files: tuple[str, bytes], query: str = "") -> dict:
    answer = server.ask("PUT", f"/session/{query}", "anna", files=[("files", each) for each in files])
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_a_file_is_kept_given_back_and_removed(server: Server):
    made = create(server, ("/home/anna/image.nii.gz", b"voxels"), query="?expiry=120")
    where = f"/session/{made['session_id']}"
    assert made["session_info"]["image"].endswith("/image.nii.gz") and made["session_info"]["expiry"] == 120
    assert server.ask("GET", f"{where}?image=true", "anna").content == b"voxels"
    assert server.ask("GET", where, "anna").json()["image"] == made["session_info"]["image"]
    assert server.ask("DELETE", where, "anna").status_code == 200
    assert server.ask("GET", where, "anna").status_code == 404
    assert server.ask("DELETE", where, "anna").status_code == 404


def test_an_archive_becomes_a_folder_of_the_workspace(server: Server, tmp_path: Path):
    made = create(server, ("slices.zip", zipped(SLICES)), query="?uncompress=true")
    folder = Path(made["session_info"]["image"])
    assert folder.is_dir() and tmp_path / "sessions" in folder.parents
    assert {str(path.relative_to(folder)) for path in folder.rglob("*.dcm")} == set(SLICES)


def test_several_files_become_a_folder(server: Server):
    made = create(server, ("1.dcm", b"one"), ("2.dcm", b"two"))
    assert {path.name for path in Path(made["session_info"]["image"]).iterdir()} == {"1.dcm", "2.dcm"}


def test_a_refused_archive_leaves_nothing(server: Server, tmp_path: Path):
    """Neither on the volume nor in the temporary folder, which is memory."""
    temporary = Path(tempfile.gettempdir())
    answer = server.ask("PUT", "/session/?uncompress=true", "anna", files={"files": ("x.zip", slipping_zip())})
    assert answer.status_code == 400 and "outside its folder" in answer.json()["detail"]
    assert list(temporary.iterdir()) == []
    assert list((tmp_path / "sessions").iterdir()) == []


@pytest.mark.parametrize("name", ["", "x/", "..%2f", "C:\\"])
@pytest.mark.parametrize("query", ["?uncompress=true", ""])
def test_an_upload_without_a_name_touches_nobody_elses(server: Server, name: str, query: str):
    others = Path(tempfile.gettempdir(), "of-somebody-else")
    others.write_bytes(b"x")
    answer = server.ask("PUT", f"/session/{query}", "anna", **nameless(name, b"no archive"))
    assert answer.status_code == 400 and others.exists()


def test_an_archive_in_a_folder_of_others_leaves_them_alone(tmp_path: Path):
    """Whatever upstream calls the folder of an upload."""
    shared = tmp_path / "shared"
    shared.mkdir()
    (shared / "of-somebody-else").write_bytes(b"x")
    (shared / "upload").write_bytes(zipped(SLICES))
    sessions = uploads.BoundedSessions(str(tmp_path / "sessions"))
    sessions.add_session(str(shared / "upload"), uncompress=True)
    assert [path.name for path in shared.iterdir()] == ["of-somebody-else"]


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
