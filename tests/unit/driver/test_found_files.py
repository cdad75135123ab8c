"""Which files a user's paths stand for, and what is said of those that stand for none."""

import os
import tarfile
import zipfile
from pathlib import Path

import pytest
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset

from labelpod.dicom import found_files, preflight
from labelpod.dicom.file_header import FileError
from labelpod.errors import DeployError
from tests.support.ct import ct, read
from tests.support.paths import ROOT


@pytest.fixture
def slices(tmp_path: Path) -> Path:
    """A folder with a CT."""
    folder = tmp_path / "ct"
    folder.mkdir()
    for number, content in enumerate(ct().files):
        (folder / f"{number}.dcm").write_bytes(content)
    return folder


def files(*paths: Path) -> list[Path]:
    return found_files.below(paths, [])


@pytest.mark.parametrize("name", [".git", ".venv", "deep/.git", "node_modules", "deep/__pycache__"])
def test_no_folder_of_programs_is_walked_into(slices, name):
    (slices / name / "objects").mkdir(parents=True)
    (slices / name / "objects" / "a").touch()
    assert all(path.parent == slices for path in files(slices))
    assert len(files(slices)) == len(list(slices.glob("*.dcm")))


def test_our_own_folders_are_not_walked_into(tmp_path, monkeypatch):
    monkeypatch.setattr(found_files, "_CHECKOUT", tmp_path)
    for name in ("secrets", "tests", "build", ".ci", ".mypy_cache", "CT1", "CT1/tests", "CT1/.hidden"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a").touch()
    studies = tmp_path / "CT1"
    assert files(tmp_path) == [studies / "a", studies / ".hidden" / "a", studies / "tests" / "a"]
    assert files(tmp_path / "tests") == [tmp_path / "tests" / "a"], "whoever names it means it"


def test_no_folder_of_this_checkout_is_taken_for_studies():
    there = {path.name for path in ROOT.iterdir() if path.is_dir() and not path.name.startswith(".")}
    tracked = {name for name in there if name in {"bench", "docs", "images", "labelpod", "templates", "tests"}}
    assert tracked and tracked <= found_files._OWN
    assert not [file for file in files(ROOT) if file.parent != ROOT and file.relative_to(ROOT).parts[0] in tracked]


@pytest.mark.parametrize("kind", ["zip", "tar", "tar.gz"])
@pytest.mark.parametrize("named", [True, False])
def test_an_archive_is_to_be_unpacked(tmp_path, slices, kind, named):
    packed = tmp_path / "in" / f"ct.{kind}"
    packed.parent.mkdir()
    if kind == "zip":
        with zipfile.ZipFile(packed, "w") as archive:
            archive.write(next(slices.glob("*.dcm")))
    else:
        with tarfile.open(packed, "w:gz" if kind.endswith("gz") else "w") as archive:
            archive.add(slices, "ct")
    with pytest.raises(DeployError) as caught:
        preflight.scan([packed if named else packed.parent])
    assert "unpack" in caught.value.remedy and str(packed) in caught.value.message + caught.value.remedy


def test_missing_and_not_a_file_and_no_right_are_told_apart(tmp_path, monkeypatch):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "file").touch()
    (tmp_path / "broken").symlink_to(tmp_path / "absent")
    for name in ("absent", "file/below", "broken"):
        with pytest.raises(DeployError, match="does not exist"):
            files(tmp_path / name)
    with pytest.raises(DeployError, match="neither a file nor a folder"):
        files(tmp_path / "pipe")

    def refuse(_: Path) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "stat", refuse)
    with pytest.raises(DeployError, match="cannot be looked at: Permission denied"):
        files(tmp_path / "file")


def test_a_relative_path_that_is_missing_says_where_it_begins(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DeployError) as caught:
        files(Path("CT1"))
    assert str(tmp_path) in caught.value.remedy


def test_a_file_without_the_head_of_dicom_gets_the_hint(slices):
    # The same data set as old archives keep it: no preamble and no group 2.
    bare = DicomBytesIO()
    bare.is_little_endian, bare.is_implicit_VR = True, True
    write_dataset(bare, read(ct(seed=2).files[0]))
    (slices / "bare").write_bytes(bare.getvalue())
    report = preflight.scan([slices])
    assert [error for error in report.errors if "dcmconv" in error.message] == report.errors
    assert [type(error) for error in report.errors] == [FileError] and not report.ok
