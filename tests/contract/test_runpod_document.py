"""Our contract with RunPod, RunPod's document, and the client say the same."""

import inspect
import json

import pytest

from labelpod.runpod.client import Client
from tests.contract.runpod_contract import OPERATIONS
from tests.contract.runpod_document import Document
from tests.support.paths import DATA


@pytest.fixture
def there(document: Document | None) -> Document:
    if document is None:
        pytest.skip("RunPod's document is absent: ../shared/data/runpod/openapi-v2.json")
    return document


def snake(name: str) -> str:
    return "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in name)


def test_the_client_has_a_method_for_each_operation_and_no_other():
    methods = {name for name, _ in inspect.getmembers(Client, inspect.isfunction) if not name.startswith("_")}
    assert methods == {snake(operation) for operation in OPERATIONS}


@pytest.mark.parametrize("name", OPERATIONS)
def test_an_operation_is_in_the_document_with_the_same_address_and_fields(there: Document, name: str):
    known = OPERATIONS[name]
    method, path, _ = there.operations[name]
    assert (known.method, known.path) == (method, path)
    if known.body:
        names, required = there.fields_of_body(name)
        assert known.body <= names and known.required == required


def test_the_document_catches_what_the_service_would_refuse(there: Document):
    body = {"name": "x", "image": "y", "gpu": {"id": "z", "count": 1}}
    assert there.faults_of_body("createPod", body) == []
    for wrong in ({"supportPublicIp": True}, {"env": {"A": 1}}, {"gpu": {"id": "z", "minCudaVersion": "twelve"}}):
        assert there.faults_of_body("createPod", body | wrong), wrong
    assert there.faults_of_body("createTemplate", {"name": "x", "image": "y", "readme": "z"})


def test_a_pod_that_the_real_service_answered_fits_the_document(there: Document):
    recorded = json.loads((DATA / "runpod" / "recorded_live_payloads.json").read_text())
    assert there.faults_of_answer("getPod", 200, recorded["pod_running"]) == []
    assert there.faults_of_answer("createPod", 400, recorded["error_400_capacity"]) == []
