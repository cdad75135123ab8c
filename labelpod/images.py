"""Gets or makes the images: bases from a registry or from Debian's packages, and the label server's own."""

import hashlib
import json
import re
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from python_on_whales import DockerClient
from python_on_whales.exceptions import DockerException

from labelpod import apt, fingerprint, render, sources
from labelpod.console import progress, say, say_command
from labelpod.docker import explained, last_line
from labelpod.errors import DeployError
from labelpod.settings import Settings

TRIXIE_TAG = "labelpod/debian:trixie"
# What is made of packages in a Debian of its own: its folder, and the files that the image depends on.
_RECIPES = {
    render.ORTHANC_TAG: (render.ROOT / "images" / "orthanc", ("Dockerfile", "tls.c")),
    render.POSTGRES_TAG: (render.ROOT / "images" / "postgres", ("Dockerfile", "start")),
}
# What each base image came from.
RECORD = render.BUILD / "images.json"
_LOG = render.BUILD / "build.log"
_STEP = re.compile(r"#\d+ \[(?:[\w-]+ )?(\d+)/(\d+)\] (.*)")


def ensure(docker: DockerClient, settings: Settings, ask_buildkit: bool = False) -> None:
    """Base, Orthanc, label server and, where it is used, PostgreSQL are there and up to date; a build goes on.

    Args:
        docker: the engine.
        settings: what the images are made for.
        ask_buildkit: even where the label server's image says itself that it is up to date.

    Raises:
        DeployError: neither a registry nor Debian's packages could be used, or a build failed.

    """
    render.write(settings)
    _ensure_base(docker, settings, render.BASE_TAG, settings.BASE_IMAGE)
    _ensure_base(docker, settings, render.ORTHANC_TAG, settings.ORTHANC_IMAGE)
    if settings.postgres:
        _ensure_base(docker, settings, render.POSTGRES_TAG, settings.POSTGRES_IMAGE)
    _ensure_label_server(docker, ask_buildkit)


def _ensure_label_server(docker: DockerClient, ask_buildkit: bool) -> None:
    """Built, unless the image under its tag carries the fingerprint of what it would be built from now."""
    tag, dockerfile = render.LABEL_SERVER_TAG, render.BUILD / "label-server.Dockerfile"
    inputs = fingerprint.of(render.ROOT, dockerfile, docker.image.inspect(render.BASE_TAG).id)
    if not ask_buildkit and _label(docker, tag) == inputs:
        return
    if ignored := sources.left_out():
        say(f"A build cannot see this machine's package folders: {', '.join(ignored)}; it does without them.")
    # Not in the Dockerfile, where another label would be another layer.
    _build(docker, tag, dockerfile, "bookworm", {fingerprint.LABEL: inputs})


def _label(docker: DockerClient, tag: str) -> str:
    """The fingerprint that an image carries, "" if there is none."""
    if not docker.image.exists(tag):
        return ""
    return (docker.image.inspect(tag).config.labels or {}).get(fingerprint.LABEL, "")


def _ensure_base(docker: DockerClient, settings: Settings, tag: str, name: str) -> None:
    """One base image under its local tag, from where IMAGE_SOURCE says."""
    record = json.loads(RECORD.read_text()) if RECORD.exists() else {}
    accepted = {"registry": [name], "debian": [_debian(tag)], "auto": [name, _debian(tag)]}[settings.IMAGE_SOURCE]
    if docker.image.exists(tag) and record.get(tag) in accepted:
        return
    came_from = _make_base(docker, settings.IMAGE_SOURCE, tag, name)
    RECORD.write_text(json.dumps(record | {tag: came_from}, indent=2))


def _make_base(docker: DockerClient, source: str, tag: str, name: str) -> str:
    if source != "debian":
        problem = _pull(docker, tag, name)
        if not problem:
            say(f"{tag}: {name} from its registry")
            return name
        if source == "registry":
            raise DeployError(
                f"{name} cannot be pulled: {problem}", "check the registry, or set IMAGE_SOURCE=debian in .env"
            )
        say(f"{tag}: {name} cannot be pulled ({problem}); made from Debian's packages instead")
    if tag in _RECIPES:
        _debian_base(docker, "trixie", TRIXIE_TAG)
        _build(docker, tag, _RECIPES[tag][0] / "Dockerfile", "trixie")
    else:
        _debian_base(docker, "bookworm", tag)
    return _debian(tag)


def _debian(tag: str) -> str:
    """What the record says of an image from Debian's packages; another recipe makes another image."""
    if tag not in _RECIPES:
        return "debian"
    folder, names = _RECIPES[tag]
    recipe = b"".join((folder / name).read_bytes() for name in names)
    return f"debian, {hashlib.sha256(recipe).hexdigest()[:12]}"


def _pull(docker: DockerClient, tag: str, name: str) -> str:
    """Pull and tag; returns what went wrong, "" if nothing."""
    try:
        with progress(f"Pulling {name}"):
            docker.image.pull(name, quiet=True)
        docker.image.tag(name, tag)
    except DockerException as error:
        return last_line(error.stderr or "")
    return ""


def _debian_base(docker: DockerClient, codename: str, tag: str) -> None:
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
        result = subprocess.run(
            [*command, *sources.debian_sources(codename)], capture_output=True, text=True, check=False
        )
        if result.returncode != 0:
            raise DeployError(
                f"mmdebstrap {codename}: {last_line(result.stderr)}",
                "check apt's package sources with `apt-get update`, or set IMAGE_SOURCE=registry in .env",
            )
        with explained("free disk space, see `deploy.py doctor`"):
            docker.image.import_(archive, tag)


def _build(
    docker: DockerClient, tag: str, dockerfile: Path, codename: str, labels: dict[str, str] | None = None
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        secrets = sources.write_secrets(Path(folder), codename)
        say_command("docker", "buildx", "build", "--load", "--tag", tag, "--file", str(dockerfile), str(render.ROOT))
        lines = docker.buildx.build(
            render.ROOT,
            file=dockerfile,
            tags=tag,
            secrets=[f"id={name},src={path}" for name, path in secrets.items()],
            build_args=sources.build_arguments(),
            labels=labels or {},
            progress="plain",
            stream_logs=True,
            load=True,
        )
        try:
            _follow(lines, tag)
        except DockerException as error:
            raise DeployError(
                f"building {tag} failed: {_reason()}", f"see {_LOG}; a new start goes on where this one stopped"
            ) from error


def _follow(lines: Any, tag: str) -> None:
    """Show the step that is being built; everything else goes to the log."""
    with _LOG.open("w", buffering=1, encoding="utf-8") as file, progress(f"Building {tag}") as bar:
        for line in lines:
            file.write(line if line.endswith("\n") else f"{line}\n")
            if step := _STEP.match(line):
                number, count, command = step.groups()
                words = re.sub(r"--mount=\S+\s+", "", command)[:60]
                bar.update(bar.task_ids[0], description=f"Building {tag}: step {number} of {count}: {words}")


def _reason() -> str:
    """The line that says why: the last one before BuildKit's own summary."""
    text = _LOG.read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if re.match(r"#\d+ [\d.]+ \S", line)]
    return re.sub(r"^#\d+ [\d.]+ ", "", lines[-1]) if lines else last_line(text)
