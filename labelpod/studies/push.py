"""Sends DICOM to Orthanc and lists what it has."""

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import httpx
from rich.text import Text

from labelpod.clients.orthanc import Connection, Orthanc, RefusedError
from labelpod.dicom import preflight
from labelpod.dicom.file_header import FileError, Instance
from labelpod.dicom.preflight import Series
from labelpod.parallel import parallel
from labelpod.studies import beside
from labelpod_common.text import clean, counted

# What Orthanc's words for a status mean.
_REASONS = {"FilteredStatus": "Orthanc takes no objects of this kind; LABELPOD_DICOM_KINDS in .env adds some"}
_MOST_NAMED = 20
_NEXT = "Next: open the address that `python3 deploy.py status` shows in a browser, and press Next CT."


@dataclass(frozen=True)
class Outcome:
    """What became of a push: numbers of instances and skipped files, series by what became of them, errors."""

    sent: int
    already: int
    skipped: int
    taken: list[Series]
    refused: list[Series]
    doubtful: list[Series]
    errors: list[FileError]

    @property
    def ok(self) -> bool:
        """Whether all that is DICOM is in Orthanc now."""
        return not self.refused and not self.errors


@dataclass(frozen=True)
class StoredSeries:
    """A series in Orthanc and the number of its instances."""

    uid: str
    modality: str
    description: str
    instances: int


@dataclass(frozen=True)
class Study:
    """A study in Orthanc: whether it has a label, and which series are no label or no image, with the reason."""

    uid: str
    patient_id: str
    date: str
    description: str
    series: list[StoredSeries]
    labelled: bool = False
    left_out: Mapping[str, str] = field(default_factory=dict)


def push(paths: Iterable[Path], orthanc: Orthanc, modality: str, force: bool = False) -> Outcome:
    """Check files and folders and send what is sound and not there yet; after an interruption, the rest.

    Args:
        paths: files and folders.
        orthanc: where to.
        modality: the only one that the label server offers.
        force: send series that the check refuses, too.

    Raises:
        DeployError: a path is missing, nothing is DICOM, or Orthanc does not answer or accept the login.

    """
    with Connection(orthanc) as connection:
        connection.greet()  # before anything that takes long
        report = preflight.scan(paths, modality)
        stored = {each.uid: _stored(connection, each.uid) for each in report.series}
        judged = [beside.judged(connection, each, modality, bool(stored[each.uid])) for each in report.series]
        series = judged if force else [each for each in judged if not each.refused]
        instances = [instance for each in series for instance in each.files]
        send = partial(_send, connection, {uid: md5 for each in stored.values() for uid, md5 in each.items()})
        results = parallel(send, instances, f"Sending {counted(len(instances), 'instance')}")
    return Outcome(
        sent=results.count("sent"),
        already=results.count("already"),
        skipped=report.skipped,
        taken=series,
        refused=[] if force else [each for each in judged if each.refused],
        doubtful=[each for each in series if each.problems],
        errors=[*report.errors, *(each for each in results if isinstance(each, FileError))],
    )


def _stored(connection: Connection, series_uid: str) -> dict[str, str]:
    """MD5 of each instance of a series that Orthanc has, by SOPInstanceUID."""
    if not series_uid:
        return {}
    found = connection.find("Instance", ["Attachments", "MainDicomTags"], Query={"SeriesInstanceUID": series_uid})
    return {
        instance["MainDicomTags"]["SOPInstanceUID"]: attachment["UncompressedMD5"]
        for instance in found
        for attachment in instance["Attachments"]
        if attachment["ContentType"] == 1  # the DICOM file itself
    }


def _send(connection: Connection, stored: Mapping[str, str], instance: Instance) -> FileError | str:
    """`sent` or `already`, or why not. Orthanc keeps what it has: other content under a known UID would be lost."""
    try:
        content = instance.path.read_bytes()
        known = stored.get(instance.header.sop_uid)
        if known is None:
            answer = connection.ask("POST", "/instances", content=content)
            if answer["Status"] != "AlreadyStored":
                reason = _REASONS.get(answer["Status"], answer["Status"])
                return "sent" if answer["Status"] == "Success" else FileError(instance.path, reason)
            known = connection.ask("GET", f"/instances/{answer['ID']}/attachments/dicom/info")["UncompressedMD5"]
    except OSError as error:
        return FileError(instance.path, error.strerror or "cannot be read")
    except RefusedError as error:
        return FileError(instance.path, error.message)
    except httpx.TransportError as error:
        connection.greet()  # where Orthanc is gone, the other files need not be tried
        return FileError(instance.path, f"the connection breaks ({type(error).__name__})")
    if known == hashlib.md5(content, usedforsecurity=False).hexdigest():
        return "already"
    return FileError(instance.path, "Orthanc has other content under the same SOPInstanceUID, and keeps that")


