"""The models of a server: which weights serve, where they came from, and the command that tells of it."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from label_server.models import __main__, archive_format, provenance, registry
from label_server.models.registry import Refused
from tests.support.archives import GOOD, OTHER, WEIGHTS, manifest, sha256
from tests.support.paths import ROOT
from tests.support.waiting import eventually

RUN = {"run": "20260102_030405", "studies": 3, "epoch": 7, "dice": [[5, 0.5], [7, 0.75]]}


@pytest.fixture
def model(model_folder: Path) -> registry.Model:
    return registry.served()["deepgrow_2d"]


@pytest.fixture
def row(model: registry.Model) -> Callable[[], dict[str, Any]]:
    return lambda: __main__.listing()[0]


def known(**values: Any) -> dict[str, Any]:
    """The part of a row that says where weights came from."""
    return dict.fromkeys(("run", "dice", "studies", "epochs", "imported")) | values


def test_what_is_published_serves_before_what_is_pretrained(model):
    assert model.serving() is None
    pretrained = model.folder / "pretrained_deepgrow_2d.pt"
    pretrained.touch()
    assert model.serving() == pretrained
    model.published.touch()
    assert model.serving() == model.published == model.folder / "deepgrow_2d.pt"


def test_weights_in_the_place_of_others_keep_those(model):
    for content in (b"1", b"2"):
        (model.folder / "new").write_bytes(content)
        kept = registry.put(model.folder / "new", model.published)
    assert model.published.read_bytes() == b"2" and kept.read_bytes() == b"1"
    assert kept.name.startswith("deepgrow_2d.pt.") and kept.name.endswith(".replaced")


@pytest.mark.parametrize(
    ("conf", "models", "files"),
    [
        ("", "deepgrow_2d", ["deepgrow_2d.pt"]),
        ("", "deepedit,sam2", ["deepedit_dynunet.pt"]),
        ("network=unetr", "deepedit", ["deepedit_unetr.pt"]),
        ("models=segmentation", "deepedit", ["segmentation.pt"]),
        ("", "deepgrow_2d,deepgrow_2d,,nothing", ["deepgrow_2d.pt"]),
    ],
)
def test_the_files_are_those_of_the_server(model_folder, monkeypatch, conf, models, files):
    monkeypatch.setenv("CONF", conf)
    monkeypatch.setenv("MODELS", models)
    assert [model.published.name for model in registry.served().values()] == files


def test_nothing_is_fetched_to_look_at_models(model_folder, monkeypatch):
    monkeypatch.setenv("CONF", "use_pretrained_model=true labels=a,b")
    options = registry.conf()
    assert options["use_pretrained_model"] == "false" and options["labels"] == "a,b"


def test_another_app_has_no_weights_of_its_own(model_folder, monkeypatch):
    monkeypatch.setenv("APP", "monaibundle")
    assert __main__.listing() == []
    with pytest.raises(Refused, match="APP is monaibundle"):
        registry.chosen([])


def test_bundles_and_sam2_are_left_out_with_the_reason(model_folder, monkeypatch):
    monkeypatch.setenv("BUNDLES", "lung_nodule_ct_detection")
    monkeypatch.setenv("MODELS", "deepgrow_2d, sam2")
    bundle, sam2 = registry.left_out()
    assert bundle == "lung_nodule_ct_detection: a bundle, which holds code" and sam2.startswith("sam2: ")


def test_only_models_with_weights_are_exported(model):
    with pytest.raises(Refused, match="no model has weights"):
        registry.chosen([])
    with pytest.raises(Refused, match="deepgrow_2d has no weights: it is untrained"):
        registry.chosen(["deepgrow_2d"])
    model.published.touch()
    assert registry.chosen([]) == registry.chosen(["deepgrow_2d"]) == [model]
    with pytest.raises(Refused, match="no model 'deepgrow_pipeline' with weights of its own; there are deepgrow_2d, "):
        registry.chosen(["deepgrow_pipeline"])


def test_an_untrained_model_has_the_keys_of_any_other(row, model):
    untrained = row()
    model.published.write_bytes(WEIGHTS)
    trained = row()
    assert untrained == {"name": "deepgrow_2d", "weights": "untrained", "size": None, "sha256": None} | known()
    assert list(trained) == list(untrained)
    assert trained == untrained | {"weights": "trained", "size": len(WEIGHTS), "sha256": sha256(WEIGHTS)}


@pytest.mark.parametrize("file", [provenance.RUNS, provenance.PROGRESS])
def test_trained_weights_come_from_the_run_that_published_them(row, model, file):
    model.published.write_bytes(WEIGHTS)
    model.runs.mkdir()
    runs = [RUN | {"run": "20250101_000000"}, RUN | {"checksum": sha256(OTHER)}, RUN | {"checksum": sha256(WEIGHTS)}]
    lines = ['{"half', *map(json.dumps, runs)] if file == provenance.RUNS else [json.dumps(runs[-1])]
    (model.runs / file).write_text("\n".join(lines))
    assert row().items() >= known(run=RUN["run"], dice=0.75, studies=3, epochs=7).items()


def test_a_dice_that_is_no_number_is_unknown(row, model):
    model.published.write_bytes(WEIGHTS)
    model.runs.mkdir()
    run = RUN | {"dice": [[5, float("nan")]], "checksum": sha256(WEIGHTS)}
    (model.runs / provenance.RUNS).write_text(json.dumps(run))
    assert row()["dice"] is None and row()["run"] == RUN["run"]


@pytest.mark.parametrize("place", ["model", "baked"])
def test_pretrained_weights_are_on_the_record_of_what_was_fetched(row, model, tmp_path, place):
    (model.folder / "pretrained_deepgrow_2d.pt").write_bytes(WEIGHTS)
    assert row()["weights"] == "pretrained" and sha256(WEIGHTS) not in provenance.on_record(model)
    record = (model.folder if place == "model" else tmp_path / "baked") / "weights.json"
    record.parent.mkdir(exist_ok=True)
    record.write_text(json.dumps({"pretrained_deepgrow_2d.pt": {"url": "https://", "sha256": sha256(WEIGHTS)}}))
    assert sha256(WEIGHTS) in provenance.on_record(model)


def test_weights_from_outside_bring_along_where_they_came_from(row, model):
    model.published.write_bytes(WEIGHTS)
    there = provenance.Origin(weights="trained", run="r1", dice=0.5, studies=3, epochs=7)
    provenance.record_import(model.folder, sha256(WEIGHTS), there)
    provenance.record_import(model.folder, sha256(WEIGHTS), provenance.Origin(weights="uploaded"))
    found = row()
    assert found.pop("imported").startswith("20") and found.items() >= there.model_dump().items()
    # The next archive says what they were, not what became of them here.
    here = provenance.of(model, model.published, sha256(WEIGHTS))
    packed = archive_format.Packed.model_validate(manifest(WEIGHTS)["models"][0] | {"origin": here})
    assert json.loads(packed.model_dump_json())["origin"] == there.model_dump()


@pytest.mark.parametrize("text", ["[", "[]", json.dumps({sha256(WEIGHTS): {"weights": "dreamt"}})])
def test_a_record_that_cannot_be_read_is_as_good_as_none(row, model, text):
    model.published.write_bytes(WEIGHTS)
    (model.folder / provenance.IMPORTED).write_text(text)
    assert row()["weights"] == "trained" and row()["imported"] is None


# --- the command ---


def command(*words: str) -> subprocess.Popen[bytes]:
    paths = f"{ROOT / 'images' / 'label-server'}{os.pathsep}{ROOT}"
    return subprocess.Popen(
        [sys.executable, "-m", "label_server.models", *words],
        env={**os.environ, "PYTHONPATH": paths},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def test_the_list_is_json_and_other_words_go_elsewhere(model, monkeypatch):
    monkeypatch.setenv("BUNDLES", "lung_nodule_ct_detection")
    out, words = (process := command("list")).communicate()
    assert [row["name"] for row in json.loads(out)] == ["deepgrow_2d", "deepgrow_3d"] and process.returncode == 0
    assert words.decode().startswith("archive: not listed: lung_nodule_ct_detection: ")


def test_an_archive_of_what_serves_already_changes_nothing(model):
    model.published.write_bytes(WEIGHTS)
    out, words = (process := command("import")).communicate(GOOD)
    assert (process.returncode, words) == (0, b"")
    assert json.loads(out) == [{"name": "deepgrow_2d", "outcome": "unchanged", "kept": None, "note": None}]
    assert list(model.folder.iterdir()) == [model.published]


def test_a_refusal_is_one_line_and_exit_code_1(model):
    out, words = (process := command("import")).communicate(b"x" * 9999)
    assert (process.returncode, out) == (1, b"")
    assert words == b"archive: this is no archive of models, or it is damaged\n"


def test_a_verdict_on_a_hostile_archive_is_a_verdict(model):
    out, words = (process := command("verify", "-")).communicate(GOOD[:-2000])
    assert (process.returncode, words) == (1, b"")
    assert json.loads(out) == {"ok": False, "models": [], "problems": ["it ends in the middle"]}


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_an_import_that_is_ended_from_outside_leaves_nothing(model, how):
    process = command("import")
    process.stdin.write(GOOD[:-2000])
    process.stdin.flush()
    eventually(lambda: list(model.folder.glob(".incoming/*")), 10, "the archive is being unpacked")
    process.send_signal(how)
    out, words = process.communicate()
    assert (process.returncode, out, words) == (1, b"", b"archive: interrupted\n")
    assert list(model.folder.iterdir()) == []
