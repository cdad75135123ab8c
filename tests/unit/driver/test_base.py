"""The record of what the base images came from."""

import json
from types import SimpleNamespace
from typing import Any

import pytest
from python_on_whales.exceptions import DockerException

from labelpod import render
from labelpod.config.settings import Settings
from labelpod.docker import tags
from labelpod.errors import DeployError
from labelpod.images import base, build, digests, fingerprint
from labelpod.project import Project
from tests.support.paths import ROOT


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


# --- without a network ---


class Offline:
    """An engine that has all images and reaches nothing; what it is asked beyond that is noted."""

    def __init__(self, labels: dict[str, str]) -> None:
        self.labels, self.asked = labels, []
        self.image: Any = self
        self.buildx: Any = self

    def exists(self, tag: str) -> bool:
        return True

    def inspect(self, tag: str) -> SimpleNamespace:
        return SimpleNamespace(id="sha256:1", config=SimpleNamespace(labels=self.labels))

    def tag(self, tag: str, other: str) -> None:
        """It costs nothing."""

    def pull(self, name: str, quiet: bool) -> None:
        self.asked.append(f"pull {name}")
        raise DockerException(["docker", "pull"], 1, b"", b"dial tcp: no route to host")

    def build(self, *_: object, **__: object) -> None:
        self.asked.append("build")
        raise DockerException(["docker", "build"], 1, b"", b"no route to host")


@pytest.fixture
def offline(tmp_path, monkeypatch) -> tuple[Offline, Project]:
    """Images that were made with a network and the default settings, and an engine that has none any more."""
    for name in ("templates", "images", "labelpod_common", "docs"):
        (tmp_path / name).symlink_to(ROOT / name)
    project = Project(tmp_path)
    render.write(Settings(), project)
    inputs = fingerprint.of(project.root, project.build / "label-server.Dockerfile", "sha256:1")
    names = {tags.BASE_TAG: "BASE_IMAGE", tags.ORTHANC_TAG: "ORTHANC_IMAGE", tags.DOOR_TAG: "DOOR_IMAGE"}
    project.images_record.write_text(json.dumps({tag: getattr(Settings(), name) for tag, name in names.items()}))
    monkeypatch.setattr(base, "_bootstrap", _no_network)
    return Offline({fingerprint.LABEL: inputs}), project


def _no_network(*_: object) -> None:
    raise DeployError("mmdebstrap: no route to host", "check the network")


CHANGED = [name for name in Settings.model_fields if name.endswith(("_PORT", "_ADDRESS", "_MEMORY", "_CPUS"))]
CHANGED += ["LABEL_SERVER_TOKEN", "ORTHANC_PASSWORD", "WEIGHTS_WAIT", "STUDIES_WAIT", "ORTHANC_EXPLORER", "MAX_BODY_MB"]
VALUES = {"_ADDRESS": "10.0.0.7", "_MEMORY": "7g", "_CPUS": "3", "TOKEN": "u" * 32, "EXPLORER": "false"}


@pytest.mark.parametrize("name", CHANGED)
def test_with_the_images_there_a_changed_setting_needs_no_build_and_no_source(offline, name):
    engine, project = offline
    value = next((value for ending, value in VALUES.items() if name.endswith(ending)), "77")
    build.ensure(engine, Settings.model_validate({name: value}), project)
    assert engine.asked == []


@pytest.mark.parametrize("source", ["auto", "debian"])
def test_a_lost_record_without_a_network_keeps_the_images_that_are_there(offline, source, capsys):
    engine, project = offline
    project.images_record.unlink()
    build.ensure(engine, Settings(IMAGE_SOURCE=source), project)
    assert capsys.readouterr().err.count("the one that is there is used") == 2
    assert not project.images_record.exists(), "it is made again when there is a network"


def test_who_asks_for_the_registry_gets_no_image_of_unknown_origin(offline):
    engine, project = offline
    project.images_record.unlink()
    with pytest.raises(DeployError, match="cannot be pulled"):
        build.ensure(engine, Settings(IMAGE_SOURCE="registry"), project)


def test_another_image_that_the_settings_name_is_not_replaced_by_the_old_one(offline):
    engine, project = offline
    with pytest.raises(DeployError, match="cannot be pulled"):
        build.ensure(engine, Settings(IMAGE_SOURCE="registry", ORTHANC_IMAGE="other/orthanc:2"), project)


def test_a_name_that_stands_for_another_image_stops_even_without_a_record(offline, monkeypatch):
    engine, project = offline
    project.images_record.unlink()

    def other(*_: object) -> str:
        raise digests.OtherImageError("another image", "look")

    monkeypatch.setattr(base, "_make", other)
    with pytest.raises(DeployError, match="another image"):
        build.ensure(engine, Settings(), project)


