"""The lists of images and labels are read again when something has changed, and only then."""

import json
import re
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import requests
from pydicom import Dataset

from label_server.dicomweb import series
from label_server.dicomweb.orthanc import name_of
from label_server.dicomweb.own_labels import OwnLabels
from label_server.dicomweb.series_index import SeriesIndex


class Pacs:
    """An Orthanc of a few series, as the DICOMweb client sees it; counts what it is asked."""

    base_url = "http://orthanc:8042/dicom-web"

    def __init__(self) -> None:
        self.status = 200
        self.tells_kinds_apart = True
        self.refuses = ""
        self.changes: list[str] = []
        self.series: list[Dataset] = []
        self.instances: dict[str, Dataset] = {}
        self.asked: list[str] = []
        self._session = self

    def get(self, url: str) -> requests.Response:
        path = url.removeprefix("http://orthanc:8042")
        self.asked.append(path)
        answer = requests.Response()
        unable = "type=" in path and not self.tells_kinds_apart
        answer.status_code = 400 if unable else 403 if path == self.refuses else self.status
        answer._content = json.dumps(self.rest(path)).encode()
        return answer

    def post(self, url: str, json: dict[str, Any]) -> requests.Response:
        self.asked.append(f"{url.removeprefix('http://orthanc:8042')} {json['Query']}")
        answer = requests.Response()
        answer.status_code, answer._content = 200, b"[]"
        return answer

    def rest(self, path: str) -> Any:
        """Orthanc's own interface."""
        by_name = {name_of(each.get("PatientID", ""), "1.1", each.SeriesInstanceUID): each for each in self.series}
        if path.startswith("/changes?"):
            since = int((re.findall("since=([0-9]+)", path) or [len(self.changes)])[0])
            kinds = self.changes[since:]
            if "type=" in path:
                kinds = [kind for kind in kinds if kind in ("NewSeries", "StableSeries")]
            changes, done = [{"ChangeType": kind} for kind in kinds[:500]], len(kinds) <= 500
            return {"Last": since + 500 if not done else len(self.changes), "Changes": changes, "Done": done}
        if path == "/statistics":
            return {"CountSeries": len(self.series)}
        if path == "/series":
            return list(by_name)
        one = by_name[path.removeprefix("/series/")]
        return {"MainDicomTags": {"SeriesInstanceUID": one.SeriesInstanceUID, "Modality": one.Modality}}

    def search_for_series(self, search_filters: dict[str, Any], fields: list[str]) -> list[dict[str, Any]]:
        self.asked.append(f"list of {search_filters}")
        wanted = search_filters.items()
        return [each.to_json_dict() for each in self.series if all(each.get(name) == value for name, value in wanted)]

    def retrieve_series_metadata(self, study: str, series: str) -> list[dict[str, Any]]:
        self.asked.append(f"metadata of {series}")
        return [self.instances[series].to_json_dict()]

    def add(self, uid: str, modality: str = "CT", of: str = "", **more: str) -> Dataset:
        """A series; a label says in short what it belongs to, if `Manufacturer` is ours."""
        series = Dataset()
        series.StudyInstanceUID, series.SeriesInstanceUID, series.Modality = "1.1", uid, modality
        for name, value in more.items():
            setattr(series, name, value)
        self.instances[uid] = deepcopy(series)
        if of:
            reference = Dataset()
            reference.SeriesInstanceUID = of
            series.RelatedSeriesSequence = [reference]
            self.instances[uid].ReferencedSeriesSequence = [reference]
            segment = Dataset()
            segment.SegmentNumber, segment.SegmentLabel = 1, "nodule1"
            self.instances[uid].SegmentSequence = [segment]
        self.series.append(series)
        self.changes += ["NewPatient", "NewSeries", "NewInstance"]
        return series

    def whole_lists(self) -> int:
        return self.asked.count("list of {'Modality': 'CT'}")


@pytest.fixture
def pacs() -> Pacs:
    return Pacs()


@pytest.fixture
def own(tmp_path: Path) -> OwnLabels:
    return OwnLabels("the stack's key", tmp_path, Pacs.base_url)


@pytest.fixture
def index(pacs: Pacs, own: OwnLabels) -> SeriesIndex:
    """Its lists may be of no age at all."""
    return SeriesIndex(pacs, own, {"Modality": "CT"}, max_age=-1)


OURS = {"Manufacturer": "labelpod", "ContentDate": "20260101", "ContentTime": "120000"}


@pytest.fixture
def filled(pacs: Pacs, index: SeriesIndex) -> Pacs:
    """So many that a few more are asked for one by one, and known."""
    for number in range(400):
        pacs.add(f"2.{number}", PatientID=f"P{number}")
    assert len(index.images()) == 400
    return pacs


def test_what_has_not_changed_is_not_listed_again(filled: Pacs, index: SeriesIndex):
    asked = len(filled.asked)
    assert len(index.images()) == 400 and index.labels() is index.labels()
    assert set(filled.asked[asked:]) == {"/changes?since=1200&limit=500&type=NewSeries;StableSeries", "/statistics"}


