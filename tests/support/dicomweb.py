"""A DICOMweb server in the tests' process: as much of Orthanc as the label server uses.

QIDO-RS of studies and series, WADO-RS of series and their metadata, STOW-RS; and of Orthanc's own interface what
says that something changed, what there is, the deletion of a series, and its own metadata of series with revisions.
"""

import hashlib
import json
import re
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
from pydicom import Dataset
from pydicom.datadict import tag_for_keyword

from label_server.dicomweb.orthanc import name_of
from labelpod_common.series_metadata import CONFIRMED, LEASE, REVIEW
from tests.support.ct import Ct, read

_BOUNDARY = "between-two-parts"
_SERIES_KEYS = (
    *("StudyInstanceUID", "SeriesInstanceUID", "Modality", "StudyDate", "StudyTime", "PatientID", "Manufacturer"),
    *("RelatedSeriesSequence", "ContentDate", "ContentTime", "ContentCreatorName"),
)
_STUDY = f"{tag_for_keyword('StudyInstanceUID'):08X}"
_NUMBER = f"{tag_for_keyword('NumberOfSeriesRelatedInstances'):08X}"


@dataclass
class Asked:
    """One request as it came."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes


@dataclass
class Pacs:
    """What the server holds, and how it behaves.

    Args:
        url: of its DICOMweb root.
        series: instances by series UID, each by its own UID.
        asked: every request so far.
        status: that every request is answered with, if it is not 0.
        conflicts: so many questions are answered with 409 first.
        withheld: instances of each series that it lists and does not send.
        keeps: whether it refuses to delete.
        arriving: series that it says are not complete yet.
        twice: series that it has under two patients.
        unsendable: series that it cannot send.
        updates: when something came last, by series; it only rises.
        metadata: Orthanc's own, by series and name: how often it was replaced, and what it is.
        registered: the names that such metadata may have.
        finds_metadata: whether its database looks for it.

    """

    url: str = ""
    series: dict[str, dict[str, bytes]] = field(default_factory=dict)
    asked: list[Asked] = field(default_factory=list)
    status: int = 0
    conflicts: int = 0
    withheld: int = 0
    keeps: bool = False
    arriving: set[str] = field(default_factory=set)
    twice: set[str] = field(default_factory=set)
    unsendable: set[str] = field(default_factory=set)
    updates: dict[str, int] = field(default_factory=dict)
    changes: list[tuple[str, str]] = field(default_factory=list)
    metadata: dict[tuple[str, str], tuple[int, bytes]] = field(default_factory=dict)
    registered: set[str] = field(default_factory=lambda: {LEASE, REVIEW, CONFIRMED})
    finds_metadata: bool = True
    lock: threading.Lock = field(default_factory=threading.Lock)

    def store(self, *series: Ct) -> None:
        for each in series:
            for content in each.files:
                self.take(content)

    def take(self, content: bytes) -> Dataset:
        dataset = read(content)
        uid = str(dataset.SeriesInstanceUID)
        if uid not in self.series:
            self.series[uid] = {}
            self.changes.append(("NewSeries", uid))
        self.series[uid][str(dataset.SOPInstanceUID)] = content
        self.updates[uid] = sum(map(len, self.series.values())) + max(self.updates.values(), default=0)
        self.changes.append(("StableSeries", uid))
        return dataset

    def delete(self, uid: str) -> None:
        del self.series[uid]
        self.metadata = {key: value for key, value in self.metadata.items() if key[0] != uid}

    def said(self, name: str) -> dict[str, str]:
        """Orthanc's metadata of a name, by series."""
        return {uid: text.decode() for (uid, each), (_, text) in self.metadata.items() if each == name}

    def segmentations(self, image_uid: str = "") -> list[Dataset]:
        """The DICOM SEGs that it holds, of one image if it is named."""
        segs = [first for first in map(self.first, list(self.series)) if first.Modality == "SEG"]
        return [seg for seg in segs if image_uid in ("", str(seg.ReferencedSeriesSequence[0].SeriesInstanceUID))]

    def first(self, uid: str) -> Dataset:
        return read(next(iter(self.series[uid].values())))

    def name(self, uid: str) -> str:
        """Orthanc's own name of a series."""
        first = self.first(uid)
        return name_of(str(first.PatientID), str(first.StudyInstanceUID), uid)

    def requests(self, method: str, pattern: str) -> list[Asked]:
        return [each for each in self.asked if each.method == method and re.fullmatch(pattern, each.path)]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # or each answer takes 40 ms
    pacs: Pacs

    def _handle(self) -> None:
        parts = urlsplit(self.path)
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if "chunked" in self.headers.get("Transfer-Encoding", ""):
            body = b"".join(self._chunks())
        query = dict(parse_qsl(parts.query, keep_blank_values=True))
        asked = Asked(self.command, parts.path, query, {k.lower(): v for k, v in self.headers.items()}, body)
        self.pacs.asked.append(asked)
        if self.pacs.status:
            return self._send(self.pacs.status, b"")
        if self.pacs.conflicts and self.command == "GET":
            self.pacs.conflicts -= 1
            return self._send(409, b"")
        for method, pattern, answer in _ROUTES:
            if method == self.command and (found := re.fullmatch(pattern, parts.path)):
                return answer(self, asked, *found.groups())
        return self._send(404, b"")

    do_GET = do_POST = do_PUT = do_DELETE = _handle

    def _chunks(self) -> Iterator[bytes]:
        while size := int(self.rfile.readline(), 16):
            yield self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()

    def _send(self, status: int, body: bytes, kind: str = "application/json", **headers: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _json(self, content: Any) -> None:
        self._send(200, json.dumps(content).encode(), "application/dicom+json")

    def log_message(self, *_: object) -> None:
        pass

    # --- DICOMweb ---

    def list_studies(self, asked: Asked) -> None:
        uids = {str(self.pacs.first(uid).StudyInstanceUID) for uid in self.pacs.series}
        limit = int(asked.query.get("limit", len(uids)))
        self._json(
            [{f"{tag_for_keyword('StudyInstanceUID'):08X}": {"vr": "UI", "Value": [uid]}} for uid in uids][:limit]
        )

    def list_series(self, asked: Asked) -> None:
        wanted = {key: value for key, value in asked.query.items() if key not in ("includefield", "limit", "offset")}
        listed = []
        for uid, instances in list(self.pacs.series.items()):
            first = self.pacs.first(uid)
            if all(str(first.get(key, "")) == value for key, value in wanted.items()):
                shown = Dataset()
                shown.update({element.tag: element for element in first if element.keyword in _SERIES_KEYS})
                entry = shown.to_json_dict() | {_NUMBER: {"vr": "IS", "Value": [len(instances)]}}
                listed.append(entry)
        self._json(listed)

    def list_instances(self, asked: Asked) -> None:
        """By SOPInstanceUID; with no more than Orthanc has at hand."""
        wanted, found = asked.query.get("SOPInstanceUID"), []
        for instances in list(self.pacs.series.values()):
            for dataset in (read(content) for name, content in instances.items() if wanted in (None, name)):
                keys = ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID")
                shown = Dataset()
                shown.update({element.tag: element for element in dataset if element.keyword in keys})
                found.append(shown.to_json_dict())
        self._json(found[: int(asked.query.get("limit", len(found)))])

    def send_series(self, asked: Asked, _study: str, uid: str) -> None:
        instances = list(self.pacs.series.get(uid, {}).values())
        if not instances:
            return self._send(404, b"")
        if uid in self.pacs.unsendable:
            return self._send(500, b"")
        sent = instances[: len(instances) - self.pacs.withheld]
        return self._send(200, *multipart(*sent))

    def send_metadata(self, asked: Asked, _study: str, uid: str) -> None:
        listed = []
        for content in self.pacs.series[uid].values():
            dataset = read(content)
            del dataset.PixelData
            listed.append(dataset.to_json_dict())
        self._json(listed)

    def store(self, asked: Asked, *_: str) -> None:
        (boundary,) = re.findall(r'boundary="?([^";]+)', asked.headers["content-type"])
        references = []
        for part in asked.body.split(b"--" + boundary.encode())[1:-1]:
            dataset = self.pacs.take(part.partition(b"\r\n\r\n")[2].removesuffix(b"\r\n"))
            item = Dataset()
            item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = dataset.SOPClassUID, dataset.SOPInstanceUID
            references.append(item)
        stored = Dataset()
        stored.ReferencedSOPSequence = references
        self._json(stored.to_json_dict())

    # --- Orthanc's own ---

    def statistics(self, asked: Asked) -> None:
        self._json({"CountSeries": len(self.pacs.series)})

    def changes(self, asked: Asked) -> None:
        since = int(asked.query.get("since", len(self.pacs.changes)))
        wanted = asked.query.get("type", "").split(";")
        new = [
            {"ChangeType": kind, "ID": self.pacs.name(uid)}
            for kind, uid in self.pacs.changes[since:]
            if uid in self.pacs.series and (wanted == [""] or kind in wanted)
        ]
        self._json({"Last": len(self.pacs.changes), "Changes": new, "Done": True})

    def names(self, asked: Asked) -> None:
        self._json([self.pacs.name(uid) for uid in list(self.pacs.series)])

    def describe(self, asked: Asked, name: str) -> None:
        for uid in list(self.pacs.series):
            if self.pacs.name(uid) == name:
                tags = {"SeriesInstanceUID": uid, "Modality": str(self.pacs.first(uid).Modality)}
                return self._json({"MainDicomTags": tags, "IsStable": uid not in self.pacs.arriving})
        return self._send(404, b"")

    def find(self, asked: Asked) -> None:
        question = json.loads(asked.body)
        names = question.get("MetadataQuery", {})
        if names.keys() - self.pacs.registered:
            return self._wrong(404, 7)
        if names and not self.pacs.finds_metadata:
            return self._wrong(500, 2)
        series = [uid for uid in list(self.pacs.series) if self._matches(uid, question["Query"])]
        found = [self._found(uid) for uid in (*series, *self.pacs.twice.intersection(series))]
        return self._json([each for each in found if names.keys() <= each["Metadata"].keys()])

    def _matches(self, uid: str, wanted: dict[str, str]) -> bool:
        return all(str(self.pacs.first(uid).get(key, "")) == value for key, value in wanted.items())

    def _found(self, uid: str) -> dict[str, Any]:
        said = {name: text.decode() for (of, name), (_, text) in list(self.pacs.metadata.items()) if of == uid}
        version = {"LastUpdate": f"{self.pacs.updates[uid]:014}"}
        found = {"ID": self.pacs.name(uid), "IsStable": uid not in self.pacs.arriving, "Metadata": version | said}
        return found | {"Instances": list(self.pacs.series[uid]), "MainDicomTags": {"SeriesInstanceUID": uid}}

    def _wrong(self, status: int, number: int) -> None:
        """As Orthanc says what is wrong."""
        self._send(status, json.dumps({"HttpStatus": status, "OrthancStatus": number}).encode())

    def one_metadata(self, asked: Asked, series: str, name: str) -> None:
        """Read it, or replace or remove it as with `CheckRevisions`."""
        uid = next((uid for uid in list(self.pacs.series) if self.pacs.name(uid) == series), "")
        if not uid or name not in self.pacs.registered:
            return self._wrong(404, 17 if name in self.pacs.registered else 7)
        with self.pacs.lock:
            revision, text = self.pacs.metadata.get((uid, name), (-1, b""))
            if revision < 0 and asked.method != "PUT":
                return self._send(404, b"")
            if revision >= 0 and asked.method != "GET" and asked.headers.get("if-match") != _etag(revision, text):
                return self._wrong(409, 37)
            if asked.method == "PUT":
                revision, text = revision + 1, asked.body
                self.pacs.metadata[uid, name] = (revision, text)
            if asked.method == "DELETE":
                del self.pacs.metadata[uid, name]
        return self._send(200, text if asked.method == "GET" else b"", "text/plain", ETag=_etag(revision, text))

    def look_up(self, asked: Asked) -> None:
        uid = asked.body.decode()
        found = [{"Type": "Series", "Path": f"/series/{self.pacs.name(uid)}"}] if uid in self.pacs.series else []
        self._json(found)

    def remove(self, asked: Asked, name: str) -> None:
        if self.pacs.keeps:
            return self._send(403, b"")
        for uid in list(self.pacs.series):
            if self.pacs.name(uid) == name:
                self.pacs.delete(uid)
        return self._json({})


_WEB = "/dicom-web"
_ROUTES: tuple[tuple[str, str, Callable[..., None]], ...] = (
    ("GET", f"{_WEB}/studies", _Handler.list_studies),
    ("GET", f"{_WEB}/series", _Handler.list_series),
    ("GET", f"{_WEB}/instances", _Handler.list_instances),
    ("GET", f"{_WEB}/studies/([0-9.]+)/series/([0-9.]+)", _Handler.send_series),
    ("GET", f"{_WEB}/studies/([0-9.]+)/series/([0-9.]+)/metadata", _Handler.send_metadata),
    ("POST", f"{_WEB}/studies(?:/([0-9.]+))?", _Handler.store),
    ("GET", "/statistics", _Handler.statistics),
    ("GET", "/changes", _Handler.changes),
    ("GET", "/series", _Handler.names),
    ("GET", "/series/([0-9a-f-]+)", _Handler.describe),
    ("DELETE", "/series/([0-9a-f-]+)", _Handler.remove),
    *(
        (method, "/series/([0-9a-f-]+)/metadata/([a-z-]+)", _Handler.one_metadata)
        for method in ("GET", "PUT", "DELETE")
    ),
    ("POST", "/tools/lookup", _Handler.look_up),
    ("POST", "/tools/find", _Handler.find),
)


def _etag(revision: int, text: bytes) -> str:
    return f'"{revision}-{hashlib.md5(text, usedforsecurity=False).hexdigest()}"'


def multipart(*instances: bytes) -> tuple[bytes, str]:
    """The body that carries these instances, and its type."""
    head = f"--{_BOUNDARY}\r\nContent-Type: application/dicom\r\n\r\n".encode()
    body = b"".join(head + each + b"\r\n" for each in instances) + f"--{_BOUNDARY}--\r\n".encode()
    return body, f'multipart/related; type="application/dicom"; boundary={_BOUNDARY}'


def log_in(patch: pytest.MonkeyPatch, folder: Path, user: str, password: str) -> None:
    """Give the label server this login, as start_server does."""
    file = folder / "dicomweb_password"
    file.write_text(password)
    patch.setenv("DICOMWEB_USERNAME", user)
    patch.setenv("DICOMWEB_PASSWORD_FILE", str(file))


def serve() -> Iterator[Pacs]:
    """Serve an empty one on a port of its own; for a fixture."""
    pacs = Pacs()
    handler = type("Handler", (_Handler,), {"pacs": pacs})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    pacs.url = f"http://127.0.0.1:{server.server_port}{_WEB}"
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield pacs
    server.shutdown()
    server.server_close()
