"""How a label of ours is told from one that only says so."""

import json
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydicom import Dataset

from label_server.dicomweb import own_labels
from label_server.dicomweb.own_labels import OwnLabels
from labelpod_common import label_key

URL = "http://orthanc:8042/dicom-web"


def seg(**more: str) -> Dataset:
    """As much of a DICOM SEG as says what it is."""
    made, related = Dataset(), Dataset()
    made.SeriesInstanceUID, made.SOPInstanceUID, made.StudyInstanceUID, made.Manufacturer = (
        "1.5",
        "1.6",
        "1.1",
        "labelpod",
    )
    made.ContentDate, made.ContentTime, made.ContentCreatorName = "20260101", "120000.5", "anna"
    related.SeriesInstanceUID, related.PurposeOfReferenceCodeSequence = "1.2", []
    made.RelatedSeriesSequence = [related]
    for name, value in more.items():
        setattr(made, name, value)
    return made


@pytest.fixture
def own(tmp_path: Path) -> OwnLabels:
    return OwnLabels("the stack's key", tmp_path, URL)


def test_what_is_sealed_is_ours_on_every_server_of_the_stack(own: OwnLabels, tmp_path: Path):
    made = seg()
    own.seal(made)
    assert own.sealed(made.to_json_dict()) == "1.6"
    assert OwnLabels("the stack's key", tmp_path / "elsewhere", URL).sealed(made.to_json_dict()) == "1.6"
    assert OwnLabels("another key", tmp_path, URL).sealed(made.to_json_dict()) == ""


def test_a_seal_tells_the_save_that_made_the_label_if_it_was_sealed_with_it(own: OwnLabels):
    made, earlier = seg(), seg()
    own.seal(made, "5a7e")
    own.seal(earlier)
    assert own.sealed(made.to_json_dict()) == own.sealed(earlier.to_json_dict()) == "1.6"
    assert (own.save_of(made.to_json_dict()), own.save_of(earlier.to_json_dict())) == ("5a7e", "")


def of_another_image(made: Dataset) -> None:
    made.RelatedSeriesSequence[0].SeriesInstanceUID = "1.3"


def of_another_instance(made: Dataset) -> None:
    code = made.RelatedSeriesSequence[0].PurposeOfReferenceCodeSequence[0]
    code.LongCodeValue = code.LongCodeValue.replace("1.6:", "1.7:")


def of_another_save(made: Dataset) -> None:
    code = made.RelatedSeriesSequence[0].PurposeOfReferenceCodeSequence[0]
    code.LongCodeValue += ":5a7e"


def without(made: Dataset) -> None:
    made.RelatedSeriesSequence[0].PurposeOfReferenceCodeSequence = []


@pytest.mark.parametrize(
    "change",
    [
        lambda made: setattr(made, "ContentDate", "99991231"),
        lambda made: setattr(made, "ContentTime", "235959"),
        lambda made: setattr(made, "ContentCreatorName", "berta"),
        lambda made: setattr(made, "SeriesInstanceUID", "1.9"),
        *(of_another_image, of_another_instance, of_another_save, without),
    ],
    ids=["date", "time", "author", "series", "image", "instance", "save", "no seal"],
)
def test_a_seal_fits_nothing_else(own: OwnLabels, change: Callable[[Dataset], Any]):
    made = seg()
    own.seal(made)
    change(made)
    assert own.sealed(made.to_json_dict()) == own.save_of(made.to_json_dict()) == ""


@pytest.mark.parametrize("value", ["", ":", "1.6:", "1.6", "x" * 10_000, ":" + "0" * 64])
def test_what_is_no_seal_is_none(own: OwnLabels, value: str):
    made = seg()
    own.seal(made)
    made.RelatedSeriesSequence[0].PurposeOfReferenceCodeSequence[0].LongCodeValue = value
    assert own.sealed(made.to_json_dict()) == ""


def test_labels_from_before_are_ours_and_later_ones_are_not(own: OwnLabels, tmp_path: Path):
    before, later = seg().to_json_dict(), seg(SeriesInstanceUID="1.9").to_json_dict()
    assert own.from_before(before) and not own.from_before(
        seg(SeriesInstanceUID="1.8", Manufacturer="another").to_json_dict()
    )
    own.have_been_listed()
    for again in (own, OwnLabels("the stack's key", tmp_path, URL), OwnLabels("", tmp_path, "https://orthanc:8042/x")):
        assert again.from_before(before) and not again.from_before(later)


def test_a_fresh_stack_has_no_labels_from_before(own: OwnLabels, tmp_path: Path):
    own.have_been_listed()
    assert not own.from_before(seg().to_json_dict())
    assert not OwnLabels("the stack's key", tmp_path, URL).from_before(seg().to_json_dict())


def test_each_server_has_labels_from_before_of_its_own(own: OwnLabels, tmp_path: Path):
    own.have_been_listed()
    other = OwnLabels("the stack's key", tmp_path, "http://pacs.example/dicom-web")
    assert other.from_before(seg().to_json_dict())
    other.have_been_listed()
    assert not OwnLabels("the stack's key", tmp_path, URL).from_before(seg().to_json_dict())


def test_the_key_is_given_or_made_once(tmp_path: Path):
    given = tmp_path / "given"
    given.write_text("of-the-stack\n")
    assert own_labels.key(tmp_path, {"LABEL_KEY_FILE": str(given)}) == "of-the-stack"
    made = own_labels.key(tmp_path, {})
    assert len(made) > 40 and own_labels.key(tmp_path, {}) == made
    assert stat.S_IMODE((tmp_path / "label_key").stat().st_mode) == 0o600


def test_the_permit_for_deletions_tells_nothing_of_the_key(own: OwnLabels):
    assert own.deletion == label_key.deletion("the stack's key") and "key" not in own.deletion
    assert label_key.made("k", "ab", "c") != label_key.made("k", "a", "bc"), "each part counts as such"


@pytest.mark.parametrize("value", ["1.6:é", "1.6:\ud800", "1.6:", ":", "é:é"], ids=ascii)
def test_a_seal_of_any_text_is_none(own: OwnLabels, value: str):
    """One SEG of it, of any program, would stop every list."""
    listed = json.loads(json.dumps(seg().to_json_dict()))
    listed["00081250"]["Value"][0]["0040A170"] = {"vr": "SQ", "Value": [{"00080119": {"vr": "UC", "Value": [value]}}]}
    assert own.sealed(listed) == ""
