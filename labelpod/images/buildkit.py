"""One build by BuildKit: with the machine's package sources as secrets, its steps shown, its words in a log."""

import re
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from python_on_whales import DockerClient
from python_on_whales.exceptions import DockerException

from labelpod import files
from labelpod.console import progress, say_command
from labelpod.errors import DeployError
from labelpod.host import package_sources
from labelpod.process import last_line
from labelpod.project import Project

_STEP = re.compile(r"#\d+ \[(?:[\w-]+ )?(\d+)/(\d+)\] (.*)")


def build(
    docker: DockerClient,
    project: Project,
    tag: str,
    dockerfile: Path,
    codename: str,
    labels: dict[str, str] | None = None,
) -> None:
    """Build an image; a build that was interrupted resumes at its last finished step.

    Args:
        docker: the engine.
        project: whose folder is the build context.
        tag: of the image.
        dockerfile: in that folder.
        codename: of the Debian release inside the image.
        labels: that the image gets.

    Raises:
        DeployError: the build failed; with the line that says why.

    """
    with tempfile.TemporaryDirectory() as folder:
        secrets = package_sources.write_secrets(Path(folder), codename)
        say_command("docker", "buildx", "build", "--load", "--tag", tag, "--file", str(dockerfile), str(project.root))
        lines: Any = docker.buildx.build(
            project.root,
            file=dockerfile,
            tags=tag,
            secrets=[f"id={name},src={path}" for name, path in secrets.items()],
            build_args=package_sources.build_arguments(),
            labels=labels or {},
            progress="plain",
            stream_logs=True,
            load=True,
        )
        try:
            _follow(lines, project.build_log, tag)
        except DockerException as error:
            raise DeployError(
                f"building {tag} failed: {_reason(project.build_log)}",
                f"see {project.build_log}; the same command resumes the build",
            ) from error


def _follow(lines: Iterable[str], log: Path, tag: str) -> None:
    """Show the step that is being built; everything else goes to the log."""
    with log.open("w", buffering=1, encoding="utf-8") as file, progress(f"Building {tag}") as bar:
        files.give_away(log)
        for line in lines:
            file.write(line if line.endswith("\n") else f"{line}\n")
            if step := _STEP.match(line):
                number, count, command = step.groups()
                words = re.sub(r"--mount=\S+\s+", "", command)[:60]
                bar.update(bar.task_ids[0], description=f"Building {tag}: step {number} of {count}: {words}")


def _reason(log: Path) -> str:
    """The line that says why: the last one before BuildKit's own summary."""
    text = log.read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if re.match(r"#\d+ [\d.]+ \S", line)]
    return re.sub(r"^#\d+ [\d.]+ ", "", lines[-1]) if lines else last_line(text)
