"""What is answered when something is wrong: each exception of the table, raised where it would be."""

import errno
import logging

import pytest
import requests
import torch
from monailabel.interfaces.exception import (
    ImageNotFoundException,
    LabelNotFoundException,
    MONAILabelError,
    MONAILabelException,
)
from starlette.exceptions import HTTPException

from label_server.datastore.image_cache import IncompleteSeries
from label_server.datastore.label_values import LabelError
from label_server.datastore.stored_labels import UnreadLabel
from label_server.errors import Changed, Forbidden, NotStored, Refused
from label_server.web.error_handlers import HANDLERS
from label_server.web.worker_pools import Busy, Left
from tests.support.web import Server


def http_error(status: int) -> requests.HTTPError:
    answer = requests.Response()
    answer.status_code = status
    return requests.HTTPError("503 of http://orthanc/series?PatientID=secret", response=answer)


AWAY = "The DICOMweb server does not answer"
RAISED = [
    (Refused("it is too long"), 400, "Refused: it is too long"),
    (Forbidden("it is another's"), 403, "it is another's"),
    (Changed("slices came"), 409, "The label was not saved: slices came"),
    (ImageNotFoundException("Image 1.2 not found"), 404, "Image 1.2 not found"),
    (LabelNotFoundException("no label"), 404, "no label"),
    (MONAILabelException(MONAILabelError.INVALID_INPUT, "no model"), 400, "no model"),
    (MONAILabelException(MONAILabelError.INFERENCE_ERROR, "out of memory"), 500, "out of memory"),
    (LabelError("it has a value without a name"), 422, "The label was not saved: it has a value without a name"),
    (NotStored("it is not there"), 502, "The label was not saved: it is not there"),
    (UnreadLabel("it has no voxels"), 422, "Another program's label cannot be read: it has no voxels"),
    (Busy("inferences"), 503, "Too many inferences wait already"),
    (Left(), 499, "The client has gone"),
    (torch.OutOfMemoryError("CUDA out of memory"), 503, "The GPU has not enough free memory for this model"),
    (IncompleteSeries("5 of 6 slices"), 503, "5 of 6 slices"),
    (requests.ConnectionError("secret"), 503, f"{AWAY} (ConnectionError)"),
    (requests.ConnectTimeout("secret"), 503, f"{AWAY} (ConnectTimeout)"),
    (requests.ReadTimeout("secret"), 503, f"{AWAY} (ReadTimeout)"),
    (
        requests.exceptions.ChunkedEncodingError("secret"),
        503,
        f"{AWAY} (ChunkedEncodingError)",
    ),
    (http_error(403), 502, "The DICOMweb server answered 403"),
    (requests.HTTPError("secret"), 502, "The DICOMweb server answered an error"),
    (OSError(errno.ENOSPC, "No space left on device", "secret"), 507, "The server's disk is full: nothing was stored"),
    (PermissionError(13, "no", "secret"), 500, "The server cannot read or write a file of its own (PermissionError)"),
    (HTTPException(418, "tea", {"X-Tea": "green"}), 418, "tea"),
]


@pytest.mark.parametrize(("error", "status", "detail"), RAISED, ids=lambda each: type(each).__name__)
def test_an_error_has_its_status_and_one_sentence(
    server: Server, label_app, monkeypatch, caplog, error, status, detail
):
    def fail() -> None:
        raise error

    caplog.set_level(logging.WARNING)
    monkeypatch.setattr(label_app, "info", fail)
    answer = server.ask("GET", "/info/", "anna")
    assert answer.status_code == status and answer.json() == {"detail": detail}
    assert (status == 503) == ("retry-after" in answer.headers)
    assert "secret" not in answer.text and "secret" not in caplog.text, "a URL may hold what somebody searched for"
    assert answer.headers["x-content-type-options"] == "nosniff"


def test_every_exception_of_the_table_has_been_raised():
    assert {type(error) for error, *_ in RAISED} >= {kind for kind in HANDLERS if kind is not requests.Timeout}


def test_another_error_is_a_fault_and_is_seen(server: Server, label_app, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(label_app, "info", lambda: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        server.ask("GET", "/info/", "anna")


def test_what_fastapi_refuses_is_422(server: Server):
    assert server.ask("GET", "/datastore/label", "anna").status_code == 422
    assert server.ask("GET", "/datastore/?output=nothing", "anna").status_code == 422
