"""An Orthanc that keeps what it is sent, and answers as 1.12.7 was seen to."""

import base64
import hashlib
import io
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pydicom

LOGIN = "Basic " + base64.b64encode(b"labelpod:secret").decode()
STUDY_TAGS = ("StudyInstanceUID", "PatientID", "StudyDate", "StudyDescription")
SERIES_TAGS = ("SeriesInstanceUID", "Modality", "SeriesDescription")


class FakeOrthanc(ThreadingHTTPServer):
    """Keeps instances; does not overwrite them."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.files: dict[str, bytes] = {}
        self.posted: list[str] = []
        self.requests: list[str] = []
        self.connections = 0
        self.drops = 0  # so many of the next uploads end in a broken connection
        self.drops_always: bytes = b"\0no file"  # a file that breaks the connection each time
        self.dies_after: int | None = None
        self.lock = threading.Lock()

    def get_request(self):
        self.connections += 1
        return super().get_request()

    def handle_error(self, *_):
        pass

    def store(self, content: bytes) -> tuple[int, dict]:
        try:
            header = pydicom.dcmread(io.BytesIO(content))
        except Exception:
            return 400, {"Message": "Bad file format", "Details": "Cannot parse an invalid DICOM file"}
        if "SeriesInstanceUID" not in header:
            return 404, {"Message": "Inexistent tag"}
        uids = (header.PatientID, header.StudyInstanceUID, header.SeriesInstanceUID, header.SOPInstanceUID)
        key = hashlib.sha1("|".join(uids).encode()).hexdigest()
        status = "AlreadyStored" if key in self.files else "Success"
        self.files.setdefault(key, content)
        return 200, {"ID": key, "Status": status}

    def find(self, question: dict) -> list[dict]:
        headers = {key: pydicom.dcmread(io.BytesIO(content)) for key, content in self.files.items()}
        if question["Level"] == "Instance":
            series = question["Query"]["SeriesInstanceUID"]
            return [self.instance(key, each) for key, each in headers.items() if each.SeriesInstanceUID == series]
        groups: dict[str, list] = {}
        wanted = question["Query"].get("SeriesInstanceUID")
        for each in headers.values():
            if wanted not in (None, each.SeriesInstanceUID):
                continue
            groups.setdefault(each.SeriesInstanceUID, []).append(each)
        return [
            {
                "MainDicomTags": {tag: str(group[0][tag].value) for tag in SERIES_TAGS if tag in group[0]},
                "RequestedTags": {tag: str(group[0][tag].value) for tag in STUDY_TAGS if tag in group[0]}
                | {"NumberOfSeriesRelatedInstances": str(len(group))},
            }
            for group in groups.values()
        ]

    def metadata(self, series: str) -> list[dict]:
        headers = [pydicom.dcmread(io.BytesIO(each), stop_before_pixels=True) for each in self.files.values()]
        return [each.to_json_dict() for each in headers if each.SeriesInstanceUID == series]

    def instance(self, key: str, header) -> dict:
        return {
            "ID": key,
            "MainDicomTags": {"SOPInstanceUID": header.SOPInstanceUID},
            "Attachments": [
                {"ContentType": 1, "UncompressedMD5": hashlib.md5(self.files[key]).hexdigest()},
                {"ContentType": 3, "UncompressedMD5": "of something else"},
            ],
        }


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        self._answer(b"")

    def do_POST(self) -> None:
        self._answer(self.rfile.read(int(self.headers["Content-Length"])))

    def _answer(self, body: bytes) -> None:
        server = self.server
        with server.lock:
            server.requests.append(f"{self.command} {self.path}")
            if server.dies_after is not None and len(server.files) >= server.dies_after:
                server.socket.close()
                return self._hang_up()
            if self.headers["Authorization"] != LOGIN:
                return self._say(401, {})
            if self.path == "/system":
                return self._say(200, {"ApiVersion": 27, "Version": "1.12.7"})
            if self.path == "/tools/find":
                return self._say(200, server.find(json.loads(body)))
            if self.path.endswith("/metadata"):
                return self._say(200, server.metadata(self.path.split("/")[-2]))
            if self.path.endswith("/attachments/dicom/info"):
                content = server.files[self.path.split("/")[2]]
                return self._say(200, {"UncompressedMD5": hashlib.md5(content).hexdigest()})
            if server.drops or body == server.drops_always:
                server.drops -= bool(server.drops)
                return self._hang_up()
            status, answer = server.store(body)
            server.posted.append(answer.get("ID", ""))
            return self._say(status, answer)

    def _hang_up(self) -> None:
        self.close_connection = True

    def _say(self, status: int, answer) -> None:
        content = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_) -> None:
        pass