@pytest.mark.parametrize("kind", ["StableSeries", "UpdatedAttachment", "NewInstance"])
def test_a_change_that_brings_no_series_leaves_the_lists_alone(filled: Pacs, index: SeriesIndex, kind: str):
    """However many: Orthanc says of each series that nothing more came for a minute, and more."""
    labels = index.labels()
    filled.changes += [kind] * 10000
    asked = len(filled.asked)
    assert index.labels() is labels and "/series" not in filled.asked[asked:]


@pytest.mark.parametrize("kind", ["StableSeries", "UpdatedAttachment"])
def test_a_database_that_cannot_tell_changes_apart_is_asked_for_all(filled: Pacs, index: SeriesIndex, kind: str):
    """Debian's PostgreSQL plugin."""
    filled.tells_kinds_apart = False
    labels = index.labels()
    filled.changes += [kind] * 100
    asked = len(filled.asked)
    assert index.labels() is labels and "/series" not in filled.asked[asked:]
    filled.changes += [kind] * 1000
    assert index.labels() is labels and filled.whole_lists() == 1
    filled.add("5.1")
    assert "5.1" in index.images()


def test_what_is_new_is_asked_for_alone(filled: Pacs, index: SeriesIndex):
    filled.add("5.1")
    filled.add("6.1", "SEG", of="5.1", **OURS)
    filled.add("7.1", "MR")
    assert set(index.images()) == {*(f"2.{number}" for number in range(400)), "5.1"}
    assert list(index.labels()) == ["5.1"] and filled.whole_lists() == 1


def test_much_that_is_new_is_listed_at_once(filled: Pacs, index: SeriesIndex):
    for number in range(10):
        filled.add(f"5.{number}")
    assert len(index.images()) == 410 and filled.whole_lists() == 2


def test_a_deletion_is_noticed_where_the_change_number_stays(filled: Pacs, index: SeriesIndex):
    del filled.series[0]
    assert len(index.images()) == 399 and "2.0" not in index.images() and filled.whole_lists() == 1


def test_a_deletion_and_an_arrival_at_once_are_noticed(filled: Pacs, index: SeriesIndex):
    del filled.series[0]
    filled.add("5.1")
    assert len(index.images()) == 400 and "5.1" in index.images() and "2.0" not in index.images()


def test_a_deletion_is_noticed_after_an_arrival_that_came_as_the_server_was_asked(
    filled: Pacs, index: SeriesIndex, monkeypatch: pytest.MonkeyPatch
):
    """That was counted as news and not in the number: the deletion made up for it."""
    rest = filled.rest

    def then_one_comes(path: str) -> Any:
        answer = rest(path)
        if "5.1" not in filled.instances:
            filled.add("5.1")
        return answer

    monkeypatch.setattr(filled, "rest", then_one_comes)
    index.images()
    del filled.series[0]
    assert "2.0" not in index.images() and "5.1" in index.images()


def test_a_label_that_came_after_the_series_were_counted_and_went_is_gone(
    filled: Pacs, index: SeriesIndex, monkeypatch: pytest.MonkeyPatch
):
    rest = filled.rest

    def comes(path: str) -> Any:
        if path == "/series" and "6.1" not in filled.instances:
            filled.add("6.1", "SEG", of="2.0", **OURS)
        return rest(path)

    monkeypatch.setattr(filled, "rest", comes)
    filled.add("5.1")
    assert list(index.labels()) == ["2.0"]
    filled.series.pop()
    del filled.changes[-3:]  # as Orthanc takes them back
    assert index.labels() == {}


def test_a_label_that_came_as_all_lists_were_read_and_went_is_gone(
    pacs: Pacs, index: SeriesIndex, monkeypatch: pytest.MonkeyPatch
):
    """As they are where there are few series."""
    pacs.add("2.0")
    search = pacs.search_for_series

    def comes(search_filters: dict[str, Any], fields: list[str]) -> list[dict[str, Any]]:
        if search_filters == {"Modality": "SEG"} and "6.1" not in pacs.instances:
            pacs.add("6.1", "SEG", of="2.0", **OURS)
        return search(search_filters, fields)

    monkeypatch.setattr(pacs, "search_for_series", comes)
    assert list(index.labels()) == ["2.0"]
    pacs.series.pop()
    del pacs.changes[-3:]
    assert index.labels() == {}


def test_a_label_that_came_and_went_is_gone(filled: Pacs, index: SeriesIndex):
    filled.add("6.1", "SEG", of="2.0", **OURS)
    assert list(index.labels()) == ["2.0"]
    filled.series.pop()
    assert index.labels() == {} and filled.whole_lists() == 1


def test_a_patient_whose_name_in_orthanc_is_another_is_noticed_to_go(pacs: Pacs, index: SeriesIndex, monkeypatch):
    """Orthanc makes it of bytes in the study's own character set."""
    pacs.add("2.1", PatientID="Müller")
    monkeypatch.setattr("label_server.dicomweb.series_index.name_of", lambda *parts: "-".join(parts))
    assert index.images() == ["2.1"]
    pacs.series.clear()
    assert index.images() == []


