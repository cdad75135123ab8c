"""By which way a rented pod stops itself, and what it says if none works."""

import logging

import pytest

from label_server.pod import bounded, stopping
from tests.unit.conftest import Programs

KEY = "the-key-of-the-pod"
REST, GRAPHQL = "/v2/pods/pod1/action", "/graphql"
WAYS = [REST, "stop pod pod1", "pod stop pod1", GRAPHQL]


class Stopped(Exception):
    """The pod has ended, and we with it."""


@pytest.fixture
def api(web, monkeypatch: pytest.MonkeyPatch):
    """RunPod's two APIs, both of which refuse."""
    web.pages[GRAPHQL] = web.answer(200, b'{"errors": [{"message": "Not allowed"}]}')
    web.pages[REST] = web.answer(403, b"<html>")
    monkeypatch.setenv("RUNPOD_GRAPHQL_URL", f"{web.url}{GRAPHQL}")
    monkeypatch.setenv("RUNPOD_REST_URL", f"{web.url}/v2")
    monkeypatch.setenv("RUNPOD_API_KEY", KEY)
    return web


@pytest.fixture(autouse=True)
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """How long it waited for an effect."""
    slept: list[float] = []
    monkeypatch.setattr(stopping, "sleep", slept.append)
    return slept


@pytest.fixture
def effect(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is accepted is done."""

    def ends(_: float) -> None:
        raise Stopped

    monkeypatch.setattr(stopping, "sleep", ends)


def ways(api, programs: Programs) -> list[str]:
    """Each way that was tried; those over the network first."""
    return [path for path, _ in api.asked] + programs.calls("runpodctl")


def test_the_way_that_stays_is_tried_first_and_the_first_that_works_is_the_last(api, programs: Programs, effect: None):
    programs.add("runpodctl")
    api.pages[REST] = api.answer(200, b'{"id": "pod1", "status": "EXITED"}')
    with pytest.raises(Stopped):
        stopping.stop("pod1")
    assert ways(api, programs) == [REST]
    headers = api.asked[0][1]
    assert headers["Authorization"] == f"Bearer {KEY}" and headers["User-Agent"] == "labelpod-watchdog"


def test_each_way_follows_the_one_that_is_refused(api, programs: Programs, effect: None):
    programs.add("runpodctl", '[ "$1" = pod ]')
    with pytest.raises(Stopped):
        stopping.stop("pod1")
    assert ways(api, programs) == [REST, "stop pod pod1", "pod stop pod1"]


def test_what_is_accepted_without_an_effect_is_followed_by_the_next_way(api, programs: Programs, waits, caplog):
    programs.add("runpodctl")
    api.pages[REST] = api.answer(200, b"{}")
    api.pages[GRAPHQL] = api.answer(200, b'{"data": {"podStop": {"id": "pod1"}}}')
    stopping.stop("pod1")
    assert sorted(ways(api, programs)) == sorted(WAYS) and waits == [60] * 4
    assert sum("the pod still runs" in said for said in caplog.messages) == 4
    assert caplog.messages[-1] == stopping.CANNOT


def test_the_owners_key_is_for_rest(api, programs: Programs, monkeypatch: pytest.MonkeyPatch):
    programs.add("runpodctl", "exit 1")
    monkeypatch.setenv("RUNPOD_STOP_API_KEY", "the-owners")
    stopping.stop("pod1")
    assert [headers["Authorization"] for _, headers in api.asked] == ["Bearer the-owners", f"Bearer {KEY}"]


@pytest.mark.parametrize("times", [1, 3])
def test_it_is_loud_each_time_when_no_way_works_and_says_no_key(api, programs: Programs, caplog, times: int):
    programs.add("runpodctl", 'echo "unknown command" >&2; exit 1')
    with caplog.at_level(logging.INFO):
        for _ in range(times):
            stopping.stop("pod1")
    said = caplog.messages
    assert [record.levelname for record in caplog.records] == (["WARNING"] * 4 + ["ERROR"]) * times
    assert "403" in said[0] and "unknown command" in said[1] and "Not allowed" in said[3]
    assert said.count(stopping.CANNOT) == times
    assert KEY not in caplog.text + str(ways(api, programs))


@pytest.mark.parametrize(
    "body",
    [
        b'{"errors": []}',
        b'{"errors": "no"}',
        b'{"errors": {"message": "no"}}',
        b'{"errors": [null]}',
        b'{"errors": ["no"], "data": {"podStop": {"id": "pod1"}}}',
        b'{"data": null}',
        b'{"data": {"podStop": null}}',
        b'{"data": []}',
        b"[]",
        b"null",
        b"3",
        b"",
        b"<html>",
        b"\xff\xfe",
        b"[" * 100_000,
        b'{"errors": "' + b"x" * 1_000_000 + b'"}',
    ],
    ids=range(16),
)
def test_an_answer_of_whatever_shape_is_no_success_and_no_end(api, programs: Programs, caplog, body: bytes):
    programs.add("runpodctl", "exit 1")
    api.pages[GRAPHQL] = api.answer(200, body)
    stopping.stop("pod1")
    assert "GraphQL podStop does not stop the pod" in caplog.text and caplog.messages[-1] == stopping.CANNOT
    assert max(map(len, caplog.messages)) < 400


@pytest.mark.parametrize("status", [302, 400, 401, 409, 500, 503])
def test_what_is_not_done_is_not_accepted(api, programs: Programs, caplog, status: int):
    programs.add("runpodctl", "exit 1")
    api.pages[REST] = api.answer(status, b"{}")
    stopping.stop("pod1")
    assert f"REST stop does not stop the pod: it answers {status}" in caplog.text


def test_a_way_that_hangs_is_left_for_the_next(api, programs: Programs, monkeypatch: pytest.MonkeyPatch, caplog):
    monkeypatch.setattr(stopping, "_WAY_SECONDS", 0.3)
    programs.add("runpodctl", "exit 1")
    api.pages[REST] = api.hang(b"{")
    stopping.stop("pod1")
    assert "REST stop does not stop the pod: no answer within 0.3 s" in caplog.text
    assert GRAPHQL in ways(api, programs)


def test_a_service_that_cannot_be_reached_is_no_end(api, programs: Programs, monkeypatch, effect: None):
    programs.add("runpodctl")
    monkeypatch.setenv("RUNPOD_REST_URL", "http://127.0.0.1:9/v2")
    with pytest.raises(Stopped):
        stopping.stop("pod1")
    assert ways(api, programs) == ["stop pod pod1"]


# --- what the log must not say ---

SECRET = "rpa_SECRET"


@pytest.mark.parametrize("around", ["{}\n", " {}\r\n", "{}"], ids=["line", "blanks", "plain"])
def test_a_pasted_key_is_taken_without_what_stands_around_it(api, programs: Programs, monkeypatch, around: str):
    programs.add("runpodctl", "exit 1")
    monkeypatch.setenv("RUNPOD_STOP_API_KEY", around.format(SECRET))
    stopping.stop("pod1")
    assert api.asked[0][1]["Authorization"] == f"Bearer {SECRET}"


@pytest.mark.parametrize("key", [f"{SECRET}\nx", f"a\r{SECRET}", f"{SECRET}\u20ac", f"{SECRET} x"], ids=range(4))
def test_a_key_that_is_none_is_not_sent_and_not_logged(api, programs: Programs, monkeypatch, caplog, key: str):
    programs.add("runpodctl", "exit 1")
    monkeypatch.setenv("RUNPOD_STOP_API_KEY", key)
    stopping.stop("pod1")
    assert "REST stop does not stop the pod: the key has letters that no key has" in caplog.text
    assert SECRET not in caplog.text and [path for path, _ in api.asked] == [GRAPHQL]


def test_an_error_that_is_not_ours_is_told_by_its_kind(api, programs: Programs, monkeypatch, caplog):
    def broken(*_: object, **__: object) -> None:
        raise ValueError(f"bad header value: 'Bearer {KEY}'")

    programs.add("runpodctl", "exit 1")
    monkeypatch.setattr(stopping.requests.Session, "post", broken)
    stopping.stop("pod1")
    assert "REST stop does not stop the pod: ValueError" in caplog.text and KEY not in caplog.text


def test_an_answer_that_repeats_the_key_does_not_bring_it_into_the_log(api, programs: Programs, monkeypatch, caplog):
    programs.add("runpodctl", f'echo "no: $RUNPOD_API_KEY {SECRET}" >&2; exit 1')
    monkeypatch.setenv("RUNPOD_STOP_API_KEY", SECRET)
    api.pages[REST] = api.answer(200, f'{{"errors": "{"x" * 195}{SECRET}"}}'.encode())
    api.pages[GRAPHQL] = api.answer(200, f'{{"errors": "no {KEY}"}}'.encode())
    stopping.stop("pod1")
    assert SECRET[:5] not in caplog.text and KEY not in caplog.text and "no: " in caplog.text


# --- without threads ---


def test_without_a_thread_each_way_is_tried_all_the_same(api, programs: Programs, monkeypatch, caplog):
    def none(_: object) -> None:
        raise RuntimeError("can't start new thread")

    programs.add("runpodctl", "exit 1")
    monkeypatch.setattr(bounded.Thread, "start", none)
    question = bounded.Question(lambda: 7)
    assert [question.answer(1), question.answer(1)] == [7, 7]
    with pytest.raises(ZeroDivisionError):
        bounded.Question(lambda: 1 / 0).answer(1)
    ways = [stopping._rest, stopping._graphql]
    asked: list[str] = []
    for way in ways:
        monkeypatch.setattr(stopping, way.__name__, asked.append)
    stopping.stop("pod1")
    assert asked == ["pod1", "pod1"] and len(programs.calls("runpodctl")) == 2
