"""RunPod's REST API v2: the operations that labelpod uses, and errors that say what to do.

Only fields of the schema of 2026-08-18 are sent, because the API refuses unknown ones; unknown fields of answers are
ignored. What is not safe to repeat is not repeated: a create whose answer is lost may have been done.
"""

import json
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any
from urllib.parse import quote

import httpx

from labelpod.errors import DeployError
from labelpod.runpod import bounded, plain_json, whole
from labelpod_common import __version__

Json = dict[str, Any]

_ATTEMPTS = 4
_LONGEST_WAIT = 60.0
_LONGEST_BODY = 100_000
_MOST_PAGES = 50
# What RunPod says, with 400 or 500, if no GPU is free; whatever else it says with them means something else.
_NO_GPU = ("not enough free gpus", "no longer any instances")
_STATUS_PAGE = "https://uptime.runpod.io says whether RunPod has a problem; try the same command later"
# HTTP status -> what was wrong, and what to do.
_MEANING = {
    400: ("RunPod cannot do that: {}", "`python3 deploy.py runpod status` shows what there is"),
    401: (
        "RunPod does not know the API key: {}",
        "LABELPOD_RUNPOD_API_KEY in .env: a key from RunPod's console, Settings",
    ),
    402: ("the RunPod account has no balance: {}", "add credit in RunPod's console, Billing"),
    403: ("RunPod does not allow it: {}", "give the API key the permission, or choose another GPU or cloud"),
    404: ("RunPod does not know it: {}", "`python3 deploy.py runpod status` shows what there is"),
    409: ("RunPod cannot do that now: {}", "wait a minute and try again"),
    410: ("RunPod has retired this API: {}", "update labelpod"),
    413: ("the request is too long for RunPod: {}", "make the settings shorter"),
    422: ("RunPod does not understand the request: {}", "this is a fault of labelpod; --verbose shows where"),
    429: ("RunPod asks for fewer requests: {}", "wait a minute and try again"),
}


class RunPodError(DeployError):
    """RunPod said no.

    Args:
        status: of HTTP.
        detail: its own words.

    """

    def __init__(self, status: int, detail: str) -> None:
        message, remedy = _MEANING.get(status, ("RunPod has a problem: {}", _STATUS_PAGE))
        super().__init__(message.format(detail or f"HTTP {status}"), remedy)
        self.status = status
        self.detail = detail


class NoGpuError(RunPodError):
    """No GPU is free: of the kind that was asked for, or on the host of a stopped pod. Nothing was done."""


class UnansweredError(DeployError):
    """RunPod did not answer."""


class LostAnswerError(UnansweredError):
    """The request was sent, and whether it was carried out is not known."""

    def __init__(self, method: str, path: str) -> None:
        super().__init__(f"RunPod did not answer to {method} {path}; it may have been done", _STATUS_PAGE)


def may_pass(error: DeployError) -> bool:
    """Whether the same request may be answered otherwise in a while."""
    if isinstance(error, RunPodError):
        return not isinstance(error, NoGpuError) and (error.status in (409, 429) or error.status >= 500)
    return isinstance(error, UnansweredError)


