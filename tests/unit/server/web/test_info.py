"""What the server tells of itself and of its models, and whether it is ready."""

import copy
from pathlib import Path

import pytest
import torch
from monailabel.config import settings

from label_server.models import registry
from label_server.radiology.infers import purposes
from tests.support import app, web
from tests.support.attacks import code
from tests.support.ct import Ct, ct
from tests.support.dicomweb import Pacs
from tests.support.web import Server

FITTING = {"weight": torch.zeros(3, 2), "bias": torch.zeros(3)}


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    return tmp_path / "radiology" / "model" / "threshold.pt"


@pytest.fixture
def saved(tmp_path: Path):
    """A checkpoint of these weights, as bytes."""

    def save(state: dict) -> bytes:
        torch.save(state, tmp_path / "made.pt")
        return (tmp_path / "made.pt").read_bytes()

    return save


def replace(server: Server, content: bytes, model: str = "threshold"):
    return server.ask("PUT", f"/model/{model}", "admin", files={"file": ("made.pt", content)})


def test_our_labels_come_first(server: Server, image: Ct):
    told = server.ask("GET", "/info/", "anna").json()
    assert told["labels"] == ["nodule1", "nodule2", "nodule3", "dense"] and told["device"] == "CPU"
    assert told["datastore"] == {"total": 1, "completed": 0, "label_tags": {}, "left_out": {}}
    assert "tracking_uri" not in told["trainers"]["threshold"]["config"]
    assert "stops_at" not in told


