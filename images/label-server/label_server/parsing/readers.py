"""The processes that read clients' files: kept ready, one file at a time each."""

import json
import os
import queue
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import IO, Any, cast

import label_server
import labelpod_common
from label_server.errors import Refused
from label_server.parsing.grid import Grid
from label_server.parsing.volumes import IMAGE, LABEL, SERIES, VOLUME, unreadable
from label_server.settings import MAX_VOLUME_BYTES

_SECONDS = 60
_READERS = 2
# The volume as it is read, as it is written and, if it has to be, on another grid.
_MEMORY = 3 * MAX_VOLUME_BYTES + 2**29
_PACKAGES = (label_server.__file__, labelpod_common.__file__)
# Nothing of the server's own environment: there are secrets in it.
_ENVIRONMENT = {
    "MALLOC_ARENA_MAX": "2",
    "OPENBLAS_NUM_THREADS": "1",
    "PYTHONDONTWRITEBYTECODE": "1",
    "PATH": os.defpath,
}


class _Reader:
    """One process, started when it is first needed, and again if it has died."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[str] | None = None

    def ready(self) -> subprocess.Popen[str]:
        """The process; it answers as soon as its libraries are loaded."""
        if self._process is None or self._process.poll() is not None:
            code = os.pathsep.join(str(Path(package).resolve().parents[1]) for package in _PACKAGES)
            self._process = subprocess.Popen(
                [sys.executable, "-m", __package__],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                cwd="/",
                env=_ENVIRONMENT | {"PYTHONPATH": code},
            )
            _line(self._process)
        return self._process

    def ask(self, job: dict[str, Any]) -> str:
        """Why the job cannot be done, "" if it was.

        Raises:
            OSError: the process has ended, which a job of its own cannot bring about.

        """
        process = self.ready()
        try:
            cast(IO[str], process.stdin).write(json.dumps(job) + "\n")
            cast(IO[str], process.stdin).flush()
            return str(json.loads(_line(process))["refused"])
        except OSError:
            self._process = None
            process.kill()
            process.wait()
            raise


def _line(process: subprocess.Popen[str]) -> str:
    if line := cast(IO[str], process.stdout).readline():
        return line
    raise OSError("the process that reads files has ended")


_idle: queue.SimpleQueue[_Reader] = queue.SimpleQueue()
for _ in range(_READERS):
    _idle.put(_Reader())


def warm() -> None:
    """Start the processes, so that the first file need not wait for them."""
    for _ in range(_READERS):
        reader = _idle.get()  # one after the other: who held several could wait for ever
        try:
            reader.ready()
        finally:
            _idle.put(reader)


def image(folder: Path, names: Sequence[str]) -> Path:
    """Read what a client sent as one image: a file, slices, or an archive of either.

    Args:
        folder: holds the files, and nothing else; whatever it holds afterwards goes with it.
        names: of the files in it.

    Returns:
        The volume, a NIfTI file in that folder.

    Raises:
        Refused: with the reason.

    """
    return _read(IMAGE, folder, names)


def label(folder: Path, name: str, grid: Grid) -> Path:
    """Read a label map that a client sent; it comes out on the grid of its image. As `image` otherwise."""
    return _read(LABEL, folder, [name], grid=asdict(grid))


def series(folder: Path, slices: str) -> Path:
    """Read the DICOM files in the folder `slices` of a folder, which ITK understands best. As `image` otherwise."""
    return _read(SERIES, folder, [slices])


def _read(kind: str, folder: Path, names: Sequence[str], **more: Any) -> Path:
    job = {"kind": kind, "folder": str(folder), "files": list(names), "most": MAX_VOLUME_BYTES}
    job |= {"memory": _MEMORY, "seconds": _SECONDS} | more
    reader = _idle.get()
    try:
        refusal = reader.ask(job)
    except OSError:  # somebody ended the process: another is started
        refusal = reader.ask(job)
    finally:
        _idle.put(reader)
    volume = folder / VOLUME
    if refusal:
        raise Refused(refusal)
    if volume.is_symlink() or not volume.is_file():
        raise unreadable(kind)
    return volume