class Client:
    """The API with one account's key.

    Args:
        key: goes into a header and nowhere else.
        base_url: without the version.
        dry_run: called with each request that would change something, instead of sending it.

    """

    def __init__(self, key: str, base_url: str, dry_run: Callable[[str], None] | None = None) -> None:
        self._dry_run = dry_run
        self._http = bounded.client(
            base_url=f"{base_url.rstrip('/')}/v2",
            # Without a name of its own a client is turned away by what stands before the API.
            headers={"Authorization": f"Bearer {key}", "User-Agent": f"labelpod/{__version__}"},
            timeout=httpx.Timeout(30, connect=10),
        )

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    def list_templates(self) -> list[Json]:
        """The account's templates."""
        return [whole.template(each) for each in self._list("/templates", "templates")]

    def create_template(self, body: Json) -> Json:
        """Make a template."""
        return self._post("/templates", body)

    def update_template(self, template_id: str, changes: Json) -> Json:
        """Change these fields of a template, each as a whole."""
        return self._ask("PATCH", f"/templates/{_in_path(template_id)}", changes)

    def list_pods(self) -> list[Json]:
        """The account's pods, stopped ones too."""
        return [whole.pod(each) for each in self._list("/pods", "pods")]

    def get_pod(self, pod_id: str) -> Json:
        """One pod."""
        return whole.pod(self._ask("GET", f"/pods/{_in_path(pod_id)}") | {"id": pod_id})

    def create_pod(self, body: Json) -> Json:
        """Rent a pod."""
        return whole.pod(self._make("/pods", body, ("name",)))

    def pod_action(self, pod_id: str, action: str) -> Json:
        """Do one of the pod's `actions`."""
        return self._post(f"/pods/{_in_path(pod_id)}/action", {"action": action})

    def delete_pod(self, pod_id: str) -> None:
        """End a pod; its network volume stays."""
        self._ask("DELETE", f"/pods/{_in_path(pod_id)}")

    def get_pod_logs(
        self, pod_id: str, source: str, tail: int, seconds: float | None, since: str | None = None
    ) -> Iterator[str]:
        """Lines of a pod's log, `system` or `container`, as they come; RunPod holds the connection open.

        Args:
            pod_id: the pod.
            source: which log.
            tail: how many lines of the past.
            seconds: how long to read, whether lines come or not; None: for ever.
            since: when the first line was written, as RunPod says it; None: `tail` lines ago.

        """
        query = {"source": source, **({"since": since} if since else {"tail": str(tail)})}
        timeout = httpx.Timeout(seconds, connect=10)
        path = f"/pods/{_in_path(pod_id)}/logs"
        try:
            with self._http.stream("GET", path, params=query, timeout=timeout, extensions=bounded.STREAM) as answer:
                if answer.status_code != httpx.codes.OK:
                    bounded.answer(answer)
                    bounded.within(answer.read, answer.request)
                    raise _refusal(answer)
                for line in bounded.lines(answer.iter_bytes(), seconds):
                    if text := _log_line(line, since):
                        yield text
        except httpx.HTTPError:  # silence, or the stream was cut
            return

    def list_gpu_types(self, **query: str) -> list[Json]:
        """The catalogue of GPUs."""
        return self._list("/catalog/gpus", "gpus", query)

    def list_network_volumes(self) -> list[Json]:
        """The account's network volumes."""
        return [whole.volume(each) for each in self._list("/network-volumes", "networkVolumes")]

    def create_network_volume(self, body: Json) -> Json:
        """Rent a network volume."""
        return whole.volume(self._make("/network-volumes", body, ("name", "size", "dataCenter")))

    def delete_network_volume(self, volume_id: str) -> None:
        """Delete a network volume and all that is on it."""
        self._ask("DELETE", f"/network-volumes/{_in_path(volume_id)}")

    def list_pod_billing(self, **query: str) -> Json:
        """What pods have cost, in buckets of time."""
        return self._ask("GET", "/billing/pods", query=query)

    def list_network_volume_billing(self, **query: str) -> Json:
        """What network volumes have cost, in buckets of time."""
        return self._ask("GET", "/billing/network-volumes", query=query)

    def _list(self, path: str, name: str, query: dict[str, str] | None = None) -> list[Json]:
        """All pages of a list; the schema knows none, the service may have some."""
        found: list[Json] = []
        asked = dict(query or {})
        for _ in range(_MOST_PAGES):
            page = self._ask("GET", path, query=asked)
            entries = whole.entries(page.get(name))
            if entries is None:  # an empty list would say that there is nothing
                raise UnansweredError("RunPod's answer cannot be read", _STATUS_PAGE)
            found += entries
            pagination = page.get("pagination")
            cursor = pagination.get("nextCursor") if isinstance(pagination, dict) else None
            if not cursor or cursor == asked.get("cursor"):
                return found
            asked["cursor"] = str(cursor)
        # What it holds is not known: a pod may be among what was not read.
        raise DeployError(f"RunPod's list {path} has no end: {_MOST_PAGES} pages were read", _STATUS_PAGE)

    def _make(self, path: str, body: Json, fields: tuple[str, ...]) -> Json:
        """What was made; of the fields that the answer leaves out, as it was ordered."""
        made = whole.made(self._post(path, body), {field: body[field] for field in fields})
        if made is None:
            raise LostAnswerError("POST", path)
        return made

    def _post(self, path: str, body: Json) -> Json:
        return self._ask("POST", path, body)

    def _ask(self, method: str, path: str, body: Json | None = None, query: dict[str, str] | None = None) -> Json:
        if self._dry_run and method != "GET":
            self._dry_run(f"{method} /v2{path} {json.dumps(body, indent=2) if body else ''}".rstrip())
            return {"id": "DRY-RUN", **(body or {})}
        if body is not None and len(json.dumps(body)) > _LONGEST_BODY:
            raise RunPodError(413, f"{len(json.dumps(body))} bytes")
        for attempt in range(1, _ATTEMPTS + 1):
            answer = self._send(method, path, body, query, last=attempt == _ATTEMPTS)
            if answer is not None and not _again(method, answer.status_code):
                break
            if answer is not None and attempt == _ATTEMPTS:
                break
            time.sleep(_pause(answer, attempt))
        assert answer is not None  # the last attempt raises instead  # noqa: S101
        if not answer.is_success:
            refusal = _refusal(answer)
            lost = method == "POST" and answer.is_server_error and not isinstance(refusal, NoGpuError)
            raise LostAnswerError(method, path) if lost else refusal
        try:
            return _json(answer)
        except (ValueError, TypeError):
            if method == "POST":
                raise LostAnswerError(method, path) from None
            raise UnansweredError("RunPod's answer cannot be read", _STATUS_PAGE) from None

    def _send(
        self, method: str, path: str, body: Json | None, query: dict[str, str] | None, last: bool
    ) -> httpx.Response | None:
        """The answer; None if none came and the request may be sent again."""
        try:
            return self._http.request(method, path, json=body, params=query)
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:  # nothing was sent
            if last:
                raise UnansweredError(f"RunPod cannot be reached: {error}", "check the network connection") from None
        except httpx.HTTPError:
            if method == "POST":
                raise LostAnswerError(method, path) from None
            if last:
                raise UnansweredError(f"RunPod does not answer to {method} {path}", _STATUS_PAGE) from None
        return None


