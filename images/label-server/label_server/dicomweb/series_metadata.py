"""Short texts about series, in Orthanc itself, so that all label servers over one Orthanc share them.

Orthanc keeps them as metadata of a name that its settings register, and with `CheckRevisions` it takes a new one only
from who has seen the one that it replaces. Its own interface does it; anything but such an Orthanc keeps none.
"""

import threading
import time
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

import requests
from dicomweb_client import DICOMwebClient

from label_server.dicomweb.orthanc import Orthanc

_REST = 10  # times as long as Orthanc took to tell of all, it is not asked for all again
_PAUSE = 2  # seconds after it did not: who waited for their turn meanwhile need not wait for the same
_LOOK_AGAIN = 60  # seconds after it seemed to keep none: it may have been restarted with other settings since


class SeriesMetadata:
    """The texts of one name, as they were heard last; each change is made to just what was heard.

    Args:
        client: of the DICOMweb server.
        name: of the metadata.
        of: DICOM attributes of the series that may have it.
        max_age: for how many seconds it need not be heard anew.

    """

    def __init__(self, client: DICOMwebClient, name: str, of: Mapping[str, Any], max_age: float = 0) -> None:
        self._orthanc = Orthanc(client)
        self._session: requests.Session = client._session
        self._name = name
        self._of = dict(of)
        self._max_age = max_age
        self._kept = False
        self._look_again = 0.0
        self._problem: requests.RequestException | None = None
        self._known: dict[str, str] = {}
        self._names: dict[str, str] = {}  # Orthanc's, by UID
        self._hear_again = 0.0
        self._lock = threading.RLock()

    def kept(self) -> bool:
        """Whether the server keeps such texts.

        Raises:
            requests.RequestException: it does not answer.

        """
        if not self._kept and time.monotonic() >= self._look_again:
            self._kept = self._orthanc.registers(self._name)
            self._look_again = time.monotonic() + _LOOK_AGAIN
        return self._kept

    def known(self) -> Mapping[str, str]:
        """The texts by series UID, as they were heard last."""
        return self._known

    def hear(self) -> None:
        """Ask for all of them, unless that was done a moment ago.

        Raises:
            requests.RequestException: the server does not answer.

        """
        with self._lock:
            started = time.monotonic()
            if started >= self._hear_again:
                self._problem = self._ask()
                now = time.monotonic()
                again = _PAUSE if self._problem else max(self._max_age, _REST * (now - started))
                self._hear_again = now + again
            if self._problem:
                raise self._problem

    def hear_of(self, uid: str) -> None:
        """Ask for the text of one series, now.

        Raises:
            requests.RequestException: the server refuses or does not answer.

        """
        with self._lock:
            address = self._address(uid) if self.kept() else ""
            self._note(uid, _text(self._session.get(address)) if address else None)

    def _ask(self) -> requests.RequestException | None:
        """Ask for all; what went wrong."""
        try:
            if self.kept():
                found = self._orthanc.with_metadata(self._name, self._of)
                self._known = {uid: text for uid, (_, text) in found.items()}
                self._names |= {uid: name for uid, (name, _) in found.items()}
        except requests.RequestException as problem:
            return problem
        return None

    def replace(self, uid: str, text: str | None) -> bool:
        """Put a text in the place of the one that is known; None removes it.

        Args:
            uid: of a series.
            text: the new one.

        Returns:
            Whether it was done. If not, somebody else was quicker, whose text is known now, or the series is gone.

        Raises:
            requests.RequestException: the server refuses or does not answer.

        """
        with self._lock:
            address = self._address(uid)
            done = bool(address) and self._replace(address, self._known.get(uid), text)
            if not done:
                self._names.pop(uid, None)  # it may have come back under another
            self._note(uid, text if done else _text(self._session.get(address)) if address else None)
            return done

    def _replace(self, address: str, before: str | None, text: str | None) -> bool:
        headers = {}
        if before is not None:
            there = self._session.get(address)
            if _text(there) != before:
                return False
            headers["If-Match"] = there.headers.get("ETag", "")
        if text is None:
            answer = self._session.delete(address, headers=headers) if before is not None else None
        else:
            answer = self._session.put(address, data=text.encode(), headers=headers)
        if answer is not None and answer.status_code not in (HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT):
            answer.raise_for_status()
        return answer is None or answer.ok

    def _note(self, uid: str, text: str | None) -> None:
        others = {each: known for each, known in self._known.items() if each != uid}
        self._known = others | ({} if text is None else {uid: text})

    def _address(self, uid: str) -> str:
        """Where the text of a series is, "" if there is no such series."""
        if uid not in self._names and (name := self._orthanc.name(uid)):
            self._names[uid] = name
        return self._orthanc.metadata_address(self._names[uid], self._name) if uid in self._names else ""


def _text(answer: requests.Response) -> str | None:
    if answer.status_code == HTTPStatus.NOT_FOUND:
        return None
    answer.raise_for_status()
    return answer.content.decode(errors="replace")
