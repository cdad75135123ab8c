"""The lists of images and labels are read again when something has changed, and only then."""

import json
from copy import deepcopy
from typing import Any

import pytest
import requests
from pydicom import Dataset

from app.series_index import SeriesIndex


class Pacs:
    """An Orthanc of a few series, as the DICOMweb client sees it; counts what it is asked."""

    base_url = "http://orthanc:8042/dicom-web"

    def __init__(self) -> None:
        self.status = 200
        self.last = 7
        self.series: list[Dataset] = []
        self.instances: dict[str, Dataset] = {}
        self.asked: list[str] = []
        self._session = self

    def get(self, url: str) -> requests.Response:
        self.asked.append(url.removeprefix("http://orthanc:8042"))
        answer = requests.Response()
        answer.status_code = self.status
        numbers = {"Last": self.last, "Changes": []} if "changes" in url else {"CountInstances": len(self.series)}
        answer._content = json.dumps(numbers).encode()
        return answer

    def search_for_series(self, search_filters: dict[str, Any], fields: list[str]) -> list[dict[str, Any]]:
        self.asked.append(f"list of {search_filters}")
        ((name, value),) = search_filters.items()
        return [each.to_json_dict() for each in self.series if each.get(name) == value]

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
        self.series.append(series)
        self.last += 1
        return series

    def lists(self) -> int:
        return sum(each.startswith("list of") for each in self.asked)


@pytest.fixture
def pacs() -> Pacs:
    return Pacs()


@pytest.fixture
def index(pacs: Pacs) -> SeriesIndex:
    """Its lists may be of no age at all."""
    return SeriesIndex(pacs, {"Modality": "CT"}, max_age=-1)


OURS = {"Manufacturer": "labelpod", "ContentDate": "20260101", "ContentTime": "120000"}


def test_what_has_not_changed_is_not_listed_again(pacs: Pacs, index: SeriesIndex):
    pacs.add("2.1")
    assert index.images() == ["2.1"] and pacs.lists() == 2
    assert index.images() == ["2.1"] and index.labels() is index.labels() and pacs.lists() == 2


def test_what_is_new_is_listed(pacs: Pacs, index: SeriesIndex):
    assert index.images() == []
    pacs.add("2.1")
    assert index.images() == ["2.1"]


def test_a_deletion_is_noticed_where_the_change_number_stays(pacs: Pacs, index: SeriesIndex):
    pacs.add("2.1")
    pacs.add("2.2")
    assert index.images() == ["2.1", "2.2"]
    del pacs.series[0]
    assert index.images() == ["2.2"]


def test_a_deletion_and_an_arrival_at_once_are_noticed(pacs: Pacs, index: SeriesIndex):
    pacs.add("2.1")
    assert index.images() == ["2.1"]
    del pacs.series[0]
    pacs.add("2.2")
    assert index.images() == ["2.2"]


def test_nothing_is_asked_within_the_age_that_is_allowed_until_told_to_forget(pacs: Pacs):
    index = SeriesIndex(pacs, {"Modality": "CT"}, max_age=3600)
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


@pytest.mark.parametrize("status", [401, 403, 404])
def test_a_server_that_does_not_tell_of_changes_is_listed_each_time(pacs: Pacs, index: SeriesIndex, status: int):
    pacs.status = status
    assert index.images() == []
    pacs.add("2.1")
    assert index.images() == ["2.1"]
    assert pacs.asked.count("/changes?last") == 1 and pacs.lists() == 4


def test_a_server_that_fails_is_not_taken_for_an_unchanged_one(pacs: Pacs, index: SeriesIndex):
    pacs.add("2.1")
    assert index.images() == ["2.1"]
    pacs.status = 503
    with pytest.raises(requests.HTTPError):
        index.images()
    pacs.status = 200
    pacs.add("2.2")
    assert index.images() == ["2.1", "2.2"]


def test_another_server_than_orthanc_is_asked_for_dicomweb_alone(pacs: Pacs):
    pacs.base_url = "https://pacs.example/rs"
    index = SeriesIndex(pacs, {"Modality": "CT"}, max_age=-1)
    assert index.images() == [] and not [each for each in pacs.asked if each.startswith("/")]
