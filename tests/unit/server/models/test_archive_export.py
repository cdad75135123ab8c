"""Archives of the models that serve, and the networks that they are held against."""

import io
import json
import sys
import tarfile
from pathlib import Path

import pytest
import torch

from label_server.errors import Refused
from label_server.models import architectures, archive_export, archive_format, archive_import, registry
from tests.support.app import SAMPLE_APPS


@pytest.fixture
def models(model_folder: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, registry.Model]:
    """Two models, of which deepgrow_2d has weights."""
    monkeypatch.setenv("MODELS", "deepgrow_2d,segmentation")
    monkeypatch.setattr(architectures, "SAMPLE_APPS", SAMPLE_APPS)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(archive_export, "version", lambda name: "1.2.3")
    architectures.make.cache_clear()
    torch.save({"weight": torch.zeros(3, 2)}, model_folder / "deepgrow_2d.pt")
    return registry.own()


def test_a_network_is_made_as_the_sample_app_makes_it(models):
    click, organs = (architectures.make(models[name]) for name in ("deepgrow_2d", "segmentation"))
    assert (click.key, click.labels) == ("model", None)
    assert (organs.key, organs.labels) == ("net", {"left": 1, "right": 2})
    assert click.architecture != organs.architecture and len(click.architecture) == 64


def test_a_model_that_is_kept_under_another_name_is_noticed(models, monkeypatch):
    monkeypatch.setattr(registry.Model, "published", property(lambda self: Path("/other.pt")))
    with pytest.raises(RuntimeError, match=r"kept as .*deepgrow_2d\.pt, not as other\.pt"):
        architectures.make(models["deepgrow_2d"])


def test_what_is_exported_can_be_imported(models, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    out = io.BytesIO()
    archive_export.export([models["deepgrow_2d"]], out)
    with tarfile.open(fileobj=io.BytesIO(out.getvalue())) as tar:
        assert tar.getnames() == ["manifest.json", "deepgrow_2d.pt"]
        manifest = json.loads(tar.extractfile("manifest.json").read())
    assert manifest["versions"]["torch"] == "1.2.3" and manifest["labels"][0]["name"] == "nodule1"
    path = models["deepgrow_2d"].published
    assert manifest["models"][0]["sha256"] == registry.digest(path)
    with archive_format.unpacked(io.BytesIO(out.getvalue())) as (packed, folder):
        (taken,) = archive_import.take(packed.models, folder)
    assert (taken["outcome"], taken["kept"].startswith("deepgrow_2d.pt.")) == ("imported", True)


def test_weights_that_are_none_are_not_exported(models):
    models["deepgrow_2d"].published.write_text("{}")
    with pytest.raises(Refused, match="deepgrow_2d is not exported: it is of another network"):
        archive_export.export([models["deepgrow_2d"]], io.BytesIO())
