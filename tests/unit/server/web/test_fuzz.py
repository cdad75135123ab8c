"""Texts and bytes of any kind in each part of a request: the check returns or refuses, and what passes can be sent."""

import json
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.exceptions import HTTPException

from label_server import users
from label_server.datastore import label_values
from label_server.datastore.label_values import LabelError
from label_server.errors import Refused
from label_server.users import Role, User
from label_server.web import endpoint_checks, inference_parameters, request_validation, token_auth
from label_server.web.browser_sessions import BrowserSessions
from labelpod_common import labels
from tests.support import web
from tests.support.attacks import HOSTILE
from tests.support.mutations import brief

_KEYS = st.sampled_from(["label_info", "foreground", "roi", "label_tag", "name", "idx", "a", "segmentationMeta", "%2e"])
_NUMBERS = st.integers() | st.floats() | st.sampled_from([2**63, 10**400, float("nan"), float("inf")])
_TEXTS = st.text(max_size=5) | st.sampled_from([*HOSTILE, "\ud800", "x" * 5000, "nodule1"])
_LABELS = st.lists(st.fixed_dictionaries({"name": _TEXTS}, optional={"idx": _NUMBERS}), max_size=3)
_JSON = st.recursive(
    st.none() | st.booleans() | _NUMBERS | _TEXTS | _LABELS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_KEYS | _TEXTS, inner, max_size=3),
    max_leaves=12,
)
_OBJECTS = st.dictionaries(_KEYS, _JSON, max_size=4).map(json.dumps)


@pytest.fixture
def models(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """An app of one model and one trainer; a reviewer asks."""
    offered = {"a": 1, "b": True, "c": "x", "d": ["p", "q"], "e": 0.5}
    task = SimpleNamespace(config=lambda: offered, labels={"nodule1": 1})
    store = SimpleNamespace(get_label_info=lambda image, tag: {})
    app = SimpleNamespace(_infers={"m": task}, _trainers={"m": task}, datastore=lambda: store)
    for module in (endpoint_checks, inference_parameters):
        monkeypatch.setattr(module, "app_instance", lambda: app)
    asking = users.current.set(User("rita", Role.REVIEWER))
    yield
    users.current.reset(asking)


@pytest.mark.parametrize("key", ["params", "info"])
def test_any_json_is_refused_or_can_be_kept_and_sent(key: str):
    @brief
    @given(_OBJECTS | st.text(max_size=30))
    def check(text: str) -> None:
        try:
            request_validation.arguments({key: text})
        except Refused:
            return
        assert json.dumps(json.loads(text or "{}"), allow_nan=False, ensure_ascii=False).encode()

    check()


@pytest.mark.usefixtures("models")
@pytest.mark.parametrize("check", [endpoint_checks.inference, endpoint_checks.save, endpoint_checks.batch])
def test_any_parameters_are_refused_or_fit(check: Any):
    list_ = labels.parse("nodule1:1,nodule2:1")

    @brief
    @given(_OBJECTS)
    def checked(text: str) -> None:
        sent = json.loads(text) if check is endpoint_checks.batch else text
        asked = {"params": sent, "image": "1.2", "model": "m"}
        try:
            request_validation.arguments(asked)
            check(asked)
            if check is endpoint_checks.save:
                label_values.names_by_value(json.loads(asked["params"]).get("label_info"), list_)
        except (Refused, HTTPException, LabelError):
            pass

    checked()


@brief
@given(st.binary(max_size=40), st.sampled_from([b"/", b"%2e", b"%252e", b"\\", b"..", b"%00", b"\xff", b""]))
def test_any_path_and_query_are_refused_or_mean_what_they_say(content: bytes, piece: bytes):
    raw = (content + piece + content).decode("latin-1")
    for check in (request_validation.path, request_validation.query):
        try:
            check(raw)
        except Refused:
            continue
        assert "/../" not in raw


_BYTES = st.binary(max_size=40) | st.sampled_from([b"labelpod-80=x", b"__Host-labelpod=;=", b'other={"a":1}', b";=;"])


@brief
@given(*[_BYTES] * 6)
def test_any_cookies_and_headers_show_nobody(path, cookie, host, login, origin, proto):
    headers = {"cookie": cookie, "host": host, "authorization": login, "origin": origin, "x-forwarded-proto": proto}
    raw = [(name.encode(), value) for name, value in headers.items()]
    scope = {"type": "http", "method": "POST", "scheme": "http", "raw_path": b"/" + path, "path": "/", "headers": raw}
    known = _known()
    assert token_auth.identify(scope, known, BrowserSessions(known), False) is None


def _known() -> Any:
    """Users of a file that is not there, and one whose token nobody has."""
    return SimpleNamespace(all=lambda: {"0" * 64: User("admin", Role.ADMIN)}, find=lambda token: None)


def test_the_token_of_a_user_shows_them_all_the_same(tmp_path):
    known = web.users(tmp_path)
    scope = {"type": "http", "method": "GET", "scheme": "http", "path": "/", "headers": [(b"cookie", b"\xff=;")]}
    scope["raw_path"] = f"/{web.TOKENS['anna']}/info".encode()
    entry = token_auth.identify(scope, known, BrowserSessions(known), False)
    assert entry is not None and entry.user.name == "anna"
