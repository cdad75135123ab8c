"""How long a browser's session lasts, and what is kept of it."""

import json
import stat
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from label_server import users
from label_server.users import User, Users
from label_server.web import browser_sessions
from label_server.web.browser_sessions import BrowserSessions
from labelpod_common import users_file
from tests.support import web
from tests.support.web import TOKENS

ANNA, BERTA = TOKENS["anna"], TOKENS["berta"]


@pytest.fixture
def known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Users:
    monkeypatch.setattr(users, "_LOOK_SECONDS", -1)
    return web.users(tmp_path)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "browser_sessions.json"


def name(user: User | None) -> str:
    return user.name if user else ""


def scope(*cookies: str) -> dict:
    headers = [(b"host", b"testserver"), *((b"cookie", each.encode()) for each in cookies)]
    return {"type": "http", "scheme": "http", "headers": headers}


def test_a_restart_logs_nobody_out(known: Users, file: Path):
    session = BrowserSessions(known, file).begin(ANNA)
    assert name(BrowserSessions(known, file).find(session)) == "anna"


def test_a_session_is_known_to_every_label_server_that_has_the_file(known: Users, file: Path):
    one, other = BrowserSessions(known, file), BrowserSessions(known, file)
    first = one.begin(ANNA)
    assert name(other.find(first)) == "anna"
    second = other.begin(BERTA)
    assert (name(one.find(first)), name(one.find(second))) == ("anna", "berta"), "neither has overwritten the other's"
    one.end(first)
    assert (name(other.find(first)), name(other.find(second))) == ("", "berta")


def test_label_servers_that_begin_sessions_at_once_lose_none(known: Users, file: Path):
    servers = [BrowserSessions(known, file) for _ in range(4)]
    with ThreadPoolExecutor(4) as pool:
        begun = list(pool.map(lambda number: servers[number % 4].begin(ANNA), range(16)))
    assert {name(BrowserSessions(known, file).find(each)) for each in begun} == {"anna"}


def test_a_session_begins_as_the_digest_of_its_token(known: Users):
    """A door takes both to the same label server; it is too short to find a token by."""
    key, dot, rest = BrowserSessions(known).begin(ANNA).partition(".")
    assert (key, dot) == (users_file.digest(ANNA)[:8], ".") and len(rest) == 43


def test_who_reads_the_file_can_log_in_as_nobody(known: Users, file: Path):
    session = BrowserSessions(known, file).begin(ANNA)
    assert session not in file.read_text() and ANNA not in file.read_text()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    (kept,) = json.loads(file.read_text())
    assert BrowserSessions(known, file).find(kept) is None


def test_a_session_ends_with_the_user(known: Users, tmp_path: Path):
    sessions = BrowserSessions(known)
    session = sessions.begin(ANNA)
    (tmp_path / "users.json").write_text(users_file.dump([users_file.entry("berta", "annotator", BERTA)]))
    assert sessions.find(session) is None


def test_a_session_ends_with_the_token(known: Users, tmp_path: Path):
    sessions = BrowserSessions(known)
    session = sessions.begin(ANNA)
    (tmp_path / "users.json").write_text(users_file.dump([users_file.entry("anna", "annotator", "another-token-of-a")]))
    assert sessions.find(session) is None


def test_another_role_counts_at_once(known: Users, tmp_path: Path):
    sessions = BrowserSessions(known)
    session = sessions.begin(ANNA)
    (tmp_path / "users.json").write_text(users_file.dump([users_file.entry("anna", "reviewer", ANNA)]))
    assert sessions.find(session) == User("anna", users.Role.REVIEWER)


def test_a_session_ends_after_half_a_day_however_it_is_used(known: Users, file: Path, monkeypatch: pytest.MonkeyPatch):
    now = [1_000_000.0]
    monkeypatch.setattr(browser_sessions.time, "time", lambda: now[0])
    sessions = BrowserSessions(known, file)
    session = sessions.begin(ANNA)
    for _ in range(11):
        now[0] += 3600
        assert name(sessions.find(session)) == "anna"
    now[0] += 3601
    assert sessions.find(session) is None and BrowserSessions(known, file).find(session) is None
    sessions.begin(ANNA)
    assert len(json.loads(file.read_text())) == 1, "those that have ended are not kept"


