"""What the benchmark's report says of its figures."""

import json
from pathlib import Path

from bench import report
from bench.gpu_results import Results, section
from bench.report import Row, row, table

_MACHINE = {
    "card": "NVIDIA A card",
    "memory": "24.0 GiB",
    "driver": "580.1",
    "torch": "2.11.0",
    "cuda": "13.0",
    "cudnn": "91900",
    "python": "3.12.3",
    "cores": "16",
}
_ROWS = [row("fast", [1.0, 3.0, 2.0], [4.0], "s", 0.5), Row("slow", 3, 2, "s", 1, note="why")]


def found(folder: Path) -> Path:
    """Of three runs into the same file, the last of which failed."""
    file = folder / "gpu.json"
    plain = Results(file, "GPU")
    plain.machine(_MACHINE)
    plain.figure("deepgrow_3d, first click", 0.51234, "s")
    plain.figure("deepgrow_3d, first click", 4.2, "s", "CPU of that machine")
    plain.figure("deepgrow_3d, clicks, memory of the card", 6543.2, "MB")
    plain.finding("a click without enough memory is answered 503")
    plain.libraries(["libcudart.so.13", "libcudnn_ops.so.9"])
    plain.libraries(["libcudnn_graph.so.9"])
    plain.write()
    held = Results(file, "held to 12 GB")
    held.figure("deepgrow_3d, first click", 0.6, "s")
    held.write()
    hidden = Results(file, "without triton")
    hidden.problem("clicks", "ImportError: no triton")
    hidden.write()
    return file


def test_a_target_that_was_missed_is_said():
    lines = table(_ROWS, ["the weather"], "2026-11-27").splitlines()
    assert lines[0].startswith("Medians, measured on 2026-11-27 with ")
    assert "| fast | 2 s | 4 s | 0.5 | 0.5 | yes |" in lines and "| slow | 3 s | 2 s | 1.5 | 1 | **no** |" in lines
    assert lines[-2:] == ["- slow: why", "- Not measured: the weather"]


def test_a_gpus_figures_stand_side_by_side_with_the_card_and_the_versions(tmp_path):
    lines = section(json.loads(found(tmp_path).read_text())).splitlines()
    assert lines[0] == "## On a GPU"
    assert "with NVIDIA A card, 24.0 GiB, driver 580.1, torch 2.11.0 with CUDA 13.0, Python 3.12.3" in lines[2]
    assert "The image pins torch 2.10 with CUDA 12.8." in lines[2]
    assert "| what | GPU | CPU of that machine | held to 12 GB |" in lines
    assert "| deepgrow_3d, first click | 0.512 s | 4.2 s | 0.6 s |" in lines
    assert "| deepgrow_3d, clicks, memory of the card | 6543 MB |  |  |" in lines
    assert "- GPU: a click without enough memory is answered 503" in lines
    assert "- GPU: loaded of cuDNN: graph, ops" in lines
    assert lines[-1] == "- Not measured: clicks (without triton): ImportError: no triton"


def test_where_there_was_no_gpu_the_report_says_so(tmp_path):
    report.write(_ROWS, [], tmp_path)
    assert "- Not measured: anything on a GPU" in (tmp_path / "benchmark.md").read_text()
    assert report.read(tmp_path) == _ROWS


def test_what_was_measured_on_a_gpu_stays_when_the_rest_is_measured_again(tmp_path):
    report.write(_ROWS, [], tmp_path)
    report.take_up(found(tmp_path), [], tmp_path)
    taken_up = (tmp_path / "benchmark.md").read_text()
    assert "## On a GPU" in taken_up and "anything on a GPU" not in taken_up
    assert report.read(tmp_path) == _ROWS
    report.write(_ROWS, [], tmp_path)
    assert (tmp_path / "benchmark.md").read_text() == taken_up
    assert json.loads((tmp_path / "benchmark.json").read_text())["gpu"]["machine"]["card"] == "NVIDIA A card"
