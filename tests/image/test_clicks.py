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


@pytest.mark.parametrize("name", NAMES)
def test_clicks(clone: Clone, name: str):
    said = run("start_server", "python", f"/programs/{name}.py", options=("-v", f"{PROGRAMS}:/programs:ro"))
    assert said.splitlines()[-1] == "done"


def test_every_program_is_run():
    helpers = {"deepgrow_tasks", "upstream_app"}
    assert {path.stem for path in PROGRAMS.glob("*.py")} - helpers == set(NAMES)
