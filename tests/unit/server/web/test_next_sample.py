"""What next sample does when a series becomes complete while it is asked."""

import pytest
from monailabel.endpoints import activelearning

from label_server.web import next_sample
from tests.support.ct import Ct
from tests.support.web import Server


def test_a_series_that_becomes_complete_meanwhile_is_offered(
    server: Server, image: Ct, monkeypatch: pytest.MonkeyPatch
):
    samples = iter([{}, {"id": image.uid}])
    monkeypatch.setattr(activelearning, "sample", lambda *_: next(samples))
    monkeypatch.setattr(next_sample, "_left_out", dict)
    assert server.ask("POST", "/activelearning/random", "anna", json={}).json()["id"] == image.uid
