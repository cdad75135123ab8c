"""Sends instances from one Orthanc to another, and proves that they are there."""

from dataclasses import dataclass
from functools import partial
from typing import Any

import httpx

from labelpod.clients.orthanc import Connection, RefusedError
from labelpod.console import say
from labelpod.parallel import parallel
from labelpod_common.series_metadata import REVIEW
from labelpod_common.text import counted

_ABSENT, _OTHER = "it is not there", "its content is another there"


@dataclass(frozen=True)
class Outcome:
    """Numbers of studies, of instances and of those sent just now; what lacks, by Orthanc's id, with the reason."""

    studies: int
    instances: int
    sent: int
    lacking: dict[str, str]


def everything(old: Connection, new: Connection) -> Outcome:
    """Send what the new one has not, then ask both for everything once more; then send what was said of labels."""
    found = old.find("Series", ["Parent", "Metadata"])
    series = [each["ID"] for each in found]
    before = _compare(old, new, series, "Comparing")
    absent = [instance for instance, problem in before.items() if problem == _ABSENT]
    what = f"Copying {counted(len(absent), 'instance')} of {len(before)}"
    refusals = dict(zip(absent, parallel(partial(_send, old, new), absent, what), strict=True))
    after = _compare(old, new, series, "Verifying") if absent else before
    lacking = {instance: refusals.get(instance) or problem for instance, problem in after.items() if problem}
    if not lacking:
        _send_judgements(_judgements(found), new)
    return Outcome(
        studies=len({each["ParentStudy"] for each in found}),
        instances=len(after),
        sent=list(refusals.values()).count(""),
        lacking=lacking,
    )


def _judgements(series: list[dict[str, Any]]) -> dict[str, str]:
    """What reviewers have said of labels, by Orthanc's name of the label's series."""
    found = {each["ID"]: each.get("Metadata", {}).get(REVIEW) for each in series}
    return {name: said for name, said in found.items() if said}


def _send_judgements(said: dict[str, str], new: Connection) -> None:
    """Write down what reviewers have said, where the new one has heard nothing later."""
    there = _judgements(new.find("Series", ["Metadata"])) if said else {}
    for name in said.keys() - there.keys():
        try:
            new.ask("PUT", f"/series/{name}/metadata/{REVIEW}", content=said[name].encode())
        except RefusedError as refused:  # the images are there all the same
            say(f"What a reviewer said of the label {name} was not taken along: {refused}")


def _compare(old: Connection, new: Connection, series: list[str], what: str) -> dict[str, str]:
    """What is wrong with each instance in the new one, "" if its content is the same."""
    known = {each["ID"] for each in new.find("Series", [])}

    def compare(one: str) -> dict[str, str]:
        there = _digests(new, one) if one in known else {}
        return {
            instance: _ABSENT if instance not in there else "" if there[instance] == digest else _OTHER
            for instance, digest in _digests(old, one).items()
        }

    results = parallel(compare, series, f"{what} {counted(len(series), 'series')}")
    return {instance: problem for each in results for instance, problem in each.items()}


def _digests(connection: Connection, series: str) -> dict[str, str]:
    """MD5 of each instance of a series. Both name a series and an instance alike: by a hash of its UIDs."""
    return {
        instance["ID"]: attachment["UncompressedMD5"]
        for instance in connection.find("Instance", ["Attachments"], ParentSeries=series)
        for attachment in instance["Attachments"]
        if attachment["ContentType"] == 1  # the DICOM file itself
    }


def _send(old: Connection, new: Connection, instance: str) -> str:
    """Why an instance could not be copied, "" if it was."""
    try:
        new.ask("POST", "/instances", content=old.file(instance))
    except RefusedError as error:
        return error.message
    except httpx.TransportError as error:
        old.greet()  # where either is gone, the others need not be tried
        new.greet()
        return f"the connection breaks ({type(error).__name__})"
    return ""
