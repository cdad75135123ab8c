"""Whose stack it is: containers and volumes go by Compose's project name, which two checkouts may share.

Containers say by Compose's own labels which folder they were started from. Volumes outlive them and say nothing: an
empty volume of ours, the mark, carries the folder in a label, and is made anew when the folder has moved.
"""

import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from labelpod import process
from labelpod.console import confirmed
from labelpod.errors import DeployError
from labelpod.project import Project
from labelpod.security import secret_files

_PROJECT = "com.docker.compose.project"
_MARK = "labelpod.checkout"
FOLDER = f'{{{{.Label "{_PROJECT}.working_dir"}}}}'
_FORM = f'{FOLDER}\t{{{{.Label "{_PROJECT}.config_files"}}}}'
_SECONDS = 20
_TWO = "to run two, set COMPOSE_PROJECT_NAME and other ports in .env here, see docs/settings.md"


@dataclass(frozen=True)
class Owner:
    """A folder that has the stack, and whether it is still there."""

    folder: Path
    there: bool


def owners(name: str) -> list[Owner]:
    """Who has the stack of this name: the folders that its containers and its mark tell.

    Raises:
        DeployError: Docker does not answer.

    """
    return list(dict.fromkeys(_owners(name)))


def is_elsewhere(folder: Path, root: Path) -> bool:
    """Whether it is another checkout than this one, and still there."""
    return not _same(folder, root) and _is_checkout(folder)


def check(name: str, project: Project) -> list[Path]:
    """Refuse a stack that another folder has.

    Returns:
        The folders that had it and are gone.

    Raises:
        DeployError: another folder has it, or Docker does not answer.

    """
    others = [each for each in owners(name) if not _same(each.folder, project.root)]
    for each in others:
        if each.there:
            raise DeployError(f"the stack {name} is run from {each.folder}, and this is {project.root}", _TWO)
    return [each.folder for each in others]


def settle(name: str, project: Project, yes: bool) -> None:
    """Refuse what is not this folder's, and ask whether this one has moved; changes nothing.

    Raises:
        DeployError: another folder has the stack, the volumes are another's, or the answer is no.

    """
    gone = check(name, project)
    if (owners(name) and not gone) or not _volumes(name):
        return
    if not (project.secrets / secret_files.LABEL_KEY).exists():
        raise DeployError(
            f"volumes of the stack {name} are there, and this folder has not the secrets that belong to them",
            f"copy .env and secrets/ from {gone[0] if gone else 'the folder that made them'}; {_TWO}",
        )
    if gone and not confirmed(f"{name} was run from {gone[0]}, which is gone. Was it moved here?", yes):
        raise DeployError(f"the stack {name} was run from {gone[0]}, which is gone", f"--yes takes it over; {_TWO}")


def claim(name: str, project: Project) -> None:
    """Mark the volumes as this folder's; of two folders that do so at once, one is refused.

    Raises:
        DeployError: another folder has the stack.

    """
    if check(name, project):
        _docker("volume", "rm", "--force", _mark(name))
    _docker("volume", "create", "--label", f"{_MARK}={project.root}", _mark(name))
    check(name, project)


def forget(name: str) -> None:
    """Remove the mark, once the volumes are gone."""
    _docker("volume", "rm", "--force", _mark(name))


def _owners(name: str) -> Iterator[Owner]:
    listed = _docker("ps", "--all", "--filter", f"label={_PROJECT}={name}", "--format", _FORM)
    for line in filter(str.strip, listed.splitlines()):
        folder, _, files = line.partition("\t")
        yield Owner(Path(folder), _is_checkout(Path(folder)) or any(_is_file(Path(file)) for file in files.split(",")))
    form = f'{{{{.Label "{_MARK}"}}}}'
    for folder in _docker("volume", "ls", "--filter", f"name=^{_mark(name)}$", "--format", form).splitlines():
        if folder:
            yield Owner(Path(folder), _is_checkout(Path(folder)))


def _volumes(name: str) -> bool:
    return bool(_docker("volume", "ls", "--quiet", "--filter", f"label={_PROJECT}={name}").strip())


def _mark(name: str) -> str:
    return f"{name}_checkout"


def _docker(*words: str) -> str:
    answer = process.run("docker", *words, seconds=_SECONDS)
    if answer.returncode != 0:
        raise DeployError(f"docker {words[0]}: {process.why(answer)}", "python3 deploy.py doctor")
    return answer.stdout


def _same(folder: Path, root: Path) -> bool:
    return folder.resolve() == root.resolve()


def _is_checkout(folder: Path) -> bool:
    return _is_file(folder / "compose.yaml")


def _is_file(path: Path) -> bool:
    """Whether a file is there; what this user may not look at may be one. Docker puts folders where files are gone."""
    try:
        return stat.S_ISREG(path.stat().st_mode)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        return True