def test_it_tells_which_server_answers(server: Server, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("socket.gethostname", lambda: "label-server-7")
    assert server.ask("GET", "/info/", "anna").json()["server"] == "label-server-7"


def test_a_model_that_cannot_be_had_says_why(pacs: Pacs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    pacs.store(ct())
    loaded = app.load(tmp_path, pacs.url, monkeypatch, bundles="wholeBody", sam2="true")
    assert set(loaded._infers) == {"threshold", "wholeBody", "sam_2d", "sam_3d"} and loaded.conf["bundles"] == ""
    with web.running(web.users(tmp_path)) as server:
        told = server.ask("GET", "/info/", "anna").json()["models"]
        assert told["wholeBody"]["trained"] is False and "could not be downloaded" in told["sam_2d"]["description"]
        answer = server.ask("POST", f"/infer/wholeBody?image={ct().uid}", "anna")
    assert answer.status_code == 400 and answer.json()["detail"] == "bundle wholeBody could not be downloaded"


def test_every_model_says_what_it_is_good_for(server: Server, label_app, monkeypatch: pytest.MonkeyPatch):
    task, long = label_app._infers["threshold"], copy.copy(label_app._infers["threshold"])
    long.description = "a bundle\n  of " + "words " * 100
    monkeypatch.setattr(label_app, "_infers", {"deepgrow_2d": task, "threshold": task, "bundle": long})
    told = {name: model["purpose"] for name, model in server.ask("GET", "/info/", "anna").json()["models"].items()}
    assert told["deepgrow_2d"] == "one slice at a time, about a second on any machine; start with this one"
    assert told["threshold"] == "What is denser than a threshold"
    assert told["bundle"].startswith("a bundle of words") and len(told["bundle"]) == 200


def test_a_model_that_says_nothing_of_itself_has_a_purpose_of_no_words():
    assert purposes.of("bundle", None) == ""


def test_weights_replace_a_model_only_if_they_fit(server: Server, weights: Path, saved):
    assert server.ask("GET", "/info/", "anna").json()["models"]["threshold"]["trained"] is False
    assert server.ask("GET", "/model/threshold", "admin").status_code == 404
    first = saved(FITTING)
    assert replace(server, first).status_code == 200
    assert server.ask("GET", "/info/", "anna").json()["models"]["threshold"]["trained"] is True
    assert server.ask("GET", "/model/threshold", "admin").content == first
    assert replace(server, saved({"model": FITTING, "epoch": 3})).status_code == 200, "weights beside others"
    (kept,) = weights.parent.glob("*.replaced")
    assert kept.read_bytes() == first


@pytest.mark.parametrize(
    ("state", "reason"),
    [
        ({"weight": torch.zeros(3, 2)}, "of another network: 1 weights are missing or unknown"),
        (FITTING | {"more": torch.zeros(1)}, "of another network: 1 weights are missing or unknown"),
        (FITTING | {"bias": torch.zeros(4)}, r"bias is [4], not [3]"),
        ({"model": {}}, "of another network: 2 weights"),
        ({"weight": {}}, "holds no weights"),
    ],
)
def test_weights_of_another_network_change_nothing(server: Server, weights: Path, saved, state, reason: str):
    replace(server, saved(FITTING))
    before = weights.read_bytes()
    answer = replace(server, saved(state))
    assert answer.status_code == 422 and reason in answer.json()["detail"]
    assert weights.read_bytes() == before and {path.name for path in weights.parent.iterdir()} >= {"threshold.pt"}


def test_code_is_no_weights(server: Server, weights: Path):
    answer = replace(server, code())
    assert answer.status_code == 422 and "not a checkpoint that holds only weights" in answer.json()["detail"]
    assert not weights.exists() and not Path("/tmp/pwned").exists()


def test_a_model_of_code_is_replaced_by_none(server: Server, label_app, saved):
    label_app._infers["threshold"].network = None
    answer = replace(server, saved(FITTING))
    assert answer.status_code == 422 and "code is not taken from outside" in answer.json()["detail"]


def test_uploaded_weights_are_on_record(server: Server, weights: Path, saved):
    replace(server, saved(FITTING))
    assert registry.digest(weights) in (weights.parent / "imported.json").read_text()


def test_a_model_that_is_not_there_is_404(server: Server, saved):
    assert replace(server, saved(FITTING), "other").status_code == 404
    for method in ("GET", "DELETE"):
        assert server.ask(method, "/model/other", "admin").status_code == 404


def test_a_deleted_model_is_kept_aside(server: Server, weights: Path, saved):
    replace(server, saved(FITTING))
    assert server.ask("DELETE", "/model/threshold", "admin").status_code == 200
    assert not weights.exists() and len(list(weights.parent.glob("*.deleted"))) == 1


# --- ready ---


def test_ready_if_the_dicomweb_server_answers(server: Server, pacs: Pacs):
    assert server.ask("GET", "/readyz", "anna").text == "ready\n"
    assert (pacs.asked[-1].path, pacs.asked[-1].query) == ("/dicom-web/studies", {"limit": "1"})


def test_not_ready_if_it_fails_or_is_away(server: Server, pacs: Pacs, monkeypatch: pytest.MonkeyPatch):
    pacs.status = 401
    answer = server.ask("GET", "/readyz", "anna")
    assert answer.status_code == 503 and answer.text == "the DICOMweb server answers 401\n"
    monkeypatch.setattr(settings, "MONAI_LABEL_STUDIES", "http://127.0.0.1:9/dicom-web")
    answer = server.ask("GET", "/readyz", "anna")
    assert answer.status_code == 503 and answer.text == "the DICOMweb server does not answer (ConnectError)\n"
    assert answer.headers["retry-after"] == "5"


def test_a_folder_of_studies_is_always_ready(server: Server, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(settings, "MONAI_LABEL_STUDIES", "/studies")
    assert server.ask("GET", "/readyz", "anna").text == "ready\n"


def test_the_log_comes_as_text(server: Server, tmp_path: Path):
    """Upstream's page loads its scripts from elsewhere."""
    (tmp_path / "radiology" / "logs" / "app.log").write_text("one\ntwo\n")
    answer = server.ask("GET", "/logs/?html=true&lines=1", "admin")
    assert answer.text == "two\n" and answer.headers["content-type"].startswith("text/plain")


@pytest.mark.parametrize(("there", "status", "said"), [(True, 200, "GPU 0"), (False, 404, "has no NVIDIA GPU")])
def test_the_gpu_is_told_of_if_there_is_one(server: Server, programs, monkeypatch, there: bool, status: int, said: str):
    monkeypatch.setenv("PATH", str(programs.folder))
    if there:
        programs.add("nvidia-smi", "echo GPU 0")
    answer = server.ask("GET", "/logs/gpu", "admin")
    assert answer.status_code == status and said in answer.text


def test_a_gpu_that_does_not_answer_is_none(server: Server, programs, monkeypatch):
    monkeypatch.setenv("PATH", str(programs.folder))
    programs.add("nvidia-smi", "exit 9")
    assert server.ask("GET", "/logs/gpu", "admin").status_code == 404
