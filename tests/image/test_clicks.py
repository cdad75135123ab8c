"""Clicks give what upstream's DeepGrow gives, and do no work twice: programs/ has what runs in the image."""

from pathlib import Path

import pytest

from tests.image.container import run
from tests.support.clone import Clone

PROGRAMS = Path(__file__).with_name("programs")
NAMES = (
    "same_file",
    "byte_a_voxel",
    "other_images",
    "unknown_format",
    "read_once",
    "ahead",
    "beside",
    "loaders",
    "turned",
)


@pytest.fixture(scope="module")
def said(clone: Clone) -> str:
    """What they say, one after the other in one container."""
    return run("start_server", "python", "/programs/all.py", *NAMES, options=("-v", f"{PROGRAMS}:/programs:ro"))


@pytest.mark.parametrize("name", NAMES)
def test_clicks(said: str, name: str):
    assert f"done\n{name}: done\n" in said, said


def test_every_program_is_run():
    helpers = {"all", "deepgrow_tasks", "upstream_app"}
    assert {path.stem for path in PROGRAMS.glob("*.py")} - helpers == set(NAMES)
