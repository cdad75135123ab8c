"""The DICOMweb server as the label server uses it: files as they arrive, and series that are deleted."""

import pytest
import requests

from label_server.dicomweb import client, http_session, orthanc
from tests.support import dicomweb
from tests.support.ct import ct
from tests.support.dicomweb import Pacs


def test_a_series_comes_file_by_file_as_the_server_has_it(pacs: Pacs):
    pacs.store(ct())
    files = client.client(pacs.url).series_files(ct().study_uid, ct().uid)
    assert tuple(files) == ct().files


def test_the_only_file_may_come_as_it_is(pacs: Pacs, monkeypatch: pytest.MonkeyPatch):
    """Against the standard, but some servers do."""
    alone = requests.Response()
    alone.status_code, alone._content, alone.headers["content-type"] = 200, ct().files[0], "application/dicom"
    made = client.client(pacs.url)
    monkeypatch.setattr(made, "_http_get", lambda *_, **__: alone)
    assert list(made.series_files("1.2", "1.3")) == [ct().files[0]]


def test_a_failure_is_one_failure(pacs: Pacs):
    """The client's own retries would make five time-outs of one."""
    pacs.status = 503
    with pytest.raises(requests.HTTPError):
        client.client(pacs.url).search_for_series()
    assert len(pacs.asked) == 1


@pytest.mark.parametrize(("user", "password", "sent"), [("own", "password", True), ("own", "", False), ("", "", False)])
def test_a_login_is_sent_if_it_is_whole(pacs: Pacs, tmp_path, monkeypatch, user: str, password: str, sent: bool):
    dicomweb.log_in(monkeypatch, tmp_path, user, password)
    client.client(pacs.url).search_for_series()
    assert ("authorization" in pacs.asked[0].headers) == sent


# --- deleting ---


def test_a_series_is_deleted_by_its_uid(pacs: Pacs):
    pacs.store(ct(1), ct(2))
    session = http_session.session("", "")
    assert orthanc.delete_series(session, f"{pacs.url}/", ct(1).uid, "permit") is True
    assert list(pacs.series) == [ct(2).uid]
    assert orthanc.delete_series(session, pacs.url, ct(1).uid, "permit") is True, "what is gone is gone"


def test_a_server_that_does_not_let_go_is_said(pacs: Pacs):
    pacs.store(ct())
    session = http_session.session("", "")
    pacs.keeps = True
    assert orthanc.delete_series(session, pacs.url, ct().uid, "permit") is False
    pacs.status = 403
    assert orthanc.delete_series(session, pacs.url, ct().uid, "permit") is False


def test_another_server_than_orthanc_is_not_asked(pacs: Pacs):
    assert orthanc.delete_series(http_session.session("", ""), "https://pacs.example/rs", "1.2", "") is False
