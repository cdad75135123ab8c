"""Models of an archive in the place of those that serve: all or none. The networks, which take torch, are stand-ins."""

import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from label_server.models import archive_format, provenance, registry
from label_server.models.registry import Refused
from tests.support.archives import sha256
from tests.support.paths import ROOT

SOURCE = ROOT / "images" / "label-server" / "label_server" / "models" / "archive_import.py"
GOOD, NEW, BAD = b"good", b"new", b"bad"
LABELS = {"left": 1, "right": 2}


class NotWeights(Exception):
    pass


def check(path: Path, module: object, key: str) -> None:
    """Stands for label_server.models.upload.check: content that begins with b is none."""
    if path.read_bytes().startswith(b"b"):
        raise NotWeights("it holds no weights")


@pytest.fixture
def place(model_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The models' folder of a server whose deepgrow_2d serves from good weights."""
    monkeypatch.setenv("MODELS", "deepgrow_2d,segmentation")
    (model_folder / "deepgrow_2d.pt").write_bytes(GOOD)
    return model_folder


@pytest.fixture
def training() -> set[str]:
    """The models that are being trained."""
    return set()


@pytest.fixture
def incoming(place: Path, training: set[str], monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """label_server.models.archive_import on stand-ins for what is installed in the image alone."""

    def make(model: registry.Model) -> SimpleNamespace:
        labels = LABELS if model.name == "segmentation" else None
        return SimpleNamespace(module=None, key="model", labels=labels, architecture="0" * 64)

    stand_ins = {
        "upload": SimpleNamespace(check=check, NotWeights=NotWeights),
        "architectures": SimpleNamespace(make=make, Network=SimpleNamespace),
        "training_runs": SimpleNamespace(progress=lambda folder: folder.name in training),
    }
    for name, stand_in in stand_ins.items():
        monkeypatch.setitem(sys.modules, f"label_server.models.{name}", stand_in)
    spec = importlib.util.spec_from_file_location("incoming_on_stand_ins", SOURCE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def archived(tmp_path: Path) -> Callable[..., tuple[list[archive_format.Packed], Path]]:
    """Models of an archive, unpacked."""

    unpacked = tmp_path / "unpacked"
    unpacked.mkdir()

    def archived(**changed: Any) -> tuple[list[archive_format.Packed], Path]:
        contents: dict[str, bytes] = {"deepgrow_2d": NEW, "segmentation": NEW} | changed.pop("contents", {})
        plain = {"size": 1, "architecture": "0" * 64, "origin": {"weights": "trained", "run": "r1"}}
        models = []
        for name, content in contents.items():
            (unpacked / f"{name}.pt").write_bytes(content)
            labels = LABELS if name == "segmentation" else None
            says = plain | {"name": name, "sha256": sha256(content), "labels": labels}
            models.append(archive_format.Packed.model_validate(says | changed.get(name, {})))
        return models, unpacked

    return archived


def files(place: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in place.iterdir()}


def test_all_models_serve_with_their_origin_and_those_before_them_are_kept(incoming, archived, place):
    first, second = incoming.take(*archived())
    assert (first["name"], first["outcome"], first["note"]) == ("deepgrow_2d", "imported", None)
    assert (second["name"], second["kept"]) == ("segmentation", None)
    assert (place / "deepgrow_2d.pt").read_bytes() == (place / "segmentation.pt").read_bytes() == NEW
    assert (place / first["kept"]).read_bytes() == GOOD
    assert provenance.brought(place)[sha256(NEW)].run == "r1"


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"contents": {"segmentation": BAD}}, "segmentation: it holds no weights"),
        ({"segmentation": {"architecture": "1" * 64}}, "segmentation: its manifest says another network"),
        ({"segmentation": {"labels": {"a": 1}}}, "segmentation: it was trained on 1 labels, and has 2 on this server"),
        ({"segmentation": {"labels": None}}, "segmentation: one tells labels apart, the other does not"),
        (
            {"contents": {"deepgrow_2d": BAD, "segmentation": BAD}},
            "deepgrow_2d: it holds no weights; segmentation: it holds no weights",
        ),
    ],
)
def test_where_one_model_is_not_sound_none_is_replaced(incoming, archived, place, changed, reason):
    models, folder = archived(**changed)
    before = files(place)
    with pytest.raises(Refused) as refused:
        incoming.take(models, folder)
    assert str(refused.value).startswith(reason) and files(place) == before
    verdict = incoming.verify_archive(models, folder)
    assert verdict["ok"] is False and "; ".join(verdict["problems"]) == str(refused.value)


@pytest.mark.parametrize("name", ["deepgrow_2d", "segmentation"])
def test_where_one_model_is_being_trained_none_is_replaced(incoming, archived, place, training, name):
    training.add(name)
    before = files(place)
    with pytest.raises(Refused, match=f"{name} is being trained"):
        incoming.take(*archived())
    assert files(place) == before


def test_labels_of_other_names_are_said(incoming, archived):
    _, segmentation = incoming.take(*archived(segmentation={"labels": {"a": 1, "b": 2}}))
    assert segmentation["note"] == "it was trained on a, b; this server calls them left, right"


def test_what_serves_is_sound_if_it_can_be_read_and_is_on_record(incoming, place):
    verdict = incoming.verify()
    assert verdict["models"] == ["deepgrow_2d"] and verdict["ok"] is False
    assert verdict["problems"] == [
        "deepgrow_2d: nobody knows where deepgrow_2d.pt comes from: its checksum is on no record"
    ]
    provenance.bring(place, sha256(GOOD), provenance.Origin(weights="uploaded"))
    assert incoming.verify() == {"ok": True, "models": ["deepgrow_2d"], "problems": []}
    (place / "deepgrow_2d.pt").write_bytes(BAD)
    assert len(incoming.verify()["problems"]) == 2
