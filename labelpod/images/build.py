"""Brings the images up to date: the bases, and the label server's own, which is built only if its inputs changed."""

from pathlib import Path

from python_on_whales import DockerClient

from labelpod import render
from labelpod.config.settings import Settings, compose_project
from labelpod.console import say
from labelpod.docker import tags
from labelpod.docker.tags import BASE_TAG, LABEL_SERVER_TAG
from labelpod.errors import DeployError
from labelpod.host import package_sources
from labelpod.images import base, buildkit, fingerprint
from labelpod.project import Project


def ensure(docker: DockerClient, settings: Settings, project: Project, ask_buildkit: bool = False) -> None:
    """The images of these settings exist and are up to date; a build resumes where it stopped.

    Args:
        docker: the engine.
        settings: what the images are made for.
        project: the folder with their sources.
        ask_buildkit: even if the label server's image says itself that it is up to date.

    Raises:
        DeployError: neither a registry nor Debian's packages could be used, a build failed, or another checkout's came
            between.

    """
    render.write(settings, project)
    render.copy_mounted(project)
    base.ensure(docker, settings, project)
    dockerfile = project.build / "label-server.Dockerfile"
    inputs = fingerprint.of(project.root, dockerfile, docker.image.inspect(BASE_TAG).id)
    mine = own(project)
    if not ask_buildkit and _label(docker, mine) == inputs:
        return
    if ask_buildkit or _label(docker, LABEL_SERVER_TAG) != inputs:
        _build(docker, project, dockerfile, inputs)
    docker.image.tag(LABEL_SERVER_TAG, mine)
    if _label(docker, mine) != inputs:
        raise DeployError("another checkout has built its image at the same time", "run the same command again")


def own(project: Project) -> str:
    """The tag that this stack runs the label server's image by."""
    return tags.own(LABEL_SERVER_TAG, compose_project(project.env_file))


def _build(docker: DockerClient, project: Project, dockerfile: Path, inputs: str) -> None:
    if ignored := package_sources.left_out():
        say(f"A build cannot see this machine's package folders: {', '.join(ignored)}; it does without them.")
    # Not in the Dockerfile, where another label would be another layer.
    buildkit.build(docker, project, LABEL_SERVER_TAG, dockerfile, "bookworm", {fingerprint.LABEL: inputs})


def _label(docker: DockerClient, tag: str) -> str:
    """The fingerprint that an image carries, "" if there is none."""
    if not docker.image.exists(tag):
        return ""
    return (docker.image.inspect(tag).config.labels or {}).get(fingerprint.LABEL, "")
