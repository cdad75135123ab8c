"""Limits on headers, bodies and requests at once; each small here, so that it can be met."""

import asyncio
from collections.abc import Iterator
from types import SimpleNamespace

import pytest
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.testclient import TestClient

from label_server.web.middleware import Refusals
from label_server.web.rate_limits import BodyLimit, Concurrency, HeaderLimit


async def count(scope, receive, send) -> None:
    body = await Request(scope, receive).body()
    await PlainTextResponse(str(len(body)))(scope, receive, send)


def client(app) -> TestClient:
    return TestClient(Refusals(app))


def pieces(*sizes: int) -> Iterator[bytes]:
    for size in sizes:
        yield bytes(size)


# --- headers ---


async def total(scope, receive, send) -> None:
    length = sum(len(key) + len(value) + 4 for key, value in scope["headers"])
    await PlainTextResponse(str(length))(scope, receive, send)


def test_headers_may_be_so_long_and_no_longer():
    length = int(client(HeaderLimit(total)).get("/").text)
    assert client(HeaderLimit(total, most=length)).get("/").status_code == 200
    answer = client(HeaderLimit(total, most=length - 1)).get("/")
    assert answer.status_code == 431 and answer.headers["connection"] == "close"


@pytest.mark.parametrize(("length", "status"), [("100", 200), ("101", 413), ("-1", 413), ("1e9", 413), ("", 413)])
def test_a_body_may_say_that_it_is_so_long(length: str, status: int):
    asking = client(HeaderLimit(PlainTextResponse("ok"), most_body=100))
    assert asking.post("/", headers={"Content-Length": length}, content=b"").status_code == status


# --- bodies ---


@pytest.mark.parametrize(("sizes", "status"), [((60, 40), 200), ((60, 41), 413), ((101,), 413), ((0,), 200)])
def test_a_body_may_be_so_long_whatever_it_says(sizes: tuple[int, ...], status: int):
    """Sent in pieces, without a length."""
    answer = client(BodyLimit(count, most=100)).post("/", content=pieces(*sizes))
    assert answer.status_code == status
    assert answer.text == str(sum(sizes)) if status == 200 else answer.headers["connection"] == "close"


def test_a_body_that_does_not_come_is_given_up():
    async def never() -> dict:
        await asyncio.sleep(30)
        raise AssertionError

    async def read() -> None:
        taken = BodyLimit(count, seconds=0.01)
        await taken({"type": "http", "method": "PUT", "headers": []}, never, None)

    with pytest.raises(HTTPException) as refused:
        asyncio.run(read())
    assert refused.value.status_code == 408 and refused.value.headers == {"Connection": "close"}


def test_a_pause_after_the_whole_body_is_no_slowness():
    """What comes then is the end of the connection: an inference may take minutes."""
    messages = iter([{"type": "http.request", "body": b"x", "more_body": False}])

    async def receive() -> dict:
        for message in messages:
            return message
        await asyncio.sleep(0.05)
        return {"type": "http.disconnect"}

    async def read() -> list[str]:
        got: list[str] = []

        async def inner(scope, receive, send) -> None:
            got.extend([(await receive())["type"], (await receive())["type"]])

        await BodyLimit(inner, seconds=0.01)({"type": "http", "headers": []}, receive, None)
        return got

    assert asyncio.run(read()) == ["http.request", "http.disconnect"]


UPLOAD = {"Content-Type": "multipart/form-data; boundary=x"}


@pytest.mark.parametrize("headers", [{}, {"Content-Type": "application/json"}, {"Content-Type": "text/plain"}])
def test_what_is_no_upload_is_short(headers: dict[str, str]):
    """JSON is read as a whole, while nobody else is answered."""
    asking = client(BodyLimit(count, most=1000, most_plain=100))
    for content in (bytes(101), pieces(60, 41)):
        assert asking.post("/", content=content, headers=headers).status_code == 413
    assert asking.post("/", content=pieces(60, 40), headers=headers).status_code == 200
    assert asking.post("/", content=pieces(600, 400), headers=UPLOAD).status_code == 200


