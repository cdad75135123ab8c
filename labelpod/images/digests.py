"""Which image a name in a registry stands for: the one that it was at its first pull on this machine.

A tag may be moved, by its owner or by whoever gets into the registry. A name with its digest, NAME:TAG@sha256:..., is
checked by Docker itself.
"""

import json

from python_on_whales import Image

from labelpod import files
from labelpod.errors import DeployError
from labelpod.project import Project


class OtherImageError(DeployError):
    """A name stands for another image than before; nothing may go on in spite of it."""


def of(image: Image, name: str) -> str:
    """The digest under which a registry knows an image, "" if it does not come from there."""
    found = (each.partition("@") for each in image.repo_digests or [])
    return next((digest for repository, _, digest in found if repository in name), "")


def check(project: Project, name: str, digest: str) -> None:
    """Record the digest at the first pull, and compare it at any later one.

    Raises:
        DeployError: it is another image than it was, or what was recorded cannot be read.

    """
    known = _known(project)
    if known.get(name, digest) != digest:
        raise OtherImageError(
            f"{name} is another image than it was when it was first pulled: {digest or 'it has no digest'}",
            f"if its maker says so, remove the line of {known[name]} from {project.shown(project.digests_record)}; "
            "or put @ and the digest behind the name in .env",
        )
    if name not in known and digest:
        files.write(project.digests_record, json.dumps(known | {name: digest}, indent=2).encode(), 0o644)


def _known(project: Project) -> dict[str, str]:
    try:
        return dict(json.loads(project.digests_record.read_text(encoding="utf-8")))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, TypeError):
        shown = project.shown(project.digests_record)
        raise DeployError(
            f"{shown} cannot be read, and says which images are trusted",
            f"delete {shown}: then those that are pulled next are trusted",
        ) from None
