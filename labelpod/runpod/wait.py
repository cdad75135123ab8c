"""Waiting for a pod. RunPod's RUNNING says nothing: it is ready when the label server answers to the token."""

import re
import time
from collections.abc import Callable

import httpx

from labelpod.config.settings import Settings
from labelpod.console import progress, say
from labelpod.errors import DeployError
from labelpod.runpod import bounded, pods, ssh
from labelpod.runpod.client import Client, RunPodError, may_pass
from labelpod.runpod.tokens import Tokens
from labelpod_common.users_file import ADMIN

_POLL_SECONDS = 10
_LOG_SECONDS = 5
# What a host's log says -> what it means. Waiting does not help with any of it, and the pod costs meanwhile.
_HOPELESS = {
    r"toomanyrequests": (
        "the registry allows no more pulls",
        "set LABELPOD_RUNPOD_REGISTRY to a login, or another registry",
    ),
    r"manifest unknown|not found: manifest": ("the image is not in the registry", "python3 deploy.py runpod publish"),
    r"unauthorized|pull access denied|denied: ": (
        "the image cannot be pulled without a login",
        "make it public, or set LABELPOD_RUNPOD_REGISTRY to the credential of RunPod's",
    ),
    r"no space left": ("the host's disk is full", "`python3 deploy.py runpod launch` again, on another host"),
    r"unsatisfied condition: cuda|requirement error": (
        "the host's driver is too old for the image",
        "`python3 deploy.py runpod launch` again, on another host",
    ),
    r"cannot be mapped to a host ID": ("the host cannot unpack the image", "build the image again, then publish"),
}
_ENDED = {"EXITED", "ERROR", "TERMINATED"}
_MOST_RESTARTS = 3
# Ports may come after the rest. Without this one a pod is of no use: the studies come through it.
_PORT_SECONDS = 60
_NO_PORT = (
    "its host gives it no SSH port (22/tcp), as those without a public address do",
    "`python3 deploy.py runpod launch` again, on another host, without --community",
)
_STARTED = re.compile(r"start container")
_LOG_LINES = 100


class NotReadyError(DeployError):
    """The pod did not become ready; it is still there, and costs."""


def wait(client: Client, values: Settings, pod: pods.Pod, minutes: float, answers: Callable[[str], bool]) -> pods.Pod:
    """Wait until the label server in a pod answers.

    Args:
        client: the API.
        values: the settings.
        pod: as it was rented or found.
        minutes: how long at most.
        answers: whether the label server at a URL lets us in.

    Returns:
        The pod.

    Raises:
        NotReadyError: it ended, cannot start, or took too long; the pod is kept.

    """
    deadline = time.monotonic() + minutes * 60
    pod_id, known = pod["id"], False
    restarts, uptime, answered = 0, 0.0, 0.0
    with progress(f"Pod {pod_id} starts") as bar:
        while True:
            pod, trouble = _looked(client, pod, known)
            known = known or not trouble
            if pod["status"] in _ENDED:
                said = _said(client, pod_id)
                raise _not_ready(pod, f"it is {pod['status']}: {said[-1] if said else 'it does not say why'}")
            runtime = pod.get("runtime") or {}
            if runtime and answers(pods.url(pod, values)):
                if ssh.port(pod):
                    if not pods.cost(pod):
                        say(f"RunPod does not say what pod {pod_id} costs: see its console")
                    return pod
                answered = answered or time.monotonic()
                if time.monotonic() - answered > _PORT_SECONDS:
                    raise _not_ready(pod, *_NO_PORT)
            restarts += runtime.get("uptime", uptime) < uptime
            uptime = runtime.get("uptime", uptime)
            if restarts >= _MOST_RESTARTS:
                raise _not_ready(pod, "it starts over and over; `python3 deploy.py runpod logs` says why")
            said = _said(client, pod_id)
            if hopeless := _hopeless(said):
                raise _not_ready(pod, *hopeless)
            bar.update(bar.task_ids[0], description=f"Pod {pod_id} starts: {said[-1] if said else pod['status']}")
            if time.monotonic() > deadline:
                raise _not_ready(pod, trouble or f"no answer after {minutes:g} minutes")
            time.sleep(_POLL_SECONDS)


def lets_in(token: str) -> Callable[[str], bool]:
    """Asks a label server with the pod's token; "I wait for the studies" is an answer, too."""
    client = bounded.client(headers=_login(token), timeout=15)

    def answers(url: str) -> bool:
        try:
            answer = client.get(f"{url.rstrip('/')}/info/")
        except httpx.HTTPError:
            return False
        waits = answer.status_code == httpx.codes.SERVICE_UNAVAILABLE and "Retry-After" in answer.headers
        return answer.headers.get("content-type", "").startswith("application/json") and (answer.is_success or waits)

    return answers


def stops_at(url: str, known: Tokens | None) -> str | None:
    """When a pod will stop itself, if nobody works with it until then; None if it does not say.

    Args:
        url: of its label server.
        known: its tokens; without them it is not asked.

    """
    if known is None:
        return None
    try:
        with bounded.client(headers=_login(known[ADMIN]), timeout=15) as client:
            told: str | None = client.get(f"{url.rstrip('/')}/info/").json().get("stops_at")
            return told
    except (httpx.HTTPError, ValueError, AttributeError):
        return None


def _login(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def _not_ready(pod: pods.Pod, problem: str, remedy: str = "") -> NotReadyError:
    end = f"`python3 deploy.py runpod terminate {pod['id']}` ends it; it costs ${pods.cost(pod):.2f} an hour until then"
    return NotReadyError(f"pod {pod['id']} is not ready: {problem}", f"{remedy}; {end}" if remedy else end)


def _looked(client: Client, pod: pods.Pod, known: bool) -> tuple[pods.Pod, str]:
    """The pod as it is now, or as it was and why RunPod does not say; a new one may not be known by its id yet."""
    try:
        return (pods.look(client, pod) if known else client.get_pod(pod["id"])), ""
    except DeployError as error:
        if not may_pass(error) and not (isinstance(error, RunPodError) and error.status == httpx.codes.NOT_FOUND):
            raise
        return pod, error.message


def _said(client: Client, pod_id: str) -> list[str]:
    """What the host said lately; nothing if its log is not to be had."""
    try:
        return list(client.get_pod_logs(pod_id, "system", _LOG_LINES, _LOG_SECONDS))
    except RunPodError:
        return []


def _hopeless(said: list[str]) -> tuple[str, str] | None:
    """What is wrong and what to do, if a line says what waiting does not help with.

    What was said before the container was started has passed; what is retried is said in a line before the last.
    """
    start = max((number for number, line in enumerate(said) if _STARTED.match(line)), default=0)
    found = (why for line in reversed(said[start:]) for pattern, why in _HOPELESS.items() if re.search(pattern, line))
    return next(found, None)
