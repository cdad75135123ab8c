"""Texts that Orthanc keeps: what it says no to once is not taken for all that it has, nor for ever."""

import threading
import time
from typing import Any

import pytest
import requests

from label_server.dicomweb import series_metadata
from label_server.dicomweb.series_metadata import SeriesMetadata

REGISTERED, UNKNOWN_NAME, NOT_IMPLEMENTED = (404, 17), (404, 7), (500, 2)


class Session:
    """An Orthanc that answers everything with one status, its own number of what is wrong, and a list."""

    def __init__(self, status: int, number: int | None = None, found: Any = None, seconds: float = 0) -> None:
        self.answer = (status, number, found)
        self.seconds = seconds
        self.asked = 0

    def get(self, url: str, json: Any = None) -> Any:
        self.asked += 1
        time.sleep(self.seconds)
        if self.seconds:
            raise requests.ReadTimeout
        status, number, found = self.answer
        answer = requests.Response()
        answer.status_code = status
        # A stand-in for a method: mypy lets nobody do that.
        answer.json = lambda: found if found is not None else {"OrthancStatus": number}  # type: ignore[method-assign]
        return answer

    post = get


class Client:
    base_url = "http://orthanc/dicom-web"

    def __init__(self, session: Session) -> None:
        self._session = session


def of(session: Session) -> SeriesMetadata:
    # As much of a client as it uses: mypy wants all of it.
    return SeriesMetadata(Client(session), "labelpod-lease", {"Modality": "CT"})  # type: ignore[arg-type]


@pytest.mark.parametrize("refusal", [(401, None), (403, None), (404, None), UNKNOWN_NAME], ids=str)
def test_a_server_that_seems_to_keep_none_is_asked_again(refusal: tuple[int, int | None], monkeypatch):
    session = Session(*refusal)
    metadata = of(session)
    assert not metadata.kept() and not metadata.kept() and session.asked == 1
    session.answer = (*REGISTERED, None)
    monkeypatch.setattr(series_metadata, "_LOOK_AGAIN", 0)
    metadata._look_again = 0
    assert metadata.kept()


@pytest.mark.parametrize("status", [401, 403, 404, 500, 503])
def test_a_refusal_is_not_an_empty_list(status: int):
    session = Session(*REGISTERED)
    metadata = of(session)
    assert metadata.kept()
    heard = [{"ID": "a", "MainDicomTags": {"SeriesInstanceUID": "1.2"}, "Metadata": {"labelpod-lease": "said"}}]
    session.answer = (200, None, heard)
    metadata.hear()
    metadata._hear_again = 0
    session.answer = (status, None, {})
    with pytest.raises(requests.RequestException):
        metadata.hear()
    assert metadata.known() == {"1.2": "said"} and metadata._orthanc._finds


def test_who_waits_while_the_server_does_not_answer_need_not_wait_for_the_same():
    metadata = of(Session(200, seconds=0.3))
    metadata._kept = True
    raised: list[str] = []

    def hear() -> None:
        with pytest.raises(requests.ReadTimeout):
            metadata.hear()
        raised.append("in time")

    threads = [threading.Thread(target=hear) for _ in range(6)]
    started = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(raised) == 6 and time.monotonic() - started < 1.2
