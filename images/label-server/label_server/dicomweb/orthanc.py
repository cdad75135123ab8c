"""What Orthanc tells of its content besides DICOMweb: whether anything changed, and which series there are.

Both take milliseconds however much it holds, where DICOMweb's list of some thousand series takes seconds.
And it deletes a series, which DICOMweb itself cannot.
"""

import hashlib
import logging
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

import requests
from dicomweb_client import DICOMwebClient

from labelpod_common.label_key import DELETION_HEADER

logger = logging.getLogger(__name__)

_DICOMWEB = "/dicom-web"
_NOT_HERE = (400, 401, 403, 404, 405)
_NO_SERIES = "0"  # a name that none has
_NOT_IMPLEMENTED, _UNKNOWN_RESOURCE = 2, 17  # Orthanc's own numbers of what is wrong

_MOST_PAGES, _MOST_CHANGES = 40, 500  # that are looked through for one that matters
# Orthanc itself looks for what matters since 1.12.5: after some thousand arrivals it has news of each for many minutes.
_SETTLED = "StableSeries"
_NEW_SERIES = f"&type=NewSeries;{_SETTLED}"
# No series comes or goes by them: that one is complete, and what Orthanc's DICOMweb then puts aside of it.
_NOTHING_NEW = {"StablePatient", "StableStudy", "StableSeries", "UpdatedAttachment", "UpdatedMetadata"}


class _NotImplemented(requests.HTTPError):
    """The database cannot do it: Debian's PostgreSQL plugin 5.0 looks for no metadata."""


@dataclass(frozen=True)
class State:
    """Where Orthanc is: the number of the last change, and of series.

    `changed` says whether series came or went since the state before, `settled` which are complete since then, by
    Orthanc's names.
    """

    last: int
    series: int
    changed: bool = True
    settled: frozenset[str] = frozenset()


