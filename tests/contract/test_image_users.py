"""Who runs what is in the images: a number, which is the same in each build and which others can compare."""

import re
from pathlib import Path

import pytest

from labelpod import render
from labelpod.config.settings import Settings
from tests.support.paths import ROOT

FILES = {path.parent.name: path.read_text() for path in sorted((ROOT / "images").glob("*/Dockerfile"))}
TEXTS = FILES | {"label-server": render.render(Settings(), Path(ROOT, "templates"))["label-server.Dockerfile"]}


@pytest.mark.parametrize("image", TEXTS)
def test_the_user_of_an_image_is_a_number_and_not_root(image: str):
    found = re.findall(r"^USER (.*)$", TEXTS[image], re.MULTILINE)
    assert found and all(re.fullmatch(r"[1-9]\d*:[1-9]\d*", each) for each in found)


@pytest.mark.parametrize("image", TEXTS)
def test_a_user_that_an_image_makes_for_its_program_has_this_number(image: str):
    user, group = re.findall(r"^USER (\d+):(\d+)$", TEXTS[image], re.MULTILINE)[-1]
    made = [words for words in re.findall(r"useradd (.*)", TEXTS[image]) if "watchdog" not in words]
    assert all(f"--uid {user} " in words for words in made)
    assert made or (image, user) in {("prometheus", "65534"), ("door", "99")}, "these need no name"
    assert not made or f"--gid {group} " in TEXTS[image]