def test_lists_are_kept_for_their_age_unless_forgotten(pacs: Pacs, own: OwnLabels):
    index = SeriesIndex(pacs, own, {"Modality": "CT"}, max_age=3600)
    assert index.images() == []
    pacs.add("2.1")
    asked = len(pacs.asked)
    assert index.images() == [] and len(pacs.asked) == asked
    index.forget()
    assert index.images() == ["2.1"]


def test_of_our_labels_the_list_says_all(pacs: Pacs, index: SeriesIndex):
    pacs.add("2.1")
    pacs.add("3.1", "SEG", of="2.1", **OURS, ContentCreatorName="anna")
    label = index.labels()["2.1"]
    assert (label.uid, label.own, label.creator, label.created) == ("3.1", True, "anna", "20260101120000")
    assert not [each for each in pacs.asked if each.startswith("metadata")]


def test_another_programs_label_is_asked_about_once(pacs: Pacs, index: SeriesIndex):
    """What it relates to need not be what it segments."""
    pacs.add("2.1")
    series = pacs.add("3.1", "SEG", of="2.1", Manufacturer="another")
    series.RelatedSeriesSequence[0].SeriesInstanceUID = "2.9"
    pacs.instances["3.1"].ReferencedSeriesSequence[0].SeriesInstanceUID = "2.1"
    assert index.labels()["2.1"].own is False
    pacs.add("2.2")
    assert list(index.labels()) == ["2.1"]
    assert pacs.asked.count("metadata of 3.1") == 1


def test_a_server_that_lists_no_related_series_is_asked_for_metadata(pacs: Pacs, index: SeriesIndex):
    pacs.add("2.1")
    series = pacs.add("3.1", "SEG", of="2.1", **OURS)
    del series.RelatedSeriesSequence, series.ContentDate
    assert index.labels()["2.1"].created == "20260101120000"


def test_what_lies_beside_a_sealed_label_does_not_say_whose_it_is(pacs: Pacs, index: SeriesIndex, own: OwnLabels):
    """On a server that lists no seals the first instance of the series is asked, whichever that is."""
    for uid in ("2.1", "2.2"):
        pacs.add(uid)
    series = pacs.add("3.1", "SEG", of="2.1", **OURS)
    series.SOPInstanceUID = "3.1.1"
    own.seal(series)
    beside = deepcopy(series)
    beside.ReferencedSeriesSequence = [Dataset()]
    beside.ReferencedSeriesSequence[0].SeriesInstanceUID = "2.2"
    pacs.instances["3.1"] = beside
    del series.RelatedSeriesSequence
    label = index.labels()["2.1"]
    assert (label.uid, label.own, label.instance) == ("3.1", True, "3.1.1") and "2.2" not in index.labels()


@pytest.mark.parametrize("status", [401, 403, 404])
def test_a_server_that_does_not_tell_of_changes_is_listed_each_time(pacs: Pacs, index: SeriesIndex, status: int):
    pacs.status = status
    assert index.images() == []
    pacs.add("2.1")
    assert index.images() == ["2.1"]
    assert pacs.asked.count("/statistics") == 1 and pacs.whole_lists() == 2


def test_an_orthanc_that_hides_its_series_is_not_empty(filled: Pacs, index: SeriesIndex):
    filled.refuses = "/series"
    filled.add("2.new")
    assert len(index.images()) == 401 and filled.whole_lists() == 2
    assert len(index.images()) == 401 and filled.whole_lists() == 2, "nothing changed"


def test_a_server_that_fails_is_not_taken_for_an_unchanged_one(pacs: Pacs, index: SeriesIndex):
    pacs.add("2.1")
    assert index.images() == ["2.1"]
    pacs.status = 503
    with pytest.raises(requests.HTTPError):
        index.images()
    pacs.status = 200
    pacs.add("2.2")
    assert index.images() == ["2.1", "2.2"]


def test_another_server_than_orthanc_is_asked_for_dicomweb_alone(pacs: Pacs, own: OwnLabels):
    pacs.base_url = "https://pacs.example/rs"
    index = SeriesIndex(pacs, own, {"Modality": "CT"}, max_age=-1)
    assert index.images() == [] and not [each for each in pacs.asked if each.startswith("/")]


def test_a_seg_that_goes_while_it_is_looked_at_stops_no_list(pacs: Pacs, tmp_path: Path):
    class Gone(Pacs):
        def retrieve_series_metadata(self, study: str, series: str) -> list[dict[str, Any]]:
            answer = requests.Response()
            answer.status_code = 404
            answer.raise_for_status()
            return []

    gone = Gone()
    gone.add("1.2")
    gone.add("1.3", "SEG")
    index = SeriesIndex(gone, OwnLabels("key", tmp_path, gone.base_url), {"Modality": "CT"}, 0)
    assert index.images() == ["1.2"] and index.labels() == {}


def test_a_number_of_slices_that_is_none_is_one(pacs: Pacs):
    for said in ("3.5", "many", "-1", "9" * 5000):
        listed = {"00201209": {"vr": "IS", "Value": [said]}}
        assert series.image(listed).instances == 1
