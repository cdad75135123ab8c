"""For people with an account: what RunPod answers is what its document says. Reads only; deselected by default."""

import os
from collections.abc import Callable, Iterator

import pytest

from labelpod.runpod import catalog
from labelpod.runpod.client import Client
from tests.contract.runpod_document import Document

pytestmark = pytest.mark.live


@pytest.fixture
def client() -> Iterator[Client]:
    key = os.environ.get("RUNPOD_API_KEY")
    if not key:
        pytest.skip("RUNPOD_API_KEY is not set")
    with Client(key, "https://api.runpod.io") as client:
        yield client


@pytest.mark.parametrize(
    ("operation", "name", "ask"),
    [
        ("listTemplates", "templates", lambda client: client.list_templates()),
        ("listPods", "pods", lambda client: client.list_pods()),
        ("listNetworkVolumes", "networkVolumes", lambda client: client.list_network_volumes()),
        ("listGpuTypes", "gpus", lambda client: client.list_gpu_types(**catalog.query(catalog.Wish()))),
    ],
)
def test_lists_are_as_documented(
    client: Client, document: Document | None, operation: str, name: str, ask: Callable[[Client], list[dict]]
):
    if document is None:
        pytest.skip("RunPod's document is absent: ../shared/data/runpod")
    assert document.faults_of_answer(operation, 200, {name: ask(client)}) == []


def test_a_gpu_that_fits_is_in_the_catalogue(client: Client):
    wish = catalog.Wish()
    found = catalog.candidates(client.list_gpu_types(**catalog.query(wish)), wish)
    assert found
