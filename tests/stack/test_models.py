"""Models as files, on the running stack and on a stopped one: a restore starts from different content."""

import hashlib
import io
import json
import pickle
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zstandard

from labelpod.config.settings import MODELS
from tests.support.annotator import Annotator
from tests.support.clone import Clone

SERVER = "label-server"
FOLDER = "/workspace/radiology/model"
POINT = [181, 285, 25]

PROGRAMS = Path(__file__).with_name("programs")
MAKE_WEIGHTS = PROGRAMS / "make_weights.py"


class Code:
    """Would run a command, if it were unpickled without care."""

    def __reduce__(self) -> tuple[Any, ...]:
        return eval, ("open('/workspace/pwned', 'w')",)


def shell(stack: Clone, words: str) -> str:
    """Run a command on the volume, whether the label server runs or not."""
    result = stack.compose("run", "--rm", "-T", "--no-deps", "--entrypoint", "sh", SERVER, "-c", words)
    assert result.returncode == 0, result.stderr
    return result.stdout


def serve(stack: Clone, name: str) -> None:
    """Let these weights serve deepgrow_2d, as a training would."""
    shell(stack, f"cp /workspace/{name}.pt {FOLDER}/draft && mv {FOLDER}/draft {FOLDER}/deepgrow_2d.pt")


def checksum(stack: Clone, file: str) -> str:
    return shell(stack, f"sha256sum {file}").split()[0]


def files(stack: Clone) -> str:
    """All files beside the models, with what is in them."""
    return shell(stack, f"cd {FOLDER} && find . -maxdepth 2 -type f | sort | xargs -r sha256sum; ls -A")


def listed(stack: Clone) -> list[dict[str, Any]]:
    return json.loads(stack.done("models", "list", "--json"))


def started(stack: Clone) -> str:
    return stack.run_in(SERVER, "ps", "-o", "lstart=", "-p", "1")


@pytest.fixture(scope="module")
def weights(running: Clone) -> Iterator[None]:
    """Weights a and b of one network."""
    running.run_program(SERVER, MAKE_WEIGHTS, "a=3", "b=3")
    yield
    shell(running, f"rm -rf /workspace/*.pt {FOLDER}/deepgrow_2d.pt* {FOLDER}/imported.json")


