"""Orthanc with either of its databases, as the number of instances grows."""

from collections.abc import Iterator
from pathlib import Path

import pydicom

from bench import data
from bench.report import Row
from bench.sizes import Sizes
from bench.stand import Stand, pacs_of, running, timed
from labelpod.dicom import phantom
from tests.support.pacs import Pacs

_SQLITE = {"ORTHANC_DB": "sqlite", "COMPOSE_FILE": "compose.yaml"}
_POSTGRES = {"ORTHANC_DB": "postgres", "COMPOSE_FILE": "compose.yaml:compose.postgres.yaml"}
_INSTANCES_PER_SERIES = 20
# As long as one with a number in it.
_UID = "1.2.826.0.1.3680043.8.498.{kind}{number:020d}"
_KINDS = {"study": "21", "series": "22", "instance": "23"}


def measure(stand: Stand, sizes: Sizes, folder: Path) -> Iterator[Row]:
    """Seconds for storing the same small instances, and for a list of what was stored last."""
    for side in stand.sides:  # they would take a core from what is measured
        stand.clone.compose("stop", side.name)
    template = _template(folder)
    with running("sqlite", "orthanc", **_SQLITE) as sqlite, running("postgres", "orthanc", **_POSTGRES) as postgres:
        both = pacs_of(postgres), pacs_of(sqlite)
        for start, stop in zip((0, *sizes.stored), sizes.stored, strict=False):
            ours, theirs = (_step(pacs, template, start, stop) for pacs in both)
            yield Row(f"PostgreSQL by SQLite: storing instances {start:,} to {stop:,}", ours[0], theirs[0], "s", 1)
            yield Row(f"PostgreSQL by SQLite: one study's list at {stop:,}", ours[1], theirs[1], "s", 1)


def _step(pacs: Pacs, template: bytes, start: int, stop: int) -> tuple[float, float]:
    stored = timed(lambda: data.store(pacs, (_numbered(template, number) for number in range(start, stop))))
    study = _uid("study", (stop - 1) // _INSTANCES_PER_SERIES)
    url = f"{pacs.url}/dicom-web/studies/{study}/series"
    listed = min(timed(lambda: pacs.session.get(url, timeout=60).raise_for_status()) for _ in range(5))
    return stored, listed


def _uid(kind: str, number: int) -> str:
    return _UID.format(kind=_KINDS[kind], number=number)


def _template(folder: Path) -> bytes:
    """A small instance whose UIDs and patient are those of number 0."""
    instance = pydicom.dcmread(phantom.write(folder / "one", 2, 16)[0])
    instance.PatientID = _uid("study", 0)
    instance.StudyInstanceUID, instance.SeriesInstanceUID = _uid("study", 0), _uid("series", 0)
    instance.SOPInstanceUID = instance.file_meta.MediaStorageSOPInstanceUID = _uid("instance", 0)
    return data.as_bytes(instance)


def _numbered(template: bytes, number: int) -> bytes:
    """The template with other UIDs: making a new one of it would take longer than storing it."""
    numbers = {"instance": number, "series": number // _INSTANCES_PER_SERIES, "study": number // _INSTANCES_PER_SERIES}
    for kind, each in numbers.items():
        template = template.replace(_uid(kind, 0).encode(), _uid(kind, each).encode())
    return template
