"""Archives of models as the label server reads and writes them, hostile ones above all."""

import io
import tarfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from label_server.models import archive_format
from label_server.models.registry import Refused
from tests.support.archives import END, FILE, GOOD, OTHER, WEIGHTS, manifest, member, tar


@pytest.fixture
def folder(model_folder: Path) -> Path:
    """The models' folder of a server that has not been started yet."""
    model_folder.rmdir()
    return model_folder


def lying(origin: dict[str, Any] | None = None, **model: Any) -> bytes:
    """An archive whose manifest says something else of its model, or of where that came from."""
    says = manifest(WEIGHTS)
    says["models"][0] |= model
    says["models"][0]["origin"] |= origin or {}
    return tar(says, FILE)


def with_(*members: bytes) -> bytes:
    """An archive with these members instead of its weights."""
    return tar(manifest(WEIGHTS), *members)


def refusal(content: bytes) -> str:
    with pytest.raises(Refused) as refused, archive_format.unpacked(io.BytesIO(content)):
        pass
    assert str(refused.value).isprintable()
    return str(refused.value)


def test_what_was_packed_is_unpacked_and_gone_afterwards(folder):
    says = archive_format.Manifest.model_validate(manifest(WEIGHTS, OTHER))
    out = io.BytesIO()
    archive_format.pack(out, says, [io.BytesIO(WEIGHTS), io.BytesIO(OTHER)])
    with tarfile.open(fileobj=io.BytesIO(out.getvalue())) as tar:
        assert tar.getnames() == ["manifest.json", "deepgrow_2d.pt", "deepgrow_3d.pt"]
    with archive_format.unpacked(io.BytesIO(out.getvalue())) as (read, place):
        assert read == says and place.parent == folder
        assert (place / "deepgrow_2d.pt").read_bytes() == WEIGHTS
        assert (place / "deepgrow_3d.pt").read_bytes() == OTHER
    assert list(folder.iterdir()) == []


def test_weights_that_change_while_they_are_packed_are_refused(folder):
    with pytest.raises(Refused, match="deepgrow_2d were written to"):
        archive_format.pack(
            io.BytesIO(), archive_format.Manifest.model_validate(manifest(WEIGHTS)), [io.BytesIO(OTHER)]
        )


HOSTILE: dict[str, tuple[bytes, str]] = {
    "nothing": (b"", "ends in the middle"),
    "a text": (b"x" * 2000, "no archive of models"),
    "zeros": (bytes(10240), "does not begin with a manifest"),
    "no manifest": (FILE + END, "does not begin with a manifest"),
    "a manifest too long to be one": (tar(b" " * (2**20 + 1)), "does not begin with a manifest"),
    "a manifest that is no JSON": (tar(b"{"), "manifest cannot be read"),
    "a manifest that is a list": (tar(b"[1]"), "manifest cannot be read"),
    "a manifest without end": (tar(b"[" * 100_000), "manifest cannot be read"),
    "another format": (tar(manifest(WEIGHTS, format=2), FILE), "its format is 2, and this server reads 1"),
    "a format of many lines": (tar(manifest(WEIGHTS, format="\n" * 99), FILE), "its format is"),
    "more than the format has": (tar(manifest(WEIGHTS, extra=1), FILE), "'extra'"),
    "no models": (tar(manifest()), "'models'"),
    "a model twice": (tar({**manifest(WEIGHTS), "models": manifest(WEIGHTS)["models"] * 2}, FILE), "twice"),
    "a model that climbs": (lying(name="../deepgrow_2d"), "'models.0.name'"),
    "a model that is unknown": (lying(name="deepedit"), "this server has no deepedit"),
    "a size below nothing": (lying(size=-1), "'models.0.size'"),
    "a size beyond all disks": (lying(size=10**400), "'models.0.size'"),
    "a run that paints the terminal": (lying({"run": "\x1b[2J"}), "'models.0.origin.run'"),
    "a Dice that is no number": (lying({"dice": float("nan")}), "'models.0.origin.dice'"),
    "a name that climbs": (with_(member("../deepgrow_2d.pt", WEIGHTS)), "'../deepgrow_2d.pt' is not in its manifest"),
    "a full path": (with_(member("/tmp/x", WEIGHTS)), "'/tmp/x' is not in its manifest"),
    "a name that paints": (with_(member("\x1b[2J\n", WEIGHTS)), "is not in its manifest"),
    "a link": (with_(member("deepgrow_2d.pt", b"", tarfile.SYMTYPE, "/etc/passwd"), FILE), "is not a plain file"),
    "a hard link": (with_(member("deepgrow_2d.pt", b"", tarfile.LNKTYPE, "manifest.json")), "is not a plain file"),
    "a device": (with_(member("deepgrow_2d.pt", b"", tarfile.CHRTYPE)), "is not a plain file"),
    "a pipe": (with_(member("deepgrow_2d.pt", b"", tarfile.FIFOTYPE)), "is not a plain file"),
    "a folder": (with_(member("deepgrow_2d.pt", b"", tarfile.DIRTYPE)), "is not a plain file"),
    "an extended header": (with_(member("x", b"1", tarfile.XHDTYPE), FILE), "is not a plain file"),
    "a long name": (with_(member("x", b"y", tarfile.GNUTYPE_LONGNAME), FILE), "is not a plain file"),
    "a sparse file": (with_(member("deepgrow_2d.pt", b"", tarfile.GNUTYPE_SPARSE)), "is not a plain file"),
    "a file too many": (with_(FILE, member("deepgrow_3d.pt", OTHER)), "'deepgrow_3d.pt' is not in its manifest"),
    "a file twice": (with_(FILE, FILE), "or is there twice"),
    "a file too few": (tar(manifest(WEIGHTS, OTHER), FILE), "deepgrow_3d.pt is missing"),
    "a longer file": (with_(member("deepgrow_2d.pt", WEIGHTS + b"x")), "has 5121 bytes, and 5120"),
    "a shorter file": (with_(member("deepgrow_2d.pt", b"x")), "has 1 bytes, and 5120"),
    "other bytes": (with_(member("deepgrow_2d.pt", OTHER)), "its checksum is not the one"),
    "something behind its end": (GOOD + FILE, "something follows its end"),
}