class Orthanc:
    """The DICOMweb server's other interface; anything but Orthanc has none.

    Args:
        client: of the DICOMweb server.

    """

    def __init__(self, client: DICOMwebClient) -> None:
        self._session: requests.Session = client._session
        root, dicomweb, rest = str(client.base_url).rstrip("/").rpartition(_DICOMWEB)
        self._root = root if dicomweb and not rest else ""
        self._kinds = _NEW_SERIES
        self._finds = True

    def state(self, before: State | None) -> State | None:
        """Where it is now; None if the server cannot say.

        The numbers of changes only rise, but those of a deleted series are taken back; its count says that it went.

        Raises:
            requests.RequestException: it does not answer.

        """
        try:
            news = self._since(before.last) if before else None
            newest: Any = None if news else self._ask("/changes?last")
            # Counted after the changes: what comes in between is news the next time, and makes up for no deletion.
            statistics: Any = self._ask("/statistics")
            series = int(statistics["CountSeries"])
            if before and news:
                last, matters, settled = news
                return State(last, series, matters or before.series != series, settled)
            return State(int(newest["Last"]), series)
        except (KeyError, TypeError):
            self._root = ""  # no Orthanc, or one that keeps this to itself
            return None

    def _since(self, last: int) -> tuple[int, bool, frozenset[str]] | None:
        """The number of the last change, whether any since then matters, and which series are complete since then.

        Returns:
            None if there were too many changes to tell, or the database cannot tell their kinds apart, as Debian's
            PostgreSQL plugin 5.0 cannot.

        """
        matters, settled = False, set[str]()
        for _ in range(_MOST_PAGES):
            changes: Any = self._ask(f"/changes?since={last}&limit={_MOST_CHANGES}{self._kinds}")
            if changes is None:
                self._kinds = ""
                return None
            last = int(changes["Last"])
            matters |= not {change["ChangeType"] for change in changes["Changes"]} <= _NOTHING_NEW
            settled |= {change.get("ID", "") for change in changes["Changes"] if change["ChangeType"] == _SETTLED}
            if changes["Done"]:
                return last, matters, frozenset(settled)
        return None

    def series(self) -> set[str] | None:
        """Orthanc's names of all its series; None if it does not tell them."""
        names = self._ask("/series")
        return None if names is None else set(names)

    def describe(self, name: str) -> dict[str, Any]:
        """The main attributes of one series, `IsStable` and `LastUpdate`; empty if it is gone."""
        said = self._ask(f"/series/{name}") or {}
        told = {key: said[key] for key in ("IsStable", "LastUpdate") if key in said}
        return {**said.get("MainDicomTags", {}), **told}

    def find_series(self, uid: str) -> list[dict[str, Any]] | None:
        """What it says of a series: several if it has it under several patients; None if it is no Orthanc."""
        return self._find({"SeriesInstanceUID": uid}, "IsStable", "Metadata", "Children")

    def arrival(self, uid: str) -> str:
        """When the last of a series came, as YYYYMMDDhhmmss; "" if it does not say."""
        found = self.find_series(uid) or [{}]
        return str(found[0].get("Metadata", {}).get("LastUpdate", "")).replace("T", "")

    def find_all(self) -> list[dict[str, Any]] | None:
        """What it says of all series; None if it is no Orthanc."""
        return self._find({}, "IsStable", "Metadata", "MainDicomTags")

    def name(self, uid: str) -> str:
        """Orthanc's name of a series, "" if it has none such; of several patients' the first."""
        return min(
            (str(each["ID"]) for each in self._find({"SeriesInstanceUID": uid}, "MainDicomTags") or []), default=""
        )

    def registers(self, metadata: str) -> bool:
        """Whether series may have metadata of this name, and this login may read it."""
        if not self._root:
            return False
        answer = self._session.get(self.metadata_address(_NO_SERIES, metadata))
        if answer.status_code not in _NOT_HERE:
            answer.raise_for_status()
        return _status(answer) == _UNKNOWN_RESOURCE

    def metadata_address(self, name: str, metadata: str) -> str:
        """Where the metadata of a series is, by Orthanc's name of it."""
        return f"{self._root}/series/{name}/metadata/{metadata}"

    def with_metadata(self, metadata: str, query: dict[str, str]) -> dict[str, tuple[str, str]]:
        """The series with metadata of this name: Orthanc's names of them and the metadata, by UID.

        Args:
            metadata: its name.
            query: DICOM attributes of series that may have it, for a database that does not look for metadata itself.

        Raises:
            requests.RequestException: the server refuses or does not answer.

        """
        found = self._find_having(metadata, query)
        if found is None:  # nothing is not what it says
            raise requests.ConnectionError("the DICOMweb server does not tell of its series now")
        having = (each for each in found if metadata in each["Metadata"])
        return {each["MainDicomTags"]["SeriesInstanceUID"]: (each["ID"], each["Metadata"][metadata]) for each in having}

    def _find_having(self, metadata: str, query: dict[str, str]) -> list[dict[str, Any]] | None:
        content = ("Metadata", "MainDicomTags")
        if self._finds:
            try:
                return self._find({}, *content, MetadataQuery={metadata: "*"})
            except _NotImplemented:
                self._finds = False
        return self._find(query, *content)

    def _find(self, query: dict[str, str], *content: str, **more: Any) -> list[dict[str, Any]] | None:
        question = {"Level": "Series", "Query": query, "Expand": True, "ResponseContent": content, **more}
        found = self._ask("/tools/find", question)
        return found if isinstance(found, list) else None

    def _ask(self, path: str, question: Any = None) -> Any:
        if not self._root:
            return None
        url = self._root + path
        answer = self._session.get(url) if question is None else self._session.post(url, json=question)
        if answer.status_code in _NOT_HERE:
            return None
        if answer.status_code == HTTPStatus.INTERNAL_SERVER_ERROR and _status(answer) == _NOT_IMPLEMENTED:
            raise _NotImplemented(response=answer)
        answer.raise_for_status()
        try:
            return answer.json()
        except requests.JSONDecodeError:
            return None


def _status(answer: requests.Response) -> int | None:
    """Orthanc's own number of what is wrong, None if it does not say."""
    try:
        return int(answer.json()["OrthancStatus"])
    except (requests.JSONDecodeError, KeyError, TypeError, ValueError):
        return None


def name_of(patient_id: str, study_uid: str, series_uid: str) -> str:
    """Orthanc's name of a series; another one where the patient's id is not ASCII."""
    digest = hashlib.sha1(f"{patient_id}|{study_uid}|{series_uid}".encode(), usedforsecurity=False).hexdigest()
    return "-".join(digest[start : start + 8] for start in range(0, 40, 8))


def delete_series(session: requests.Session, dicomweb_url: str, uid: str, permit: str) -> bool:
    """Delete one series.

    Args:
        session: with the login of the DICOMweb server.
        dicomweb_url: of that server.
        uid: of the series.
        permit: what Orthanc demands for it besides the login.

    Returns:
        Whether the series is gone; False if the server is not Orthanc, or does not allow it.

    """
    if not dicomweb_url.rstrip("/").endswith(_DICOMWEB):
        return False
    root = dicomweb_url.rstrip("/").removesuffix(_DICOMWEB)
    found = session.post(f"{root}/tools/lookup", data=uid)
    if not found.ok:
        return False
    headers = {DELETION_HEADER: permit}
    for resource in found.json():
        if resource["Type"] == "Series" and not session.delete(f"{root}{resource['Path']}", headers=headers).ok:
            logger.warning(f"The DICOMweb server keeps {uid}, which was replaced or deleted")
            return False
    return True