def uploading(limit: BodyLimit, *users: str) -> list[int]:
    """How uploads end of which one byte is here, and then as much as may come."""

    async def one(name: str, all_begun: asyncio.Barrier) -> int:
        messages = iter([b"x", bytes(limit._most - 1)])

        async def receive() -> dict:
            body = next(messages)
            if body != b"x":
                await all_begun.wait()
            return {"type": "http.request", "body": body, "more_body": body == b"x"}

        async def inner(scope, receive, send) -> None:
            await receive()
            await receive()
            await asyncio.sleep(0.02)

        limit._app = inner
        scope = {"type": "http", "user": SimpleNamespace(name=name)}
        try:
            await limit(scope | {"headers": [(b"content-type", b"multipart/form-data")]}, receive, None)
        except HTTPException as refused:
            return refused.status_code
        return 200

    async def together() -> list[int]:
        barrier = asyncio.Barrier(len(users))
        return await asyncio.gather(*(one(name, barrier) for name in users))

    return asyncio.run(together())


def test_what_one_user_uploads_at_once_is_bounded_and_so_is_what_all_do():
    limit = BodyLimit(count, most=100)
    assert sorted(uploading(limit, "anna", "anna")) == [200, 429]
    assert 429 in uploading(limit, "anna", "berta", "rita")
    assert uploading(limit, "anna") == [200] and limit._here.total() == 0, "what was given up is forgotten"


def test_an_upload_must_not_drip_for_ever():
    async def drip() -> dict:
        await asyncio.sleep(0.01)
        return {"type": "http.request", "body": b"x", "more_body": True}

    async def read() -> None:
        headers = [(b"content-type", b"multipart/form-data")]
        await BodyLimit(count, grace=0.1, slowest=10_000)({"type": "http", "headers": headers}, drip, None)

    with pytest.raises(HTTPException) as refused:
        asyncio.run(asyncio.wait_for(read(), 5))
    assert refused.value.status_code == 408


# --- requests at once ---


class Held:
    """An application behind the limit, whose answers wait until they may go; all in one loop."""

    def __init__(self, most: int, waiting: int = 1, seconds: float = 0.2) -> None:
        self.limit = Concurrency(self, most, waiting, seconds)
        self.go = asyncio.Event()
        self.entered: list[str] = []

    async def __call__(self, scope, receive, send) -> None:
        self.entered.append(scope["user"].name)
        await self.go.wait()

    def ask(self, name: str) -> asyncio.Task[None]:
        return asyncio.create_task(self.limit({"user": SimpleNamespace(name=name)}, None, None))


async def refused(request: asyncio.Task[None]) -> bool:
    """Whether it ends with 429."""
    try:
        await asyncio.wait_for(request, 5)
    except HTTPException as error:
        return error.status_code == 429 and error.headers == {"Retry-After": "2"}
    return False


def test_a_user_has_only_so_many_requests_at_once():
    async def several() -> None:
        held = Held(most=2)
        first = [held.ask("anna"), held.ask("anna")]
        assert await refused(held.ask("anna")), "it waited in vain"
        other = held.ask("berta")
        await asyncio.sleep(0)
        assert held.entered == ["anna", "anna", "berta"], "another user has room"
        held.go.set()
        await asyncio.gather(*first, other)
        assert not await refused(held.ask("anna"))
        assert not held.limit._here and not held.limit._room

    asyncio.run(several())


def test_a_request_too_many_waits_for_its_turn():
    """The browser's next one may come before the last one is done with: no slice of a CT is missing for that."""

    async def burst() -> None:
        held = Held(most=2, waiting=2, seconds=60)
        asked = [held.ask("anna") for _ in range(6)]
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert held.entered == ["anna"] * 2
        assert await refused(held.ask("anna")), "more than may wait"
        held.go.set()
        await asyncio.wait_for(asyncio.gather(*asked), 5)
        assert len(held.entered) == 6 and not held.limit._here

    asyncio.run(burst())


def test_a_request_that_fails_is_counted_no_more():
    async def fail(scope, receive, send) -> None:
        raise HTTPException(400)

    async def twice() -> list[int]:
        limit, statuses = Concurrency(fail, most=1, seconds=0.1), []
        for _ in range(2):
            with pytest.raises(HTTPException) as refused:
                await limit({"user": SimpleNamespace(name="anna")}, None, None)
            statuses.append(refused.value.status_code)
        return statuses

    assert asyncio.run(twice()) == [400, 400]
