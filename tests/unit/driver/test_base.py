"""The record of what the base images came from."""

import json
from types import SimpleNamespace
from typing import Any

import pytest

from labelpod.config.settings import Settings
from labelpod.docker import tags
from labelpod.errors import DeployError
from labelpod.images import base, digests
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


# --- a name in a registry stands for one image ---

NAME = "registry.example/orthanc:1"
FIRST, OTHER = (f"sha256:{letter * 64}" for letter in "ab")


class Registry:
    """An engine that pulls what the registry has under a name."""

    def __init__(self, digest: str) -> None:
        self.digest = digest
        self.tagged: list[str] = []
        self.image: Any = self

    def exists(self, tag: str) -> bool:
        return tag in self.tagged

    def pull(self, name: str, quiet: bool) -> None:
        pass

    def inspect(self, name: str) -> SimpleNamespace:
        return SimpleNamespace(repo_digests=["elsewhere@sha256:0", f"registry.example/orthanc@{self.digest}"])

    def tag(self, name: str, tag: str) -> None:
        self.tagged.append(tag)


def pulled(project: Project, digest: str, source: str = "registry") -> Registry:
    registry = Registry(digest)
    base._ensure(registry, source, project, tags.BASE_TAG, NAME)
    return registry


def test_the_digest_of_the_first_pull_is_recorded(project):
    assert pulled(project, FIRST).tagged == [tags.BASE_TAG]
    assert json.loads(project.digests_record.read_text()) == {NAME: FIRST}
    assert pulled(project, FIRST).tagged == [tags.BASE_TAG]


@pytest.mark.parametrize("source", ["registry", "auto"])
def test_a_name_that_stands_for_another_image_than_before_is_refused(project, source: str):
    pulled(project, FIRST)
    project.images_record.unlink()  # as after another setting, or a prune
    with pytest.raises(DeployError, match="another image than it was") as refused:
        pulled(project, OTHER, source)
    assert OTHER in refused.value.message and FIRST in refused.value.remedy
    assert "digests.json" in refused.value.remedy and not project.images_record.exists()
    assert json.loads(project.digests_record.read_text()) == {NAME: FIRST}


@pytest.mark.parametrize("content", ["", "{", "[1]", "null"])
def test_what_is_trusted_is_not_forgotten_if_its_record_is_torn(project, content: str):
    project.digests_record.write_text(content)
    with pytest.raises(DeployError, match="cannot be read"):
        digests.check(project, NAME, FIRST)
    assert project.digests_record.read_text() == content
