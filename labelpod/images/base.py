"""Gets or makes the base images: from a registry, or from Debian's packages."""

import hashlib
import json
import shutil
import tempfile
from pathlib import Path

from python_on_whales import DockerClient
from python_on_whales.exceptions import DockerException

from labelpod import files, process
from labelpod.config.settings import Settings, compose_project
from labelpod.console import progress, say
from labelpod.docker import tags
from labelpod.docker.client import explained
from labelpod.docker.tags import BASE_TAG, DOOR_TAG, ORTHANC_TAG, POSTGRES_TAG, PROMETHEUS_TAG, TRIXIE_TAG
from labelpod.errors import DeployError
from labelpod.host import apt, package_sources
from labelpod.images import buildkit, digests
from labelpod.project import Project

# What is made of packages in a Debian of its own: its folder, and the files that the image depends on.
_RECIPES = {
    ORTHANC_TAG: ("orthanc", ("Dockerfile", "tls.c")),
    POSTGRES_TAG: ("postgres", ("Dockerfile", "start")),
    PROMETHEUS_TAG: ("prometheus", ("Dockerfile",)),
    DOOR_TAG: ("door", ("Dockerfile",)),
}


def ensure(docker: DockerClient, settings: Settings, project: Project) -> None:
    """The label server's base, Orthanc and what else the settings name are there and up to date.

    Raises:
        DeployError: neither a registry nor Debian's packages could be used, a build failed, or a name in the registry
            stands for another image than before.

    """
    names = {BASE_TAG: settings.BASE_IMAGE, ORTHANC_TAG: settings.ORTHANC_IMAGE}
    if settings.postgres:
        names[POSTGRES_TAG] = settings.POSTGRES_IMAGE
    if settings.monitoring:
        names[PROMETHEUS_TAG] = settings.PROMETHEUS_IMAGE
    if settings.door:
        names[DOOR_TAG] = settings.DOOR_IMAGE
    for tag, name in names.items():
        _ensure(docker, settings.IMAGE_SOURCE, project, tag, name)


def own(project: Project, tag: str) -> str:
    """The tag that this stack runs an image by; what others are made of is one for all stacks."""
    return tags.own(tag, compose_project(project.env_file)) if tag in _RECIPES else tag


def sources(project: Project) -> dict[str, str]:
    """What each base image came from, by its tag, and beside it the id of the stack's own.

    What a broken record says is made again.
    """
    try:
        return dict(json.loads(project.images_record.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return {}


def _ensure(docker: DockerClient, source: str, project: Project, tag: str, name: str) -> None:
    """One image under its local tag, from where IMAGE_SOURCE says."""
    record, debian = sources(project), _debian(project, tag)
    accepted = {"registry": [name], "debian": [debian], "auto": [name, debian]}[source]
    mine, known, identity = own(project, tag), record.get(tag) in accepted, f"{tag}, id"
    if known and docker.image.exists(mine):
        return
    if not (known and _is_there(docker, tag, record.get(identity, ""))):
        try:
            record[tag] = _make(docker, source, project, tag, name)
        except digests.OtherImageError:
            raise
        except DeployError as error:
            there = next((each for each in (mine, tag) if docker.image.exists(each)), None)
            if source == "registry" or tag in record or there is None:
                raise
            # Only the record is lost, and without a network there is nothing to make the image anew from. Who asks for
            # the registry's gets no other: another checkout may have made the one that is there.
            say(f"{tag}: the one that is there is used, its origin is unknown ({error.message})")
            if there != mine:
                docker.image.tag(tag, mine)
            return
    if mine != tag:
        docker.image.tag(tag, mine)
        record[identity] = docker.image.inspect(mine).id
    files.write(project.images_record, json.dumps(record, indent=2).encode(), 0o644)


def _is_there(docker: DockerClient, tag: str, identity: str) -> bool:
    """Whether the image that was made here has the tag, or gets it back: another checkout may have moved it.

    Args:
        docker: the engine.
        tag: one for all checkouts.
        identity: the image's id; "": not known, as in an older record: then whatever has the tag.

    """
    if docker.image.exists(tag) and identity in ("", docker.image.inspect(tag).id):
        return True
    if not identity or not docker.image.exists(identity):
        return False
    docker.image.tag(identity, tag)
    return True


def _make(docker: DockerClient, source: str, project: Project, tag: str, name: str) -> str:
    if source != "debian":
        problem = _pull(docker, project, tag, name)
        if not problem:
            say(f"{tag}: {name} from its registry")
            return name
        if source == "registry":
            raise DeployError(
                f"{name} cannot be pulled: {problem}", "check the registry, or set LABELPOD_IMAGE_SOURCE=debian in .env"
            )
        say(f"{tag}: {name} cannot be pulled ({problem}); made from Debian's packages instead")
    if tag in _RECIPES:
        _bootstrap(docker, "trixie", TRIXIE_TAG)
        buildkit.build(docker, project, tag, project.images / _RECIPES[tag][0] / "Dockerfile", "trixie")
    else:
        _bootstrap(docker, "bookworm", tag)
    return _debian(project, tag)


def _debian(project: Project, tag: str) -> str:
    """What the record says of an image from Debian's packages; another recipe makes another image."""
    if tag not in _RECIPES:
        return "debian"
    folder, names = _RECIPES[tag]
    recipe = b"".join((project.images / folder / name).read_bytes() for name in names)
    return f"debian, {hashlib.sha256(recipe).hexdigest()[:12]}"


def _pull(docker: DockerClient, project: Project, tag: str, name: str) -> str:
    """Pull and tag; returns what went wrong, "" if nothing.

    Raises:
        DeployError: the name stands for another image than before; it gets no tag of ours.

    """
    try:
        with progress(f"Pulling {name}"):
            docker.image.pull(name, quiet=True)
        digests.check(project, name, digests.of(docker.image.inspect(name), name))
        docker.image.tag(name, tag)
    except DockerException as error:
        return process.last_line(error.stderr or "")
    return ""


def _bootstrap(docker: DockerClient, codename: str, tag: str) -> None:
    """A minimal Debian, from the machine's own package sources."""
    if docker.image.exists(tag):
        return
    if not shutil.which("mmdebstrap"):
        if not apt.usable():
            raise DeployError("mmdebstrap is not installed", "sudo apt-get install mmdebstrap")
        apt.install("mmdebstrap")
    with tempfile.TemporaryDirectory() as folder, progress(f"Making {tag} from Debian's packages"):
        archive = Path(folder, f"{codename}.tar")
        command = ["mmdebstrap", "--variant=apt", "--include=ca-certificates", codename, str(archive)]
        result = process.run(*command, *package_sources.debian_sources(codename))
        if result.returncode != 0:
            raise DeployError(
                f"mmdebstrap {codename}: {process.last_line(result.stderr)}",
                "check apt's package sources with `apt-get update`, or set LABELPOD_IMAGE_SOURCE=registry in .env",
            )
        with explained("free disk space, see `deploy.py doctor`"):
            docker.image.import_(archive, tag)