def list_studies(orthanc: Orthanc) -> list[Study]:
    """All studies with their series, by patient and date; to Orthanc any SEG series is a label.

    Raises:
        DeployError: Orthanc does not answer or accept the login.

    """
    wanted = ["StudyInstanceUID", "PatientID", "StudyDate", "StudyDescription", "NumberOfSeriesRelatedInstances"]
    with Connection(orthanc) as connection:
        connection.greet()
        found = connection.find("Series", ["MainDicomTags", "RequestedTags"], wanted)
    studies: dict[tuple[str, str], Study] = {}
    for each in found:
        tags = defaultdict(str, {name: clean(value) for name, value in each["MainDicomTags"].items()})
        tags.update((name, clean(value)) for name, value in each["RequestedTags"].items())
        study = Study(tags["StudyInstanceUID"], tags["PatientID"], tags["StudyDate"], tags["StudyDescription"], [])
        series = StoredSeries(
            tags["SeriesInstanceUID"],
            tags["Modality"],
            tags["SeriesDescription"],
            int(tags["NumberOfSeriesRelatedInstances"]),
        )
        studies.setdefault((study.patient_id, study.uid), study).series.append(series)
    labelled = (
        replace(each, labelled=any(part.modality == "SEG" for part in each.series)) for each in studies.values()
    )
    return sorted(labelled, key=lambda study: (study.patient_id, study.date, study.uid))


# --- for people and programs ---


def outcome_table(outcome: Outcome) -> Text:
    """Problems first, then the numbers, for people; of a push without any the studies, and what comes next."""
    problems = map(preflight.series_lines, [*outcome.doubtful, *outcome.refused])
    text = Text().join([*problems, *map(preflight.error_line, outcome.errors)])
    text.append(f"{counted(outcome.sent, 'instance')} sent, {outcome.already} there already")
    if outcome.refused:
        text.append(f"; {counted(len(outcome.refused), 'series')} refused, --force sends them anyway")
    if outcome.errors:
        text.append(f"; {counted(len(outcome.errors), 'file')} failed")
    text.append(preflight.skipped_words(outcome.skipped))
    return Text("\n").join([*_studies(outcome.taken), text, Text(_NEXT)]) if outcome.ok else text


def _studies(taken: Iterable[Series]) -> Iterator[Text]:
    """One line for each study, without what tells the patient."""
    studies = defaultdict[str, list[Series]](list)
    for each in taken:
        studies[each.study_uid].append(each)
    for uid, found in list(studies.items())[:_MOST_NAMED]:
        parts = ["  ".join(filter(None, (each.modality, each.description))) for each in found]
        yield Text(f"{uid}  {counted(sum(len(each.files) for each in found), 'instance')}  {', '.join(parts)}")
    if len(studies) > _MOST_NAMED:
        yield Text(f"and {len(studies) - _MOST_NAMED} more")


def outcome_json(outcome: Outcome) -> dict[str, Any]:
    """The outcome for programs; the keys are stable."""
    return {
        "ok": outcome.ok,
        "sent": outcome.sent,
        "already": outcome.already,
        "skipped": outcome.skipped,
        "studies": sorted({each.study_uid for each in outcome.taken}),
        "refused": [preflight.series_json(each) for each in outcome.refused],
        "doubtful": [preflight.series_json(each) for each in outcome.doubtful],
        "errors": [preflight.error_json(each) for each in outcome.errors],
    }


def studies_table(studies: list[Study]) -> Text:
    """One line for a study and one for each of its series, for people."""
    lines = []
    for each in studies:
        words = [each.patient_id or "-", each.date, each.description, "labelled" if each.labelled else "not labelled"]
        lines.append(f"{'  '.join(filter(None, words))}  {each.uid}")
        for series in each.series:
            parts = [f"{series.modality:<8}", counted(series.instances, "instance"), series.description, series.uid]
            lines.append(f"    {'  '.join(filter(None, parts))}")
            if series.uid in each.left_out:
                word = "no label" if series.modality == "SEG" else "not offered"
                lines.append(f"      {word}: {each.left_out[series.uid]}")
    labelled = sum(each.labelled for each in studies)
    return Text("\n".join([*lines, f"{counted(len(studies), 'study')}, {labelled} labelled"]))


def studies_json(studies: list[Study]) -> list[dict[str, Any]]:
    """The studies for programs; the keys are stable."""
    return [asdict(each) for each in studies]
