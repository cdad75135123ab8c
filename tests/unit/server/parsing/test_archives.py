"""Archives of images: what is unpacked, and what is refused."""

import io
import tarfile
import zipfile
from pathlib import Path

import pytest

from label_server.errors import Refused
from label_server.parsing import archives
from tests.support.attacks import linking_tar, slipping_zip

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


def nameless_zip() -> bytes:
    """Its list says of its file that the name is empty, and takes the name for something else."""
    content = bytearray(zipped({"x": b"x"}))
    name_length = content.rindex(b"PK\x01\x02") + 28
    content[name_length : name_length + 4] = b"\0\0\1\0"
    return bytes(content)


def unpacked(content: bytes, folder: Path, most: int = 2**20) -> dict[str, bytes]:
    archive, target = folder / "archive", folder / "unpacked"
    archive.write_bytes(content)
    target.mkdir()
    archives.unpack(archive, target, most)
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
        (zipped({"a/" * 1500 + "x": b"x"}), "too many folders"),
        (tarred({"a/" * 1500 + "x": b"x"}), "too many folders"),
        (zipped(SLICES)[:-30], "cannot be unpacked"),
        (tarred(SLICES)[:-30], "cannot be unpacked"),
        (nameless_zip(), "cannot be unpacked"),
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
    monkeypatch.setattr(archives, "MAX_FILES", 2)
    with pytest.raises(Refused, match="more than 2 files"):
        unpacked(zipped(SLICES), tmp_path)


def test_the_same_name_twice_is_refused(tmp_path: Path):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive, pytest.warns(UserWarning, match="Duplicate"):
        for content in ("one", "two"):
            archive.writestr("x", content)
    with pytest.raises(Refused):
        unpacked(buffer.getvalue(), tmp_path)
