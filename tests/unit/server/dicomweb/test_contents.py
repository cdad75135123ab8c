"""Whether a series is complete, and which version of it a DICOMweb server holds."""

from datetime import UTC, datetime
from typing import Any

import pytest
from pydicom import Dataset

from label_server.dicomweb import contents, series
from label_server.dicomweb.contents import Content, Contents
from label_server.errors import Refused


class Orthanc:
    """What Orthanc says of its series; nothing if it is none."""

    def __init__(self, *found: dict[str, Any], there: bool = True) -> None:
        self.found, self.there = list(found), there

    def find_series(self, uid: str) -> list[dict[str, Any]] | None:
        return self.found if self.there else None

    def find_all(self) -> list[dict[str, Any]] | None:
        return self.find_series("")


class Other:
    """Another DICOMweb server, of one series."""

    def __init__(self) -> None:
        self.instances = ["1.2.1", "1.2.2"]
        self.patient = "P"

    def look_up(self, uid: str) -> series.ImageSeries | None:
        attributes = dict.fromkeys(series.IMAGE_FIELDS, "") | {"PatientID": self.patient}
        attributes["NumberOfSeriesRelatedInstances"] = str(len(self.instances))
        return series.ImageSeries(uid, "1", attributes) if self.instances else None

    def search_for_instances(self, study: str, uid: str, fields: list[str]) -> list[dict[str, Any]]:
        listed = []
        for instance in self.instances:
            dataset = Dataset()
            dataset.SOPInstanceUID = instance
            listed.append(dataset.to_json_dict())
        return listed


def of(client: Any, orthanc: Orthanc, quiet: float = 5) -> Contents:
    return Contents(client, orthanc, getattr(client, "look_up", lambda _: None), quiet)


def test_orthanc_says_what_it_has():
    found = {"ID": "a", "IsStable": False, "Instances": ["x", "y"], "Metadata": {"LastUpdate": "20260101T120000"}}
    orthanc = Orthanc(found)
    looked_at = of(None, orthanc)
    before = looked_at.of("1.2")
    assert before is not None and not before.complete
    versions = {before.version}
    for change in ({"Instances": ["x"]}, {"Metadata": {"LastUpdate": "20260101T120001"}}, {"ID": "b"}):
        orthanc.found = [found | change]
        versions.add(looked_at.of("1.2").version)
    assert len(versions) == 4
    orthanc.found = [found | {"Instances": ["y", "x"], "IsStable": True}]
    assert looked_at.of("1.2") == Content(before.version, complete=True)
    orthanc.found = []
    assert looked_at.of("1.2") is None


def test_what_came_to_another_orthanc_or_before_its_start_is_known_by_its_time(monkeypatch: pytest.MonkeyPatch):
    """Which calls it stable then; and its clock may differ from ours."""
    monkeypatch.setattr(contents.time, "time", lambda: datetime(2026, 1, 1, 12, 0, 0, tzinfo=UTC).timestamp())
    orthanc = Orthanc()
    looked_at = of(None, orthanc)
    complete = {}
    times = ("115955", "115956", "120000", "120004", "120005")
    for came in (*(f"20260101T{each}" for each in times), "", "yesterday"):
        found = {"IsStable": True, "Metadata": {"LastUpdate": came}, "MainDicomTags": {"SeriesInstanceUID": "1.2"}}
        orthanc.found = [found]
        complete[came] = looked_at.of("1.2").complete
        assert looked_at.arriving([]) == (set() if complete[came] else {"1.2"})
        assert looked_at.arrives({"IsStable": True, "LastUpdate": came}) is not complete[came]
        orthanc.found = [found | {"IsStable": False}]
        assert not looked_at.of("1.2").complete and looked_at.arriving([]) == {"1.2"}
    assert list(complete.values()) == [True, False, False, False, True, True, True]


def test_a_series_of_two_patients_is_nobodys():
    with pytest.raises(Refused, match="under 2 patients or studies"):
        of(None, Orthanc({"ID": "a"}, {"ID": "b"})).of("1.2")


def test_another_server_is_looked_at_for_a_while(monkeypatch: pytest.MonkeyPatch):
    now = 100.0
    monkeypatch.setattr(contents.time, "monotonic", lambda: now)
    server = Other()
    looked_at = of(server, Orthanc(there=False))
    first = looked_at.of("1.2")
    assert first is not None and first.complete, "it may have been there for long"
    assert looked_at.arriving([server.look_up("1.2")]) == set()
    server.instances.append("1.2.3")
    second = looked_at.of("1.2")
    assert second is not None and second.version != first.version and not second.complete
    assert looked_at.arriving([server.look_up("1.2")]) == {"1.2"}
    now += 4
    assert not looked_at.of("1.2").complete
    now += 2
    assert looked_at.of("1.2") == Content(second.version, complete=True)
    assert looked_at.arriving([server.look_up("1.2")]) == set()
    server.patient = "Q"
    assert looked_at.of("1.2").version != second.version
    server.instances.clear()
    assert looked_at.of("1.2") is None
