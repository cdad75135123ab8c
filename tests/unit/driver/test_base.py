"""The record of what the base images came from."""

import json
from types import SimpleNamespace

import pytest

from labelpod.config.settings import Settings
from labelpod.docker import tags
from labelpod.images import base
from labelpod.project import Project


@pytest.fixture
def project(tmp_path) -> Project:
    made = Project(tmp_path)
    made.build.mkdir()
    return made


@pytest.mark.parametrize("content", ["", "{", '{"labelpod/debian:bookworm": "deb', "[]", "null", "\x00\x01"])
def test_a_torn_record_is_made_again(project, monkeypatch, content):
    project.images_record.write_text(content)
    assert base.sources(project) == {}
    monkeypatch.setattr(base, "_make", lambda *_: "debian")
    docker = SimpleNamespace(image=SimpleNamespace(exists=lambda _: True))
    base._ensure(docker, "auto", project, tags.BASE_TAG, Settings().BASE_IMAGE)
    assert json.loads(project.images_record.read_text()) == {tags.BASE_TAG: "debian"}


def test_a_record_that_is_not_there_says_nothing(project):
    assert base.sources(project) == {}
