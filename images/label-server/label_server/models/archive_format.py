"""An archive of models as a stream: a tar of a manifest and the files of weights that it lists.

What comes in is taken for hostile. tarfile would follow links, read sparse files and take in headers of any length,
so that only its reading of a single header is used, and nothing but plain files is taken.
"""

import fcntl
import hashlib
import io
import json
import os
import shutil
import tarfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, BinaryIO, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from label_server import server_role
from label_server.errors import Refused
from label_server.models import registry
from label_server.models.provenance import Origin

FORMAT: Literal[1] = 1
MANIFEST = "manifest.json"
_DRAFTS = ".incoming"
_PIECE, _LONGEST_MANIFEST, _LEAVE_FREE = 2**20, 2**20, 2**28
Name = Annotated[str, Field(pattern=r"^[a-z0-9_]{1,64}$")]
Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Line = Annotated[str, Field(pattern=r"^[\x20-\x7e]{1,64}$")]


class _Strict(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


class Packed(_Strict):
    """One model of an archive.

    `labels` are those that it tells apart, name to value; None for click models, which segment whatever is clicked.
    `architecture` is a digest of the names and shapes of its weights.
    """

    name: Name
    size: int = Field(gt=0, lt=2**33)  # more than a plain tar can hold
    sha256: Digest
    architecture: Digest
    labels: dict[Line, int] | None
    origin: Origin

    @property
    def file(self) -> str:
        """Its name in the archive."""
        return f"{self.name}.pt"


class ListedLabel(_Strict):
    """A label of the server that the archive is from."""

    name: Line
    value: int
    class_id: int


class Manifest(_Strict):
    """What an archive says of itself."""

    format: Literal[1]
    made: Line
    versions: dict[Line, Line]
    labels: list[ListedLabel]
    models: list[Packed] = Field(min_length=1, max_length=100)

    @field_validator("models")
    @classmethod
    def _each_once(cls, models: list[Packed]) -> list[Packed]:
        if len({model.name for model in models}) < len(models):
            raise ValueError("a model is there twice")
        return models


def pack(out: BinaryIO, manifest: Manifest, files: Sequence[BinaryIO]) -> None:
    """Write an archive.

    Args:
        out: where it goes.
        manifest: which lists the files in this order.
        files: of weights, open at their beginnings.

    Raises:
        Refused: a file is not what the manifest says any more.

    """
    text = manifest.model_dump_json(indent=2).encode()
    with tarfile.open(fileobj=out, mode="w|", format=tarfile.USTAR_FORMAT) as tar:
        tar.addfile(_member(MANIFEST, len(text)), io.BytesIO(text))
        for model, file in zip(manifest.models, files, strict=True):
            hashed = _Hashed(file)
            tar.addfile(_member(model.file, model.size), hashed)
            if hashed.digest.hexdigest() != model.sha256:
                raise Refused(f"the weights of {model.name} were written to while they were read; try again")


def read_manifest(stream: BinaryIO) -> Manifest:
    """Read an archive's beginning.

    Raises:
        Refused: it is none, or not one that this version can read.

    """
    header = _header(stream)
    if header is None or header.name != MANIFEST or header.size > _LONGEST_MANIFEST:
        raise Refused("this is no archive of models: it does not begin with a manifest")
    text = b"".join(_content(stream, header.size))
    try:
        number = json.loads(text)["format"]
    except (ValueError, KeyError, TypeError, RecursionError):
        raise Refused("its manifest cannot be read") from None
    if number != FORMAT:
        raise Refused(f"its format is {number!a:.20}, and this server reads {FORMAT}: it is of another version")
    try:
        return Manifest.model_validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise Refused(f"its manifest is wrong: {where!a:.80}: {first['msg'].splitlines()[0]}") from None


def unpack(stream: BinaryIO, manifest: Manifest, folder: Path) -> None:
    """Read the rest of an archive into an empty folder, and compare every checksum.

    Raises:
        Refused: it is not what the manifest says, or the disk has no room for it.

    """
    needed, free = sum(model.size for model in manifest.models) + _LEAVE_FREE, shutil.disk_usage(folder).free
    if needed > free:
        raise Refused(f"it needs {needed / 1e6:.0f} MB on the workspace's disk, which has {free / 1e6:.0f} MB left")
    expected = {model.file: model for model in manifest.models}
    while (header := _header(stream)) is not None:
        model = expected.pop(header.name, None)
        if model is None:
            raise Refused(f"{header.name!a} is not in its manifest, or is there twice")
        if header.size != model.size:
            raise Refused(f"{model.name} has {header.size} bytes, and {model.size} in the manifest")
        _write(stream, model, folder / model.file)
    if expected:
        raise Refused(f"{', '.join(expected)} is missing in it")
    if stream.read(tarfile.RECORDSIZE + 1).strip(b"\0"):
        raise Refused("something follows its end")


def _write(stream: BinaryIO, model: Packed, path: Path) -> None:
    digest = hashlib.sha256()
    with path.open("xb") as file:
        for piece in _content(stream, model.size):
            digest.update(piece)
            file.write(piece)
    if digest.hexdigest() != model.sha256:
        raise Refused(f"{model.name} is damaged: its checksum is not the one in the manifest")


def _header(stream: BinaryIO) -> tarfile.TarInfo | None:
    """The next file's; None at the end."""
    block = _exactly(stream, tarfile.BLOCKSIZE)
    if not block.strip(b"\0"):
        return None
    try:
        header = tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
    except tarfile.HeaderError:
        raise Refused("this is no archive of models, or it is damaged") from None
    if header.type not in (tarfile.REGTYPE, tarfile.AREGTYPE) or header.size < 0:
        raise Refused(f"{header.name!a} is not a plain file")
    return header


def _content(stream: BinaryIO, size: int) -> Iterator[bytes]:
    for start in range(0, size, _PIECE):
        yield _exactly(stream, min(_PIECE, size - start))
    _exactly(stream, -size % tarfile.BLOCKSIZE)


def _exactly(stream: BinaryIO, size: int) -> bytes:
    data = stream.read(size)
    if len(data) < size:
        raise Refused("it ends in the middle")
    return data


def _member(name: str, size: int) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.size = size
    return info


class _Hashed(io.RawIOBase):
    """A file that is hashed while it is read."""

    def __init__(self, file: BinaryIO) -> None:
        self._file, self.digest = file, hashlib.sha256()

    def read(self, size: int = -1) -> bytes:
        data = self._file.read(size)
        self.digest.update(data)
        return data


@contextmanager
def unpacked(stream: BinaryIO) -> Iterator[tuple[Manifest, Path]]:
    """An archive in a folder beside this server's models, which is removed afterwards.

    Raises:
        Refused: it is damaged, of models that this server does not have, another one is being read, or this server only
            annotates.

    """
    if not server_role.writes_models():
        raise Refused(server_role.ELSEWHERE)
    known, place = registry.own(), registry.model_folder()
    place.mkdir(parents=True, exist_ok=True)
    drafts = place / _DRAFTS
    with _exclusive(place):
        shutil.rmtree(drafts, ignore_errors=True)  # of one that was killed
        drafts.mkdir()
        try:
            manifest = read_manifest(stream)
            if strange := [model.name for model in manifest.models if model.name not in known]:
                raise Refused(f"this server has no {', '.join(strange)}; it has {', '.join(known)}: see MODELS")
            unpack(stream, manifest, drafts)
            yield manifest, drafts
        finally:
            shutil.rmtree(drafts, ignore_errors=True)


@contextmanager
def _exclusive(folder: Path) -> Iterator[None]:
    """Hold the only lock on a folder. By flock, because a lock file would be left among the models."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Refused("another archive is being read; try again when it is done") from None
        yield
    finally:
        os.close(handle)
