"""What a DICOMweb server holds of one series now: whether all of it has come, and a version that tells it from others.

Orthanc says whether something came lately, and when the last of it came. Of any other server it is looked at which
instances a series has, and for how long it has had just these.
"""

import hashlib
import json
import math
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from dicomweb_client import DICOMwebClient

from label_server.dicomweb.orthanc import Orthanc
from label_server.dicomweb.series import ImageSeries
from label_server.errors import Refused

_MOST_REMEMBERED = 100_000


@dataclass(frozen=True)
class Content:
    """Of one series: a version that changes whenever an instance comes, goes or is another; whether it is complete."""

    version: str
    complete: bool


class Contents:
    """Looks at series.

    Args:
        client: of the DICOMweb server.
        orthanc: its other interface.
        look_up: what the lists of the server say of a series now.
        quiet: after how many seconds without news a series is complete, where the server does not say it.

    """

    def __init__(
        self, client: DICOMwebClient, orthanc: Orthanc, look_up: Callable[[str], ImageSeries | None], quiet: float
    ) -> None:
        self._client = client
        self._orthanc = orthanc
        self._look_up = look_up
        self._quiet = quiet
        self._since: dict[str, tuple[str, float]] = {}
        self._lock = threading.Lock()

    def of(self, uid: str) -> Content | None:
        """What is there now; None if nothing is.

        Raises:
            requests.RequestException: the server does not answer.
            Refused: it has the series twice.

        """
        found = self._orthanc.find_series(uid)
        if found is None:
            return self._by_instances(uid)
        if len(found) > 1:
            raise Refused(f"the DICOMweb server has the series {uid} under {len(found)} patients or studies")
        return next((Content(_digest(_identity(each)), not self.arrives(each)) for each in found), None)

    def arriving(self, images: Iterable[ImageSeries]) -> set[str]:
        """Which of the images are not complete yet."""
        found = self._orthanc.find_all()
        if found is not None:
            return {each["MainDicomTags"]["SeriesInstanceUID"] for each in found if self.arrives(each)}
        said = ((each.uid, each.attributes["NumberOfSeriesRelatedInstances"]) for each in images)
        return {uid for uid, number in said if not self._is_quiet(f"{uid} in lists", number)}

    def arrives(self, found: Mapping[str, Any]) -> bool:
        """Whether more of a series may come, by what Orthanc says of it.

        It calls unstable what has come to itself since it was started; what came before, or to another Orthanc over the
        same database, can be told by its time only, whose clock may be ahead of ours.
        """
        return found.get("IsStable") is False or abs(_age(found)) < self._quiet

    def _by_instances(self, uid: str) -> Content | None:
        series = self._look_up(uid)
        if series is None:
            return None
        listed = self._client.search_for_instances(series.study_uid, uid, fields=["SOPInstanceUID"])
        instances = sorted(each["00080018"]["Value"][0] for each in listed)
        version = _digest([series.attributes["PatientID"], instances])
        return Content(version, self._is_quiet(uid, version)) if instances else None

    def _is_quiet(self, key: str, version: str) -> bool:
        """Whether this has been so for a while; what was never seen before may have been so for long."""
        now = time.monotonic()
        with self._lock:
            before, since = self._since.pop(key, (version, now - self._quiet))
            self._since[key] = (version, since if before == version else now)
            while len(self._since) > _MOST_REMEMBERED:
                del self._since[next(iter(self._since))]
            return now - self._since[key][1] >= self._quiet


def _identity(found: dict[str, Any]) -> Any:
    return [found.get("ID"), sorted(found.get("Instances", [])), found.get("Metadata", {}).get("LastUpdate")]


def _age(found: Mapping[str, Any]) -> float:
    """For how many seconds nothing of a series has come, by Orthanc's clock and ours; infinite if nothing is said."""
    said = found.get("LastUpdate") or found.get("Metadata", {}).get("LastUpdate", "")
    try:
        return time.time() - datetime.strptime(said, "%Y%m%dT%H%M%S").replace(tzinfo=UTC).timestamp()
    except ValueError:
        return math.inf


def _digest(content: Any) -> str:
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()
