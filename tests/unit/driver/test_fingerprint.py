"""When the label server's image counts as current: its fingerprint, and who asks BuildKit all the same."""

import re
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from labelpod import render
from labelpod.config.settings import Settings
from labelpod.docker import tags
from labelpod.errors import DeployError
from labelpod.host import package_sources
from labelpod.images import base, build, fingerprint
from labelpod.project import Project
from tests.support.paths import ROOT

BASE = "sha256:base"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A folder with a file of each source, and with others."""
    names = ("build/start_server.sh", "build/label-server.Dockerfile", "labelpod_common/labels.py")
    names += ("images/label-server/label_server/main.py", "images/label-server/viewer/viewer.lock")
    for name in (*names, "images/orthanc/Dockerfile", "README.md"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    return tmp_path


def of(project: Path, base: str = BASE) -> str:
    return fingerprint.of(project, project / "build" / "label-server.Dockerfile", base)


CHANGES: dict[str, Callable[[Path], object]] = {
    "the Dockerfile": lambda root: (root / "build" / "label-server.Dockerfile").write_text("FROM other"),
    "the start script": lambda root: (root / "build" / "start_server.sh").write_text("exit"),
    "the labels": lambda root: (root / "labelpod_common" / "labels.py").write_text("other"),
    "a file": lambda root: (root / "images" / "label-server" / "label_server" / "main.py").write_text("other"),
    "the viewer's version": lambda root: (root / "images/label-server/viewer/viewer.lock").write_text("{}"),
    "a file's rights": lambda root: (root / "images" / "label-server" / "label_server" / "main.py").chmod(0o755),
    "a file's name": lambda root: (root / "images/label-server/label_server/main.py").rename(
        root / "images/label-server/moved.py"
    ),
    "a new file": lambda root: (root / "images" / "label-server" / "label_server" / "new.py").touch(),
}
NO_CHANGES: dict[str, Callable[[Path], object]] = {
    "another image": lambda root: (root / "images" / "orthanc" / "Dockerfile").write_text("FROM other"),
    "a document": lambda root: (root / "README.md").write_text("other"),
    "compiled Python": lambda root: (
        (root / "images" / "label-server" / "label_server" / "__pycache__").mkdir(),
        (root / "images" / "label-server" / "label_server" / "__pycache__" / "main.pyc").touch(),
    ),
}


@pytest.mark.parametrize("what", CHANGES)
def test_what_the_image_is_built_from_changes_its_fingerprint(project, what):
    (project / "images" / "label-server" / "label_server" / "main.py").chmod(0o644)
    before = of(project)
    CHANGES[what](project)
    assert of(project) != before


def test_another_base_image_changes_it(project):
    assert of(project) != of(project, "sha256:other")


@pytest.mark.parametrize("what", NO_CHANGES)
def test_what_does_not_go_into_the_image_does_not(project, what):
    before = of(project)
    NO_CHANGES[what](project)
    assert of(project) == before


def test_the_fingerprint_covers_all_the_dockerfile_takes():
    text = render.render(Settings(), ROOT / "templates")["label-server.Dockerfile"].replace("\\\n", " ")
    copies = [found for found in re.findall(r"^COPY (.*)", text, re.MULTILINE) if "--from=" not in found]
    copied = [re.sub(r"--\S+", "", found).split()[:-1] for found in copies]
    mounts = [
        dict(part.partition("=")[::2] for part in found.split(",")) for found in re.findall(r"--mount=(\S+)", text)
    ]
    mounted = [mount["source"] for mount in mounts if mount["type"] == "bind" and "from" not in mount]
    taken = [Path(name) for name in [name for names in copied for name in names] + mounted]
    assert len(taken) > 10 and Path("images/label-server/viewer/viewer.lock") in taken
    assert [name for name in taken if not any(name.is_relative_to(source) for source in fingerprint.SOURCES)] == []


def test_compiled_python_is_no_part_of_a_build_either():
    assert "**/__pycache__" in (ROOT / ".dockerignore").read_text().splitlines()


# --- who asks BuildKit ---


class Docker:
    """An engine with these images, by tag with their labels; `built` notes the labels of each build."""

    def __init__(self, **label_server: str) -> None:
        self.built: list[dict[str, str]] = []
        self._images = {tags.BASE_TAG: {}} | ({tags.LABEL_SERVER_TAG: label_server} if label_server else {})
        self.image = SimpleNamespace(
            exists=lambda tag: tag in self._images,
            inspect=lambda tag: SimpleNamespace(id=BASE, config=SimpleNamespace(labels=self._images[tag])),
            tag=lambda tag, other: self._images.update({other: self._images[tag]}),
        )
        self.buildx = SimpleNamespace(build=self._build)
        self.meanwhile: dict[str, str] | None = None

    def _build(self, *_: object, tags: str, labels: dict[str, str], **__: object) -> list[str]:
        self.built.append(labels)
        self._images[tags] = self.meanwhile or labels
        return []

    def runs(self, stack: str) -> dict[str, str]:
        """The labels of the image that a stack runs."""
        return self._images[f"labelpod/label-server:{stack}"]


@pytest.fixture
def ensure(project: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[dict[str, str]]]:
    """Ensure the images; the labels of what was built."""
    monkeypatch.setattr(render, "write", lambda *_: [])
    monkeypatch.setattr(render, "copy_mounted", lambda _: [])
    monkeypatch.setattr(base, "ensure", lambda *_: None)
    asked: list[str] = []
    monkeypatch.setattr(package_sources, "_output", lambda *command: asked.append(command[0]) or "")

    def run(docker: Docker, **options: bool) -> list[dict[str, str]]:
        build.ensure(docker, Settings(), Project(project), **options)
        assert bool(asked) == bool(docker.built), "pip and apt are asked for a build, and for nothing else"
        return docker.built

    return run


def test_an_image_with_this_fingerprint_is_current(project, ensure):
    assert ensure(Docker(**{fingerprint.LABEL: of(project)})) == []


@pytest.mark.parametrize("labels", [{}, {"other": "label"}, {fingerprint.LABEL: "other"}])
def test_a_missing_or_outdated_image_is_built_and_labelled(project, ensure, labels):
    assert ensure(Docker(**labels)) == [{fingerprint.LABEL: of(project)}]


def test_build_asks_buildkit_in_any_case(project, ensure):
    assert ensure(Docker(**{fingerprint.LABEL: of(project)}), ask_buildkit=True) == [{fingerprint.LABEL: of(project)}]


@pytest.mark.parametrize("umask", [0o027, 0o077])
def test_a_checkout_under_another_umask_needs_no_other_image(project, umask):
    before = of(project)
    for path in fingerprint.files(project):
        path.chmod(path.stat().st_mode & ~umask)
    assert of(project) == before


def test_a_stack_goes_on_with_its_own_image_when_another_checkout_builds(project, ensure, monkeypatch):
    docker = Docker()
    ensure(docker)
    first = docker.runs("labelpod")
    monkeypatch.setenv("COMPOSE_PROJECT_NAME", "second")
    (project / "images" / "label-server" / "more.py").write_text("other = 1\n")
    ensure(docker)
    assert docker.runs("labelpod") == first != docker.runs("second") and len(docker.built) == 2


def test_checkouts_with_the_same_inputs_build_once(ensure, monkeypatch):
    docker = Docker()
    ensure(docker)
    monkeypatch.setenv("COMPOSE_PROJECT_NAME", "second")
    ensure(docker)
    assert docker.runs("labelpod") == docker.runs("second") and len(docker.built) == 1


def test_an_image_that_another_checkout_builds_meanwhile_is_not_run(ensure):
    docker = Docker()
    docker.meanwhile = {fingerprint.LABEL: "theirs"}
    with pytest.raises(DeployError, match="another checkout"):
        ensure(docker)
