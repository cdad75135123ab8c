"""The code itself: style, types, length."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
LONGEST = 500
POD = ROOT / "images" / "label-server" / "pod"
HEALTHY = ROOT / "images" / "label-server" / "healthy"
POSTGRES = ROOT / "images" / "postgres" / "start"
CI = ROOT / ".ci" / "run"
GPU = ROOT / "bench" / "gpu.sh"
CONTROL_PLANE = ROOT / "tests" / "kubernetes" / "control_plane.sh"


def check(*command: str) -> None:
    environment = {**os.environ, "NO_COLOR": "1"}
    result = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert result.returncode == 0, f"$ {' '.join(command)}\n{result.stdout}{result.stderr}"


def test_ruff_finds_nothing():
    check(sys.executable, "-m", "ruff", "check")


def test_ruff_would_format_nothing():
    check(sys.executable, "-m", "ruff", "format", "--check")


def test_the_types_are_right():
    check(sys.executable, "-m", "mypy")


@pytest.mark.skipif(
    not shutil.which("git") or not (ROOT / ".git").exists(), reason="no git checkout: the project's files are unknown"
)
def test_no_file_is_too_long_to_be_read_at_one_go():
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    files = [ROOT / name for name in listed.split("\0") if name and not name.endswith((".lock", ".png", "LICENSE"))]
    lines = {path: len(path.read_bytes().splitlines()) for path in files if path.is_file()}
    assert {str(path.relative_to(ROOT)): count for path, count in lines.items() if count > LONGEST} == {}


@pytest.mark.skipif(not shutil.which("shellcheck"), reason="shellcheck is not installed: apt-get install shellcheck")
@pytest.mark.skipif(not CI.exists(), reason="there is no .ci/run")
@pytest.mark.parametrize(
    "script",
    [CI, POD / "start_pod", POD / "dicomweb_login", POD / "tunnel_lease", HEALTHY, POSTGRES, GPU, CONTROL_PLANE],
    ids=lambda script: script.name,
)
def test_scripts_are_clean_under_shellcheck(script: Path):
    check("shellcheck", str(script))
