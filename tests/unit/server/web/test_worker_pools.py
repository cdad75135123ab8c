"""Pools of threads with a bounded queue."""

import asyncio
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from starlette.responses import PlainTextResponse

from label_server import users
from label_server.web import worker_pools
from label_server.web.worker_pools import Busy, WorkerPool
from tests.support.ct import Ct
from tests.support.waiting import eventually
from tests.support.web import Server


def run(pool: WorkerPool, *functions: Callable[..., Any]) -> list[Any]:
    async def together() -> list[Any]:
        return await asyncio.gather(*(pool.run(each, {}) for each in functions), return_exceptions=True)

    return asyncio.run(together())


def test_an_answer_is_made_of_what_an_endpoint_returns():
    async def coroutine() -> dict[str, int]:
        return {"a": 1}

    plain, coro, response = run(
        WorkerPool(2, 2), lambda: {"a": 1}, lambda: coroutine(), lambda: PlainTextResponse("text")
    )
    assert plain.body == coro.body == b'{"a":1}' and response.body == b"text"


def test_as_many_work_as_may_and_as_many_wait():
    at_once, most, lock = 0, 0, threading.Lock()

    def work() -> str:
        nonlocal at_once, most
        with lock:
            at_once += 1
            most = max(most, at_once)
        time.sleep(0.02)
        with lock:
            at_once -= 1
        return "done"

    answers = run(WorkerPool(2, 3), *[work] * 7)
    assert [type(each) for each in answers].count(Busy) == 2 and most <= 2


def test_there_is_room_again_after_failures():
    pool = WorkerPool(1, 0)

    def fail() -> None:
        raise ValueError("no")

    assert [type(run(pool, fail)[0]) for _ in range(3)] == [ValueError] * 3
    assert run(pool, lambda: 1)[0].body == b"1"


def of(user: str, pool: WorkerPool, function: Callable[[], Any]) -> Any:
    """The call of a function as a user."""

    async def call() -> Any:
        users.current.set(users.User(user, users.Role.ANNOTATOR))
        return await pool.call(function)

    return asyncio.create_task(call())


def test_users_take_turns():
    """Whoever has asked ten times waits behind whoever asks once."""
    pool, order = WorkerPool(1, 100), []

    async def together() -> None:
        many = [of("anna", pool, lambda: (time.sleep(0.01), order.append("anna"))) for _ in range(10)]
        await asyncio.sleep(0.005)
        one = of("berta", pool, lambda: order.append("berta"))
        await asyncio.gather(*many, one)

    asyncio.run(together())
    assert order.index("berta") <= 2 and len(order) == 11


def test_a_user_has_a_share_of_the_queue_only():
    pool, go = WorkerPool(1, 4, 2), threading.Event()

    async def together() -> list[Any]:
        tasks = [of("anna", pool, go.wait) for _ in range(5)] + [of("berta", pool, go.wait) for _ in range(2)]
        await asyncio.sleep(0.05)
        go.set()
        return await asyncio.gather(*tasks, return_exceptions=True)

    answers = asyncio.run(together())
    assert [isinstance(each, Busy) for each in answers] == [False, False, False, True, True, False, False]


def test_one_user_never_has_all_workers():
    pool, go, begun = WorkerPool(2, 10), threading.Event(), []

    async def together() -> None:
        tasks = [of("anna", pool, lambda: (begun.append("anna"), go.wait(5))) for _ in range(3)]
        await asyncio.sleep(0.05)
        tasks.append(of("berta", pool, lambda: begun.append("berta")))
        await asyncio.sleep(0.05)
        assert begun == ["anna", "berta"]
        go.set()
        await asyncio.gather(*tasks)

    asyncio.run(together())
    assert begun.count("anna") == 3


def test_who_gives_up_waiting_leaves_room():
    pool, go = WorkerPool(1, 1), threading.Event()

    async def together() -> None:
        first, second = of("anna", pool, go.wait), of("anna", pool, go.wait)
        await asyncio.sleep(0.05)
        second.cancel()
        await asyncio.sleep(0.01)
        third = of("berta", pool, lambda: "done")
        await asyncio.sleep(0.01)
        go.set()
        assert await third == "done" and await first
        assert pool._here == 0 and pool._working.total() == 0 and not pool._waiting

    asyncio.run(together())


def test_an_endpoint_that_waits_is_a_fault():
    async def waits() -> None:
        await asyncio.sleep(0)

    (answer,) = run(WorkerPool(1, 1), waits)
    assert isinstance(answer, RuntimeError) and "waits for something" in str(answer)


def test_a_thread_knows_whose_request_it_works_for(server: Server, label_app, monkeypatch: pytest.MonkeyPatch):
    seen: list[tuple[str, str]] = []

    def info() -> dict[str, Any]:
        seen.append((users.current.get().name, threading.current_thread().name))
        return {}

    monkeypatch.setattr(label_app, "info", info)
    server.ask("GET", "/info/", "rita")
    ((name, thread),) = seen
    assert name == "rita" and "AnyIO worker thread" in thread


def test_inferences_take_turns_and_too_many_are_turned_away(server: Server, image: Ct, label_app, monkeypatch):
    monkeypatch.setattr(worker_pools.inference, "_most", 3)
    server.image(image.uid)
    turn, entered, go = threading.Semaphore(1), threading.Event(), threading.Event()
    alone: list[bool] = []

    def slow(self: Any, request: dict[str, Any]) -> tuple[None, dict[str, Any]]:
        alone.append(turn.acquire(blocking=False))
        entered.set()
        go.wait(5)
        turn.release()
        return None, {}

    monkeypatch.setattr(type(label_app._infers["threshold"]), "__call__", slow)
    with ThreadPoolExecutor(3) as pool:
        asked = [pool.submit(server.ask, "POST", f"/infer/threshold?image={image.uid}", "anna") for _ in range(3)]
        assert entered.wait(5)
        eventually(lambda: worker_pools.inference._here == 3, 5, "two wait")
        full = server.ask("POST", f"/infer/threshold?image={image.uid}", "berta")
        others = server.ask("GET", "/train/", "anna")
        time.sleep(0.05)  # in which another could begin
        go.set()
        assert [each.result().status_code for each in asked] == [200] * 3
    assert full.status_code == 503 and full.headers["retry-after"] == "5"
    assert others.status_code == 404, "what is no inference is answered meanwhile"
    assert alone == [True] * 3
