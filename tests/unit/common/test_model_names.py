"""The models that a setting may name are those that have weights to fetch."""

from label_server.models import pretrained
from labelpod_common.model_names import MODELS


def test_every_model_has_its_weights_and_no_weights_are_without_a_model():
    assert set(pretrained.FILES) == set(MODELS)
