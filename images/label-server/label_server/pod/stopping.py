"""The ways in which a rented pod stops itself, one after the other, until one of them has an effect."""

import json
import logging
import os
import subprocess
from collections.abc import Callable, Mapping
from time import sleep
from typing import Any

import requests

from label_server.pod.bounded import Question

logger = logging.getLogger("watchdog")

_GRAPHQL = "https://api.runpod.io/graphql"
_REST = "https://api.runpod.io/v2"
_MUTATION = "mutation($id: String!) { podStop(input: {podId: $id}) { id } }"
_OWNERS_KEY, _PODS_KEY = "RUNPOD_STOP_API_KEY", "RUNPOD_API_KEY"
_CALL_SECONDS = 30
# Connecting, and an answer that comes in drips.
_WAY_SECONDS = 90
# A pod that stops takes us with it; if we are still there after that, what was accepted was not done.
_EFFECT_SECONDS = 60
_LONGEST_ANSWER, _LONGEST_REASON = 100_000, 200
CANNOT = "THE POD CANNOT STOP ITSELF AND GOES ON COSTING: stop it with `python3 deploy.py runpod stop`"


class NotStopped(Exception):
    """Why a call did not stop the pod."""


def stop(pod_id: str) -> None:
    """Stop this pod. Whoever comes back from here was not stopped: each failure has been said.

    REST is what RunPod keeps, with a key of the owner's if there is one; the command in the pod is of several versions,
    whose words are in different order; GraphQL takes the pod's own key, and ends in 2027.
    """
    ways: list[tuple[str, Callable[[], None]]] = [
        ("REST stop", lambda: _rest(pod_id)),
        ("runpodctl stop pod", lambda: _runpodctl("stop", "pod", pod_id)),
        ("runpodctl pod stop", lambda: _runpodctl("pod", "stop", pod_id)),
        ("GraphQL podStop", lambda: _graphql(pod_id)),
    ]
    for name, way in ways:
        try:
            Question(way).answer(_WAY_SECONDS)
        except Exception as problem:
            logger.warning(f"{name} does not stop the pod: {_reason(problem)}")
            continue
        logger.info(f"{name} has been accepted")
        sleep(_EFFECT_SECONDS)
        logger.warning(f"{name} was accepted, and the pod still runs after {_EFFECT_SECONDS:g} s")
    logger.error(CANNOT)


def _reason(problem: Exception) -> str:
    """What the log may say: RunPod's API shows it, and no key is for whoever reads that.

    A library's own words may quote a header, so that only the kind of such an error is told.
    """
    text = str(problem) if isinstance(problem, NotStopped | TimeoutError) else type(problem).__name__
    for key in filter(None, map(_key, (_OWNERS_KEY, _PODS_KEY))):  # an answer or a program may repeat it
        text = text.replace(key, "***")
    return text[:_LONGEST_REASON]


def _key(name: str) -> str:
    """A key of the environment, without the line break of one that was pasted."""
    return os.environ.get(name, "").strip()


def _rest(pod_id: str) -> None:
    key = _key(_OWNERS_KEY) or _key(_PODS_KEY)
    base = os.environ.get("RUNPOD_REST_URL") or _REST
    told = _post(f"{base}/pods/{pod_id}/action", key, {"action": "stop"})
    if isinstance(told, dict) and told.get("errors"):
        raise NotStopped(_shown(told["errors"]))


def _graphql(pod_id: str) -> None:
    body = {"query": _MUTATION, "variables": {"id": pod_id}}
    told = _post(os.environ.get("RUNPOD_GRAPHQL_URL") or _GRAPHQL, _key(_PODS_KEY), body)
    done = isinstance(told, dict) and not told.get("errors") and isinstance(told.get("data"), dict)
    if not done or not told["data"].get("podStop"):
        raise NotStopped(_shown(told.get("errors") or told if isinstance(told, dict) else told))


def _post(url: str, key: str, body: Mapping[str, object]) -> Any:
    """The answer's JSON; None if it is none."""
    if not key:
        raise NotStopped("there is no key")
    if not (key.isascii() and key.isprintable() and " " not in key):
        raise NotStopped("the key has letters that no key has")
    headers = {"Authorization": f"Bearer {key}", "User-Agent": "labelpod-watchdog"}
    with requests.Session() as session:
        session.trust_env = False  # no login of a file that others may write
        answer = session.post(
            url, json=body, headers=headers, timeout=_CALL_SECONDS, stream=True, allow_redirects=False
        )
        if not 200 <= answer.status_code < 300:
            raise NotStopped(f"it answers {answer.status_code}")
        text = answer.raw.read(_LONGEST_ANSWER, decode_content=True)
    try:
        return json.loads(text)
    except ValueError:
        return None


def _shown(told: object) -> str:
    """The reason in an answer of whatever shape."""
    first = told[0] if isinstance(told, list) and told else told
    message = first.get("message", first) if isinstance(first, dict) else first
    return f"it answers {message}"


def _runpodctl(*words: str) -> None:
    result = subprocess.run(["runpodctl", *words], capture_output=True, text=True, timeout=_CALL_SECONDS, check=False)
    if result.returncode != 0:
        said = (result.stderr or result.stdout).strip().splitlines()
        raise NotStopped(said[-1] if said else f"exit code {result.returncode}")