def _again(method: str, status: int) -> bool:
    return status == httpx.codes.TOO_MANY_REQUESTS or (method != "POST" and status >= 500)


def _pause(answer: httpx.Response | None, attempt: int) -> float:
    """Seconds until the next attempt: as RunPod asks, else longer each time."""
    asked = answer.headers.get("Retry-After", "") if answer is not None else ""
    return min(float(asked), _LONGEST_WAIT) if asked.isdecimal() else float(2**attempt)


def _refusal(answer: httpx.Response) -> RunPodError:
    try:
        problem = answer.json()
        parts = [str(problem.get("detail") or problem.get("title") or ""), *map(str, problem.get("errors") or [])]
        said = "; ".join(filter(None, parts))
        no_gpu = answer.status_code in (400, 500) and any(words in said.lower() for words in _NO_GPU)
        return (NoGpuError if no_gpu else RunPodError)(answer.status_code, said)
    except (ValueError, AttributeError):  # a page for people, from what stands before the API
        return RunPodError(answer.status_code, f"HTTP {answer.status_code} without a reason")


def _json(answer: httpx.Response) -> Json:
    return dict(plain_json.parse(answer.content)) if answer.content else {}


def _log_line(line: str, since: str | None) -> str:
    """The text of a server-sent event; "" for its other lines, and for what is older than was asked for."""
    if not line.startswith("data:"):
        return ""
    try:
        told = json.loads(line.removeprefix("data:"))
        text = str(told["line"]).rstrip()
    except (ValueError, KeyError, TypeError):
        return ""
    try:
        old = since and datetime.fromisoformat(told["ts"]) < datetime.fromisoformat(since)
    except (ValueError, KeyError, TypeError):  # it does not say when
        old = False
    return "" if old else text


def _in_path(name: str) -> str:
    return quote(name, safe="")
