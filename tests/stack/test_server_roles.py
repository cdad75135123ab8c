"""Two label servers beside the stack's, over the same Orthanc: one trains, the other annotates with its models."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import requests

from tests.stack.conftest import TOKEN, answers
from tests.support.annotator import Annotator
from tests.support.clone import Clone
from tests.support.ports import held_port
from tests.support.waiting import eventually

SERVER, TRAINER, ANNOTATING = "label-server", "trainer", "annotating"
MAKE_WEIGHTS = Path(__file__).with_name("programs") / "make_weights.py"
POINT = [181, 285, 25]
Servers = dict[str, Annotator]


def described(running: Clone, name: str, role: str, port: int) -> dict[str, Any]:
    """The stack's own label server with another role, a workspace of its own and the models of both."""
    ours = json.loads(running.compose("config", "--format", "json").stdout)["services"][SERVER]
    models = f"models:/models{':ro' if role == 'annotate' else ''}"
    mounted = [each for each in ours["volumes"] if each["type"] != "volume"] + [f"{name}-workspace:/workspace", models]
    given = {"ROLE": role, "MODEL_DIR": "/models", "LOG_FORMAT": "json"}
    return ours | {
        "ports": [f"127.0.0.1:{port}:8000"],
        "volumes": mounted,
        "environment": ours["environment"] | given,
    }


@pytest.fixture(scope="module")
def overlay(running: Clone) -> Iterator[tuple[list[str], dict[str, int]]]:
    """Compose's arguments, and the port of each server."""
    ports = {TRAINER: held_port(), ANNOTATING: held_port()}
    roles = {TRAINER: "train", ANNOTATING: "annotate"}
    services = {name: described(running, name, roles[name], ports[name]) for name in ports}
    volumes = ["models", *(f"{name}-workspace" for name in ports)]
    file = running.root / "roles.yaml"
    file.write_text(json.dumps({"services": services, "volumes": {name: {} for name in volumes}}))
    arguments = ["--file", "compose.yaml", "--file", "compose.closed.yaml", "--file", file.name]
    yield arguments, ports
    running.compose(*arguments, "rm", "--stop", "--force", *ports)
    subprocess.run(["docker", "volume", "rm", *(f"{running.project}_{name}" for name in volumes)], check=False)
    file.unlink()


@pytest.fixture(scope="module")
def servers(running: Clone, overlay: tuple[list[str], dict[str, int]]) -> Servers:
    """An annotator at each, the trainer started first."""
    arguments, ports = overlay
    for name in ports:
        result = running.compose(*arguments, "up", "--detach", "--wait", "--no-deps", name)
        assert result.returncode == 0, result.stderr + running.compose(*arguments, "logs", name).stdout
        eventually(lambda name=name: answers(f"http://127.0.0.1:{ports[name]}/healthz"), 30, f"{name} answers")
    return {name: Annotator(f"http://127.0.0.1:{port}/{TOKEN}") for name, port in ports.items()}


@pytest.fixture(scope="module")
def weights(running: Clone, tmp_path_factory: pytest.TempPathFactory) -> list[bytes]:
    """Weights of one network, twice."""
    running.run_program(SERVER, MAKE_WEIGHTS, "a=3", "b=3")
    folder = tmp_path_factory.mktemp("weights")
    for name in ("a.pt", "b.pt"):
        assert running.compose("cp", f"{SERVER}:/workspace/{name}", str(folder / name)).returncode == 0
    running.run_in(SERVER, "rm", "/workspace/a.pt", "/workspace/b.pt")
    return [(folder / name).read_bytes() for name in ("a.pt", "b.pt")]


def put(server: Annotator, content: bytes) -> int:
    """The status."""
    address = f"{server.url}/model/deepgrow_2d"
    return requests.put(address, files={"file": ("deepgrow_2d.pt", content)}, timeout=60).status_code


def test_a_model_that_the_trainer_has_serves_at_the_other_without_a_restart(servers: Servers, ct: str, weights):
    masks = []
    for content in weights:
        assert put(servers[TRAINER], content) == 200
        masks.append([servers[name].click("deepgrow_2d", ct, POINT) for name in (ANNOTATING, TRAINER)])
        assert np.array_equal(*masks[-1])
    assert not np.array_equal(masks[0][0], masks[1][0]), "it was not the old one that went on serving"


def test_who_annotates_starts_no_training_and_could_not_write_a_model(
    servers: Servers, running: Clone, overlay: tuple[list[str], dict[str, int]], weights
):
    assert put(servers[ANNOTATING], weights[0]) == 421
    refused = requests.post(f"{servers[ANNOTATING].url}/train/deepgrow_2d", json={}, timeout=60)
    assert refused.status_code == 421 and "ROLE=train" in refused.json()["detail"]
    tried = running.compose(*overlay[0], "exec", "-T", ANNOTATING, "touch", "/models/x")
    assert tried.returncode != 0 and "Read-only" in tried.stderr


def test_the_log_is_lines_of_json_and_has_the_number_that_the_answer_names(
    servers: Servers, running: Clone, overlay: tuple[list[str], dict[str, int]]
):
    number = requests.get(f"{servers[ANNOTATING].url}/info/", timeout=60).headers["X-Request-ID"]

    def log() -> list[str]:
        said = running.compose(*overlay[0], "logs", "--no-log-prefix", ANNOTATING).stdout
        return said.replace("\x1b[2K", "").splitlines()  # Compose clears the line

    eventually(lambda: any(number in line for line in log()), 10, "the request has its line")
    lines = log()
    told = [json.loads(line) for line in lines if line.startswith("{")]
    assert [each["logger"] for each in told if each["request"] == number] == ["access"], lines[-20:]
    # MONAI prints a line for each network, and timeloop has a log of its own.
    served = next(place for place, line in enumerate(lines) if line.startswith("{"))
    assert [line for line in lines[served:] if line.startswith("[") and "[timeloop]" not in line] == []
