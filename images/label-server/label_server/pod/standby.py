"""Answers in a rented pod until the studies can be reached through the tunnel, and then makes room for the server.

Light on imports: it answers a second after the pod has started.
"""

import json
import os
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

from label_server import users
from label_server.dicomweb import login, probe
from label_server.pod import state

_LOOK_SECONDS = 1
WAITS = "The label server waits for its DICOMweb server: `python3 deploy.py runpod connect` leads to it"


class Waiting(BaseHTTPRequestHandler):
    """Tells who has a token what the server waits for; `known` are the users."""

    known: users.Users
    server_version, sys_version = "labelpod", ""

    def do_GET(self) -> None:
        """Answer any request."""
        if self.path == "/healthz":
            return self._send(200, {"detail": "alive"})
        if not self.known.find(self._token()):
            return self._send(401, {"detail": "Not authorised"})
        return self._send(503, {"detail": WAITS, "stops_at": state.stops_at()})

    do_POST = do_PUT = do_DELETE = do_GET

    def _token(self) -> str:
        given = self.headers.get("Authorization", "")
        return given.removeprefix("Bearer ") if given.startswith("Bearer ") else self.path.split("/")[1]

    def _send(self, status: int, answer: dict[str, str | None]) -> None:
        payload = json.dumps(answer).encode()
        headers = {"Content-Type": "application/json", "Content-Length": str(len(payload))}
        headers |= {"Retry-After": "5"} if status == 503 else {}
        self.send_response(status)
        for name, value in {**headers, "Connection": "close"}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(payload)

    def log_message(self, *_: object) -> None:
        """Say nothing: a path may hold a token."""


def main() -> None:
    """Answer until the DICOMweb server accepts the login, which may still come."""
    Waiting.known = users.from_environment()
    server = ThreadingHTTPServer((os.environ["LISTEN"], 8000), Waiting)
    server.daemon_threads = True
    Thread(target=server.serve_forever, daemon=True).start()
    url, said = os.environ["STUDIES"].rstrip("/"), ""
    while problem := probe.problem(url, *_login(), 10):
        if problem != said:
            print(f"start_server: waiting for the DICOMweb server {url}: {problem}", flush=True)
            said = problem
        time.sleep(_LOOK_SECONDS)
    server.shutdown()
    server.server_close()


def _login() -> tuple[str, str]:
    return state.login() or login.read()


if __name__ == "__main__":
    main()
