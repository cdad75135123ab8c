"""The benchmark runs from start to end, in sizes that say nothing about speed."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from bench.measure import PARTS
from tests.support.paths import ROOT


@pytest.mark.skipif(not shutil.which("chromium"), reason="chromium is not installed: apt-get install it")
def test_every_part_of_the_benchmark_runs_and_is_reported(engine: None, tmp_path: Path):
    command = [sys.executable, "bench/run.py", "--smoke", "--output", str(tmp_path)]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
    rows = json.loads((tmp_path / "benchmark.json").read_text())["rows"]
    assert {row["part"] for row in rows} == set(PARTS)
    assert all(row["ours"] > 0 and row["theirs"] > 0 for row in rows)
    written = (tmp_path / "benchmark.md").read_text()
    assert all(row["what"] in written for row in rows)
    assert "voxel by voxel the same" in written and "NOT the same" not in written
    assert (tmp_path / "benchmark.png").read_bytes().startswith(b"\x89PNG")
