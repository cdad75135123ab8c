"""Makes archives of the models that serve."""

import hashlib
import os
from contextlib import ExitStack
from datetime import UTC, datetime
from importlib.metadata import version
from io import BufferedReader
from pathlib import Path
from typing import BinaryIO

from label_server.errors import Refused
from label_server.models import architectures, provenance, upload
from label_server.models.archive_format import FORMAT, ListedLabel, Manifest, Packed, pack
from label_server.models.registry import Model
from labelpod_common import __version__, labels


def export(chosen: list[Model], out: BinaryIO) -> None:
    """Write an archive.

    Raises:
        Refused: a model's weights are not sound.

    """
    with ExitStack() as stack:
        packed, files = [], []
        for model in chosen:
            path = model.serving() or model.published
            # The very file that is looked at is the one that is packed, whatever a training publishes meanwhile.
            files.append(stack.enter_context(path.open("rb")))
            packed.append(_packed(model, path, files[-1]))
        pack(out, _manifest(packed), files)


def _packed(model: Model, path: Path, file: BufferedReader) -> Packed:
    network = architectures.make(model)
    try:
        upload.check(file, network.module, network.key)
    except upload.NotWeights as problem:
        raise Refused(f"{model.name} is not exported: {problem}") from None
    file.seek(0)
    checksum = hashlib.file_digest(file, "sha256").hexdigest()
    size = file.tell()
    file.seek(0)
    return Packed(
        name=model.name,
        size=size,
        sha256=checksum,
        architecture=network.architecture,
        labels=network.labels,
        origin=provenance.of(model, path, checksum),
    )


def _manifest(packed: list[Packed]) -> Manifest:
    return Manifest(
        format=FORMAT,
        made=datetime.now(UTC).isoformat(timespec="seconds"),
        versions={"labelpod": __version__} | {name: version(name) for name in ("monailabel", "monai", "torch")},
        labels=[
            ListedLabel(name=label.name, value=label.value, class_id=label.class_id)
            for label in labels.parse(os.environ["LABELS"])
        ],
        models=packed,
    )