def test_of_many_sessions_of_a_user_the_longest_open_make_way(known: Users):
    sessions = BrowserSessions(known)
    of_berta = sessions.begin(BERTA)
    begun = [sessions.begin(ANNA) for _ in range(20)]
    assert [name(sessions.find(each)) for each in begun] == [""] * 4 + ["anna"] * 16
    assert name(sessions.find(of_berta)) == "berta", "nobody else's"


def test_all_sessions_together_are_bounded(known: Users, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(browser_sessions, "_MOST", 3)
    sessions = BrowserSessions(known)
    begun = [sessions.begin(token) for token in (ANNA, BERTA, ANNA, BERTA)]
    assert [name(sessions.find(each)) for each in begun] == ["", "berta", "anna", "berta"]


@pytest.mark.parametrize(
    "content", ["", "no JSON", "[]", '{"x": 1}', '{"x": {"token": "y"}}', '{"x": {"token": "y", "ends": "never"}}']
)
def test_a_file_that_cannot_be_read_logs_everybody_out_and_stops_nothing(known: Users, file: Path, content: str):
    file.write_text(content)
    sessions = BrowserSessions(known, file)
    assert name(sessions.find(sessions.begin(ANNA))) == "anna"


def test_a_clock_that_is_set_back_logs_nobody_out(known: Users, file: Path, monkeypatch: pytest.MonkeyPatch):
    session, now = BrowserSessions(known, file).begin(ANNA), time.time()
    monkeypatch.setattr(browser_sessions.time, "time", lambda: now - 60)
    later = BrowserSessions(known, file)
    later.begin(BERTA)
    assert name(later.find(session)) == "anna"


@pytest.mark.parametrize("ends", ["1e12", "Infinity", "NaN"])
def test_no_file_makes_a_session_last_longer(known: Users, file: Path, ends: str):
    token = users_file.digest(ANNA)
    file.write_text(f'{{"{users_file.digest("x")}": {{"token": "{token}", "ends": {ends}}}}}')
    assert BrowserSessions(known, file).find("x") is None


def test_a_folder_that_cannot_be_written_to_stops_no_login(known: Users, tmp_path: Path):
    sessions = BrowserSessions(known, tmp_path / "nowhere" / "sessions.json")
    assert name(sessions.find(sessions.begin(ANNA))) == "anna"


@given(st.lists(st.text(st.characters(max_codepoint=255, exclude_characters="\r\n\0")), max_size=5))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_cookie_of_others_keeps_a_user_out(known: Users, others: list[str]):
    sessions = BrowserSessions(known)
    own = sessions.begin(ANNA)
    for order in ([*others, f"labelpod-80={own}"], [f"labelpod-80={own}", *others]):
        headers = [(b"host", b"testserver"), (b"cookie", "; ".join(order).encode("latin-1"))]
        assert sessions.of({"type": "http", "scheme": "http", "headers": headers})[0] == own


def test_of_the_sessions_of_two_users_neither_counts(known: Users):
    """A page at another port of this host may set a cookie: nobody is made to label in another's name."""
    sessions = BrowserSessions(known)
    own, foreign = sessions.begin(ANNA), sessions.begin(BERTA)
    assert sessions.of(scope(f"labelpod-80={own}")) == (own, User("anna", users.Role.ANNOTATOR))
    assert sessions.of(scope(f"labelpod-80={foreign}; labelpod-80={own}")) is None
    assert sessions.of(scope(f"labelpod-80=rubbish; labelpod-80={own}"))[0] == own
    assert sessions.of(scope("a=b", f"labelpod-80={own}"))[0] == own, "in two headers"
