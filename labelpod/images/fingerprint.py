"""What the label server's image was built from, as one number that the image itself carries."""

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

LABEL = "labelpod.inputs"
# What the Dockerfile copies or mounts of the build context.
SOURCES = ("images/label-server", "labelpod_common", "build/start_server.sh")
_LEFT_OUT = "__pycache__"  # as .dockerignore does


def of(root: Path, dockerfile: Path, base: str) -> str:
    """SHA-256 of the Dockerfile, of the files that it takes and whether they are programs, and of its base image.

    Who else may read a file is the checkout's matter: the image sets it.

    As in BuildKit's own cache, secrets and proxies do not count: they say where packages come from, not which.

    Args:
        root: the build context.
        dockerfile: the rendered one.
        base: the base image's id.

    """
    digest = hashlib.sha256(base.encode())
    digest.update(_digest(dockerfile))
    for file in files(root):
        digest.update(f"\0{file.relative_to(root)}\0{file.stat().st_mode & 0o100:o}\0".encode())
        digest.update(_digest(file))
    return digest.hexdigest()


def files(root: Path) -> list[Path]:
    """The files of the build context that the image is made of, in a fixed order."""
    return sorted(file for name in SOURCES for file in _below(root / name))


def _below(path: Path) -> Iterator[Path]:
    if not path.is_dir():
        yield path
    for folder, folders, names in os.walk(path):
        folders[:] = [name for name in folders if name != _LEFT_OUT]
        yield from (Path(folder, name) for name in names)


def _digest(file: Path) -> bytes:
    return hashlib.sha256(file.read_bytes()).digest()
