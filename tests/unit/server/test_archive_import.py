"""Models of an archive in the place of those that serve: all or none. The networks are small ones."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

from label_server.errors import Refused
from label_server.models import archive_format, archive_import, provenance, registry, training_runs
from label_server.models.architectures import Network
from tests.support.archives import sha256

WEIGHTS = {"weight": torch.zeros(3, 2)}
LABELS = {"left": 1, "right": 2}
GOOD, NEW, BAD = b'{"weight": [3, 2]}', b'{"weight": [3, 2] }', b'{"weight": 7}'


def make(model: registry.Model) -> Network:
    labels = LABELS if model.name == "segmentation" else None
    return Network(torch.nn.Module(**WEIGHTS), "model", labels)


ARCHITECTURE = make(registry.Model("any", Path(), "any")).architecture
take = partial(archive_import.take, make=make)
verify_archive = partial(archive_import.verify_archive, make=make)


@pytest.fixture
def place(model_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The models' folder of a server whose deepgrow_2d serves from good weights."""
    monkeypatch.setenv("MODELS", "deepgrow_2d,segmentation")
    (model_folder / "deepgrow_2d.pt").write_bytes(GOOD)
    return model_folder


@pytest.fixture
def archived(tmp_path: Path) -> Callable[..., tuple[list[archive_format.Packed], Path]]:
    """Models of an archive, unpacked."""

    unpacked = tmp_path / "unpacked"
    unpacked.mkdir()

    def archived(**changed: Any) -> tuple[list[archive_format.Packed], Path]:
        contents: dict[str, bytes] = {"deepgrow_2d": NEW, "segmentation": NEW} | changed.pop("contents", {})
        plain = {"size": 1, "architecture": ARCHITECTURE, "origin": {"weights": "trained", "run": "r1"}}
        models = []
        for name, content in contents.items():
            (unpacked / f"{name}.pt").write_bytes(content)
            labels = LABELS if name == "segmentation" else None
            says = plain | {"name": name, "sha256": sha256(content), "labels": labels}
            models.append(archive_format.Packed.model_validate(says | changed.get(name, {})))
        return models, unpacked

    return archived


def files(place: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in place.iterdir() if path.is_file()}


def test_all_models_serve_with_their_origin_and_those_before_them_are_kept(archived, place):
    first, second = take(*archived())
    assert (first["name"], first["outcome"], first["note"]) == ("deepgrow_2d", "imported", None)
    assert (second["name"], second["kept"]) == ("segmentation", None)
    assert (place / "deepgrow_2d.pt").read_bytes() == (place / "segmentation.pt").read_bytes() == NEW
    assert (place / first["kept"]).read_bytes() == GOOD
    assert provenance.imported(place)[sha256(NEW)].run == "r1"


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
def test_where_one_model_is_not_sound_none_is_replaced(archived, place, changed, reason):
    models, folder = archived(**changed)
    before = files(place)
    with pytest.raises(Refused) as refused:
        take(models, folder)
    assert str(refused.value).startswith(reason) and files(place) == before
    verdict = verify_archive(models, folder)
    assert verdict["ok"] is False and "; ".join(verdict["problems"]) == str(refused.value)


@pytest.mark.parametrize("name", ["deepgrow_2d", "segmentation"])
def test_where_one_model_is_being_trained_none_is_replaced(archived, place, name):
    training_runs.Run(place / name, "r1", studies=1, epochs=1)
    before = files(place)
    with pytest.raises(Refused, match=f"{name} is being trained"):
        take(*archived())
    assert files(place) == before


def test_labels_of_other_names_are_said(archived, place):
    _, segmentation = take(*archived(segmentation={"labels": {"a": 1, "b": 2}}))
    assert segmentation["note"] == "it was trained on a, b; this server calls them left, right"


def test_what_serves_is_sound_if_it_can_be_read_and_is_on_record(place):
    verdict = archive_import.verify(make)
    assert verdict["models"] == ["deepgrow_2d"] and verdict["ok"] is False
    assert verdict["problems"] == [
        "deepgrow_2d: nobody knows where deepgrow_2d.pt comes from: its checksum is on no record"
    ]
    provenance.record_import(place, sha256(GOOD), provenance.Origin(weights="uploaded"))
    assert archive_import.verify(make) == {"ok": True, "models": ["deepgrow_2d"], "problems": []}
    (place / "deepgrow_2d.pt").write_bytes(BAD)
    assert len(archive_import.verify(make)["problems"]) == 2
