"""The queue of inferences: what it tells, and that clients who go away leave it."""

import asyncio
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import uvicorn

from label_server import users
from label_server.web import worker_pools
from label_server.web.gateway import Gateway
from label_server.web.server import PatientProtocol
from label_server.web.worker_pools import WorkerPool
from tests.support import web
from tests.support.ct import Ct
from tests.support.waiting import eventually
from tests.support.web import TOKENS, Server


class Slow:
    """A model that works until it is told to stop; counts who came."""

    def __init__(self) -> None:
        self.begun = 0
        self.go = threading.Event()

    def __call__(self, request: dict[str, Any]) -> tuple[None, dict[str, Any]]:
        self.begun += 1
        self.go.wait(10)
        return None, {}


@pytest.fixture
def slow(label_app: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Slow]:
    model = Slow()
    monkeypatch.setattr(type(label_app._infers["threshold"]), "__call__", lambda _, request: model(request))
    yield model
    model.go.set()


@pytest.fixture
def port(label_app: Any, image: Ct, slow: Slow, tmp_path: Path) -> Iterator[int]:
    """Of a server with real sockets."""
    config = uvicorn.Config(
        Gateway(web.application(), web.users(tmp_path), False), port=0, http=PatientProtocol, log_config=None
    )
    running = uvicorn.Server(config)
    thread = threading.Thread(target=running.run)
    thread.start()
    eventually(lambda: running.started, 20, "it listens")
    yield running.servers[0].sockets[0].getsockname()[1]
    slow.go.set()
    running.should_exit = True
    thread.join(20)


def asked(port: int, user: str, request: str) -> socket.socket:
    """A connection on which something was asked."""
    connection = socket.create_connection(("127.0.0.1", port))
    head = f"{request} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {TOKENS[user]}\r\nContent-Length: 0\r\n\r\n"
    connection.sendall(head.encode())
    return connection


def state(**numbers: int | None) -> Callable[[], bool]:
    return lambda: worker_pools.inference.queue("anna") == numbers


# --- what it tells ---


def told(pool: WorkerPool, *askers: str) -> list[dict[str, int | None]]:
    """The queue as anna, berta and carl see it, while one works and these wait."""

    async def call(user: str) -> None:
        users.current.set(users.User(user, users.Role.ANNOTATOR))
        await pool.call(go.wait, 10)

    async def together() -> list[dict[str, int | None]]:
        tasks = [asyncio.create_task(call(user)) for user in askers]
        await asyncio.sleep(0.05)
        seen = [pool.queue(user) for user in ("anna", "berta", "carl")]
        go.set()
        await asyncio.gather(*tasks)
        assert pool.queue("anna") == {"working": 0, "waiting": 0, "mine": None}
        return seen

    go = threading.Event()
    return asyncio.run(together())


def test_a_place_is_that_in_the_fair_order():
    """Berta's first comes before anna's second, and carl's before anna's third."""
    seen = told(WorkerPool(1, 10), "anna", "anna", "anna", "berta", "berta", "carl")
    assert [each["mine"] for each in seen] == [1, 2, 3]
    assert {(each["working"], each["waiting"]) for each in seen} == {(1, 5)}


def test_whoever_works_and_waits_for_nothing_has_no_place():
    assert [each["mine"] for each in told(WorkerPool(1, 10), "anna", "berta")] == [None, 1, None]


def test_the_queue_is_told_to_everybody_and_is_in_no_record(server: Server, tmp_path: Path):
    answer = server.ask("GET", "/infer/queue", "anna")
    assert answer.status_code == 200 and answer.json() == {"working": 0, "waiting": 0, "mine": None}
    assert not [file for file in tmp_path.rglob("*.jsonl") if "queue" in file.read_text() or "ask" in file.read_text()]


# --- who goes away ---


def test_who_goes_away_while_they_wait_leaves_the_queue_at_once(port: int, image: Ct, slow: Slow):
    infer = f"POST /infer/threshold?image={image.uid}"
    first = asked(port, "anna", infer)
    eventually(lambda: slow.begun == 1, 10, "the first works")
    second = asked(port, "anna", infer)
    eventually(state(working=1, waiting=1, mine=1), 10, "the second waits")
    second.close()
    eventually(state(working=1, waiting=0, mine=None), 5, "it has left")
    slow.go.set()
    assert b"200 OK" in first.recv(1000), "nobody else is sent away"
    assert slow.begun == 1, "and it was never run"


def test_who_goes_away_while_theirs_works_keeps_the_worker_until_it_is_done(port: int, image: Ct, slow: Slow):
    infer = f"POST /infer/threshold?image={image.uid}"
    first = asked(port, "anna", infer)
    eventually(lambda: slow.begun == 1, 10, "the first works")
    second = asked(port, "berta", infer)
    eventually(state(working=1, waiting=1, mine=None), 10, "the second waits")
    first.close()
    second.settimeout(0.3)
    with pytest.raises(TimeoutError):
        second.recv(1)
    assert slow.begun == 1 and state(working=1, waiting=1, mine=None)(), "one device, one inference"
    slow.go.set()
    second.settimeout(10)
    assert b"200 OK" in second.recv(1000)
    eventually(state(working=0, waiting=0, mine=None), 5, "all is done")


def test_a_save_goes_on_without_its_client(server: Server, image: Ct, monkeypatch: pytest.MonkeyPatch):
    """What was sent whole is not lost because the line broke: only inferences are watched."""
    seen: list[Any] = []
    run = WorkerPool.run

    async def noted(self: WorkerPool, endpoint: Any, arguments: Any, left: Any) -> Any:
        seen.append(left)
        return await run(self, endpoint, arguments, left)

    monkeypatch.setattr(WorkerPool, "run", noted)
    assert server.ask("GET", f"/datastore/image?image={image.uid}", "anna").status_code == 200
    assert server.submit(image.uid, web.sitk.GetArrayFromImage(server.image(image.uid)) * 0).status_code == 200
    assert seen and set(seen) == {None}
