"""The benchmark runs from start to end, in sizes that say nothing about speed."""

import json
import subprocess
import sys
from pathlib import Path

from bench.measure import PARTS
from bench.report import Row, row, table
from tests.support.paths import ROOT


def test_every_part_of_the_benchmark_runs_and_is_reported(engine: None, tmp_path: Path):
    command = [sys.executable, "bench/run.py", "--smoke", "--output", str(tmp_path)]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
    rows = json.loads((tmp_path / "benchmark.json").read_text())
    assert {row["part"] for row in rows} == set(PARTS)
    assert all(row["ours"] > 0 and row["theirs"] > 0 for row in rows)
    written = (tmp_path / "benchmark.md").read_text()
    assert all(row["what"] in written for row in rows)
    assert "voxel by voxel the same" in written and "NOT the same" not in written
    assert (tmp_path / "benchmark.png").read_bytes().startswith(b"\x89PNG")


def test_a_target_that_was_missed_is_said():
    rows = [row("fast", [1.0, 3.0, 2.0], [4.0], "s", 0.5), Row("slow", 3, 2, "s", 1, note="why")]
    lines = table(rows, ["the weather"]).splitlines()
    assert "| fast | 2 s | 4 s | 0.5 | 0.5 | yes |" in lines and "| slow | 3 s | 2 s | 1.5 | 1 | **no** |" in lines
    assert lines[-2:] == ["- slow: why", "- Not measured: the weather"]
