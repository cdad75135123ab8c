"""The label server's session to the DICOMweb server, where that closes a connection it had kept."""

import socket
import threading
from collections.abc import Iterator

import pytest
import requests
from requests.adapters import HTTPAdapter

from label_server.dicomweb.http_session import bounded

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class Closing:
    """Answers the first request on each connection and closes it, without a word, at the second."""

    def __init__(self) -> None:
        self.asked: list[bytes] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}/"
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            connection, _ = self._listener.accept()
            with connection:
                self.asked.append(connection.recv(65536))
                connection.sendall(ANSWER)
                self.asked.append(connection.recv(65536))


@pytest.fixture
def server() -> Closing:
    return Closing()


@pytest.fixture
def session(server: Closing) -> requests.Session:
    """One that has been answered, and keeps the connection."""
    session = bounded(requests.Session())
    assert session.get(server.url).text == "ok"
    return session


@pytest.mark.parametrize(("method", "body"), [("GET", None), ("POST", b"label"), ("POST", "1.2.3"), ("DELETE", None)])
def test_a_request_is_sent_again_where_the_connection_was_closed(server: Closing, session, method: str, body):
    assert session.request(method, server.url, data=body).text == "ok"
    assert len([each for each in server.asked if b" HTTP/1.1" in each]) == 3


def test_what_cannot_be_sent_again_fails(server: Closing, session: requests.Session):
    def pieces() -> Iterator[bytes]:
        yield b"label"

    with pytest.raises(requests.ConnectionError):
        session.post(server.url, data=pieces())


@pytest.mark.parametrize("silent", [False, True], ids=["nothing listens", "nothing is answered"])
def test_a_server_that_is_away_is_asked_once(session: requests.Session, monkeypatch, silent: bool):
    asked: list[str | None] = []
    send = HTTPAdapter.send
    monkeypatch.setattr(HTTPAdapter, "send", lambda *a, **k: asked.append(a[1].url) or send(*a, **k))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/"
        if not silent:
            listener.close()
        with pytest.raises(requests.Timeout if silent else requests.ConnectionError):
            session.get(url, timeout=0.2)
    assert asked == [url]
