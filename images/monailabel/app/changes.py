"""Whether Orthanc's content has changed, asked in milliseconds however much it holds."""

from typing import Any

import requests
from dicomweb_client import DICOMwebClient

_DICOMWEB = "/dicom-web"
_NOT_ORTHANC = (401, 403, 404, 405)

Mark = tuple[int, int]


class Changes:
    """Orthanc's change number, and its number of instances: a deletion takes back the number of what it deletes.

    Args:
        client: of the DICOMweb server, whose other interface is asked as well where it is Orthanc.

    """

    def __init__(self, client: DICOMwebClient) -> None:
        self._session: requests.Session = client._session
        root, dicomweb, rest = str(client.base_url).rstrip("/").rpartition(_DICOMWEB)
        self._root = root if dicomweb and not rest else ""

    def mark(self) -> Mark | None:
        """What is another one after each change; None where the server cannot say.

        Raises:
            requests.RequestException: it does not answer.

        """
        changes = self._ask("/changes?last")
        statistics = self._ask("/statistics") if changes else None
        if not changes or not statistics or "Last" not in changes or "CountInstances" not in statistics:
            self._root = ""  # no Orthanc, or one that keeps this to itself
            return None
        return int(changes["Last"]), int(statistics["CountInstances"])

    def _ask(self, path: str) -> dict[str, Any] | None:
        if not self._root:
            return None
        answer = self._session.get(self._root + path)
        if answer.status_code in _NOT_ORTHANC:
            return None
        answer.raise_for_status()
        try:
            found = answer.json()
        except requests.JSONDecodeError:
            return None
        return found if isinstance(found, dict) else None