@pytest.mark.parametrize("what", HOSTILE)
def test_a_hostile_archive_is_refused_in_one_line_and_leaves_nothing(what, folder):
    content, reason = HOSTILE[what]
    folder.mkdir(parents=True)
    (folder / "deepgrow_2d.pt").write_bytes(b"serves")
    assert reason in refusal(content)
    assert [path.name for path in folder.iterdir()] == ["deepgrow_2d.pt"]
    assert (folder / "deepgrow_2d.pt").read_bytes() == b"serves"


def test_an_archive_without_room_writes_nothing(folder, monkeypatch):
    monkeypatch.setattr(archive_format.shutil, "disk_usage", lambda _: SimpleNamespace(free=2**28 + len(WEIGHTS) - 1))
    assert "needs 268 MB on the workspace's disk, which has 268 MB left" in refusal(GOOD)


def test_an_archive_that_ends_anywhere_in_the_middle_is_refused(folder):
    last = len(GOOD) - len(END)
    for end in {*range(0, last, 97), *range(last - 3, last + 1), last + 511}:
        assert refusal(GOOD[:end])


@settings(max_examples=300, deadline=None)
@given(st.integers(0, len(GOOD) - 1), st.binary(min_size=1, max_size=600))
def test_a_changed_archive_is_refused_or_the_same(tmp_path_factory, at, noise):
    damaged = (GOOD[:at] + noise + GOOD[at + len(noise) :])[: len(GOOD)]
    place, stream = tmp_path_factory.mktemp("place"), io.BytesIO(damaged)
    try:
        archive_format.unpack(stream, archive_format.read_manifest(stream), place)
    except Refused:
        return
    (file,) = place.iterdir()
    assert file.read_bytes() == WEIGHTS


def test_one_archive_at_a_time_and_leftovers_go(folder):
    (folder / ".incoming").mkdir(parents=True)
    (folder / ".incoming" / "deepgrow_2d.pt").write_bytes(b"left")
    with archive_format.unpacked(io.BytesIO(GOOD)) as (_, place):
        assert "another archive is being read" in refusal(GOOD)
        assert (place / "deepgrow_2d.pt").read_bytes() == WEIGHTS
    with archive_format.unpacked(io.BytesIO(GOOD)):
        pass