@pytest.fixture(scope="module")
def archive(running: Clone, weights: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An archive of all models, of which one has weights: a. Made on the running stack."""
    serve(running, "a")
    path = tmp_path_factory.mktemp("archive") / "models.tar.zst"
    result = running.cli("models", "export", "--all", str(path))
    assert result.returncode == 0 and "left out: deepgrow_3d: untrained" in result.stderr, result.stderr
    return path


def members(archive: Path) -> dict[str, bytes]:
    """An archive's files, manifest first."""
    plain = zstandard.ZstdDecompressor().stream_reader(io.BytesIO(archive.read_bytes())).read()
    with tarfile.open(fileobj=io.BytesIO(plain)) as tar:
        return {name: tar.extractfile(name).read() for name in tar.getnames()}


def packed(path: Path, manifest: dict[str, Any], **contents: bytes) -> Path:
    """An archive with this manifest and these models."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for name, content in {"manifest.json": json.dumps(manifest).encode(), **contents}.items():
            info = tarfile.TarInfo(name if name == "manifest.json" else f"{name}.pt")
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    path.write_bytes(zstandard.compress(out.getvalue()))
    return path


def entry(like: dict[str, Any], name: str, content: bytes) -> dict[str, Any]:
    """A model in a manifest."""
    return like | {"name": name, "size": len(content), "sha256": hashlib.sha256(content).hexdigest()}


def test_the_manifest_says_what_is_in_it_and_nothing_of_the_machine(stack: Clone, archive: Path):
    names = list(members(archive))
    manifest = json.loads(members(archive)["manifest.json"])
    assert names == ["manifest.json", "deepgrow_2d.pt"]
    assert set(manifest) == {"format", "made", "versions", "labels", "models"}
    assert set(manifest["versions"]) == {"labelpod", "monailabel", "monai", "torch"}
    assert manifest["labels"][1] == {"name": "nodule2", "value": 2, "class_id": 1}
    (model,) = manifest["models"]
    assert model["sha256"] == checksum(stack, "/workspace/a.pt") and model["labels"] is None
    assert model["origin"] == dict.fromkeys(("run", "dice", "studies", "epochs")) | {"weights": "trained"}


def test_a_model_is_restored_over_another_and_serves_without_a_restart(
    stack: Clone, annotator: Annotator, ct: str, archive: Path, tmp_path: Path
):
    serve(stack, "a")
    of_a = annotator.click("deepgrow_2d", ct, POINT)
    stack.compose("stop", SERVER)
    serve(stack, "b")
    # Other labels, too, whose number does not matter to a click model.
    stack.environment["LABELS"] = "left:1,right:2"
    try:
        stack.compose("up", "--detach", "--wait")
        of_b, since = annotator.click("deepgrow_2d", ct, POINT), started(stack)
        said = stack.done("models", "import", str(archive))
        restored = annotator.click("deepgrow_2d", ct, POINT)
        assert started(stack) == since
    finally:
        del stack.environment["LABELS"]
    assert np.array_equal(restored, of_a) and not np.array_equal(restored, of_b)
    kept = said.split("kept as ")[1].strip()
    assert checksum(stack, f"{FOLDER}/{kept}") == checksum(stack, "/workspace/b.pt")


def test_models_work_on_a_stopped_stack(stack: Clone, archive: Path, tmp_path: Path):
    stack.compose("stop", SERVER)
    shell(stack, f"rm -f {FOLDER}/imported.json")
    serve(stack, "b")
    of_b, other = checksum(stack, "/workspace/b.pt"), tmp_path / "b.tar.zst"
    assert [(row["weights"], row["run"], row["sha256"]) for row in listed(stack)] == [
        ("trained", None, of_b),
        ("untrained", None, None),
    ]
    stack.done("models", "export", "deepgrow_2d", str(other))
    assert hashlib.sha256(members(other)["deepgrow_2d.pt"]).hexdigest() == of_b
    assert "deepgrow_2d: imported" in stack.done("models", "import", str(archive))
    assert "deepgrow_2d: unchanged" in stack.done("models", "import", str(archive))
    row = listed(stack)[0]
    assert row["sha256"] == checksum(stack, "/workspace/a.pt") and row["imported"]
    verdict = json.loads(stack.done("models", "verify", "--json"))
    assert verdict == {"ok": True, "models": ["deepgrow_2d"], "problems": []}


def test_where_one_model_is_of_another_network_none_is_replaced(stack: Clone, archive: Path, tmp_path: Path):
    good = members(archive)
    manifest = json.loads(good["manifest.json"])
    (model,) = manifest["models"]
    other = good["deepgrow_2d.pt"]  # whole, sound, and of another model
    both = manifest | {"models": [model, entry(model, "deepgrow_3d", other)]}
    bad = packed(tmp_path / "bad.tar.zst", both, deepgrow_2d=other, deepgrow_3d=other)
    serve(stack, "b")
    before = files(stack)
    result = stack.cli("models", "import", str(bad))
    assert result.returncode == 1
    assert "bad.tar.zst is not imported: deepgrow_3d: it is of another network: " in result.stderr
    assert files(stack) == before


def test_damaged_and_hostile_archives_change_nothing(stack: Clone, archive: Path, tmp_path: Path):
    good = members(archive)
    manifest, content = json.loads(good["manifest.json"]), good["deepgrow_2d.pt"]
    serve(stack, "b")
    before = files(stack)
    bad = tmp_path / "bad.tar.zst"

    def refusal() -> str:
        result = stack.cli("models", "import", str(bad))
        assert result.returncode == 1
        return result.stderr

    bad.write_bytes(archive.read_bytes()[:-1000])
    assert "bad.tar.zst ends in the middle" in refusal()
    bad.write_bytes(zstandard.compress(zstandard.decompress(archive.read_bytes(), 2**27)[:-20_000]))
    assert "is not imported: it ends in the middle" in refusal()
    packed(bad, manifest, **{"../../main": content})
    assert "'../../main.pt' is not in its manifest" in refusal()
    assert files(stack) == before


def test_every_network_is_known_and_other_labels_and_code_are_refused(stack: Clone, archive: Path, tmp_path: Path):
    """In a server of all models, as nothing else here needs one."""
    code = pickle.dumps(Code())
    manifest = json.loads(members(archive)["manifest.json"])
    first = entry(manifest["models"][0], "segmentation", b"x") | {"labels": {"a": 1, "b": 2, "c": 3}}
    both = manifest | {"models": [first, entry(manifest["models"][0], "deepgrow_3d", code)]}
    bad = packed(tmp_path / "bad.tar.zst", both, segmentation=b"x", deepgrow_3d=code)
    settings = ("-v", f"{PROGRAMS}:/programs:ro", "-e", f"MODELS={','.join(MODELS)}", "-e", "CONF=labels=a,b")
    command = ("start_server", "python", "/programs/import_into_all.py")
    shell(stack, f"touch {FOLDER}/pretrained_segmentation.pt")  # upstream removes it where the labels are others
    result = subprocess.run(
        ["docker", "compose", "run", "--rm", "-T", "--no-deps", *settings, SERVER, *command],
        cwd=stack.root,
        env=stack.variables(),
        input=zstandard.decompress(bad.read_bytes(), 2**20),
        capture_output=True,
        check=False,
    )
    words = result.stderr.decode()
    labels = dict(line.split()[1:] for line in words.splitlines() if line.startswith("network: "))
    assert set(labels) == set(MODELS) - {"sam2"}, words
    assert (labels["deepgrow_2d"], labels["segmentation"], labels["deepedit"]) == ("0", "2", "7")
    assert "archive: segmentation: it was trained on 3 labels, and has 2 on this server" in words
    assert "; deepgrow_3d: it is not a checkpoint that holds only weights" in words and result.returncode == 1
    assert shell(stack, f"ls /workspace/pwned || rm {FOLDER}/pretrained_segmentation.pt && echo none") == "none\n"
