"""The benchmark runs from start to end, in sizes that say nothing about speed."""

import json
import subprocess
import sys
from pathlib import Path

from bench.measure import PARTS
from tests.support.paths import ROOT

# Upstream's viewer takes no heed of some clicks, which is not ours to test: that part is run by hand.
BY_HAND = {"viewer"}


def test_every_part_of_the_benchmark_runs_and_is_reported(engine: None, tmp_path: Path):
    parts = [part for part in PARTS if part not in BY_HAND]
    command = [sys.executable, "bench/run.py", "--smoke", "--output", str(tmp_path), *parts]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
    rows = json.loads((tmp_path / "benchmark.json").read_text())["rows"]
    assert {row["part"] for row in rows} == set(parts)
    assert all(row["ours"] > 0 and row["theirs"] > 0 for row in rows)
    written = (tmp_path / "benchmark.md").read_text()
    assert all(row["what"] in written for row in rows)
    assert ", 0 errors;" in written
    assert "voxel by voxel the same" in written and "NOT the same" not in written
    assert (tmp_path / "benchmark.png").read_bytes().startswith(b"\x89PNG")
