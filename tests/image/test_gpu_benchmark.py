"""What is measured on a GPU runs in the image on the CPU, in tiny sizes: it is right when a GPU is there."""

import json

from tests.image.container import run
from tests.support.clone import Clone
from tests.support.paths import ROOT

# The driver's phantom is not in the image.
_MOUNTS = tuple(
    option for name in ("bench", "labelpod") for option in ("--volume", f"{ROOT / name}:/project/{name}:ro")
)
_PATH = ("--env", "PYTHONPATH=/project:/opt/labelpod")
_COMMAND = "python -m bench.gpu --tiny --output /tmp/gpu.json >&2; cat /tmp/gpu.json"


def test_every_part_of_what_is_measured_on_a_gpu_runs(clone: Clone):
    found = json.loads(run("start_server", "bash", "-c", _COMMAND, options=(*_MOUNTS, *_PATH)))
    assert found["problems"] == []
    assert found["machine"]["card"] == "no GPU" and found["machine"]["torch"].startswith("2.10.")
    measured = {figure["what"]: figure["value"] for figure in found["figures"]}
    for what in (
        "deepgrow_pipeline, first click",
        "two clicks at once, until both are answered",
        "deepgrow_3d, training, one epoch",
        "sam_3d, later clicks",
    ):
        assert measured[what] > 0, what
    # Here both are the CPU's.
    assert measured["deepgrow_pipeline, voxels that differ from the CPU's"] == 0
    assert measured["deepgrow_3d, network's answer, distance from the CPU's"] == 0
    assert measured["slices in the pipeline's mask"] > 0
    assert any("the click after it is answered" in each["sentence"] for each in found["findings"])