def test_a_stack_goes_on_with_its_own_orthanc_when_another_checkout_pulls(project, tmp_path, monkeypatch):
    there: dict[str, str] = {}

    def make(_docker: object, _source: str, place: Project, tag: str, name: str) -> str:
        there[tag] = f"of {place.root.name}"
        return name

    monkeypatch.setattr(base, "_make", make)
    docker = SimpleNamespace(
        image=SimpleNamespace(
            exists=there.__contains__,
            tag=lambda tag, other: there.update({other: there[tag]}),
            inspect=lambda tag: SimpleNamespace(id=there[tag]),
        )
    )
    other = Project(tmp_path / "other")
    other.build.mkdir(parents=True)
    (other.env_file).write_text("COMPOSE_PROJECT_NAME=other\n")
    monkeypatch.setattr(base, "_debian", lambda *_: "debian")
    for place in (project, other, project):
        base._ensure(docker, "registry", place, tags.ORTHANC_TAG, NAME)
    assert there["labelpod/orthanc:labelpod"] == f"of {tmp_path.name}" and there["labelpod/orthanc:other"] == "of other"


# --- a tag that all checkouts share ---

OWN = "labelpod/orthanc:labelpod"


class Shared:
    """An engine whose shared tag two checkouts make, each its own image; `there`: name or id -> id."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.there: dict[str, str] = {}
        self.made = 0
        self.image: Any = self
        monkeypatch.setattr(base, "_make", self._make)
        monkeypatch.setattr(base, "_debian", lambda *_: "debian")

    def exists(self, name: str) -> bool:
        return name in self.there

    def inspect(self, name: str) -> SimpleNamespace:
        return SimpleNamespace(id=self.there[name])

    def tag(self, name: str, tag: str) -> None:
        self.there[tag] = self.there[name]

    def _make(self, *words: Any) -> str:
        self.made += 1
        self.there |= dict.fromkeys((tags.ORTHANC_TAG, f"sha256:{self.made}"), f"sha256:{self.made}")
        return str(words[4])

    def ensure(self, project: Project, name: str = NAME) -> None:
        base._ensure(self, "registry", project, tags.ORTHANC_TAG, name)


@pytest.fixture
def other(tmp_path) -> Project:
    """Another checkout, whose images come from elsewhere."""
    made = Project(tmp_path / "other")
    made.build.mkdir(parents=True)
    made.env_file.write_text("COMPOSE_PROJECT_NAME=other\n")
    return made


@pytest.mark.parametrize("pruned", [False, True])
def test_another_checkouts_image_is_not_taken_for_the_own_one_that_is_gone(project, other, monkeypatch, pruned: bool):
    engine = Shared(monkeypatch)
    engine.ensure(project)
    engine.ensure(other, "elsewhere/orthanc:2")
    del engine.there[OWN]
    if pruned:
        del engine.there["sha256:1"]
    engine.ensure(project)
    assert engine.there[OWN] == ("sha256:3" if pruned else "sha256:1")
    assert engine.there[tags.ORTHANC_TAG] == engine.there[OWN], "what is said of the image is said of this one"
    assert engine.there["labelpod/orthanc:other"] == "sha256:2"


def test_the_own_image_that_the_shared_tag_still_names_is_not_made_again(project, monkeypatch):
    engine = Shared(monkeypatch)
    engine.ensure(project)
    del engine.there[OWN]
    engine.ensure(project)
    assert engine.there[OWN] == "sha256:1" and engine.made == 1
    assert base.sources(project)[tags.ORTHANC_TAG] == NAME


def test_a_record_of_before_there_were_ids_is_believed_and_completed(project, other, monkeypatch):
    engine = Shared(monkeypatch)
    engine.ensure(project)
    project.images_record.write_text(json.dumps({tags.ORTHANC_TAG: NAME}))
    del engine.there[OWN]
    engine.ensure(project)
    engine.ensure(other, "elsewhere/orthanc:2")
    del engine.there[OWN]
    engine.ensure(project)
    assert engine.there[OWN] == "sha256:1" and engine.made == 2


@pytest.mark.parametrize(("name", "made"), [("", False), ("prom/prometheus:v3", True)], ids=["unset", "set"])
def test_the_image_of_prometheus_is_made_where_the_setting_names_one(project, monkeypatch, name: str, made: bool):
    asked: list[str] = []
    monkeypatch.setattr(base, "_ensure", lambda docker, source, project, tag, name: asked.append(tag))
    settings = Settings(PROMETHEUS_IMAGE=name)
    base.ensure(SimpleNamespace(), settings, project)
    assert (tags.PROMETHEUS_TAG in asked) == (tags.PROMETHEUS_TAG in tags.service_tags(settings)) == made
