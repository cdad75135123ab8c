"""Stops a rented pod that nobody uses, or that runs too long: it costs by the second.

What counts as use: requests that passed the gateway, work in the background (a training, a batch of inferences, a
scoring), a busy GPU, and a session over SSH. Run by start_pod, beside the label server.
"""

import logging
import os
import sqlite3
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import requests

from label_server.pod import state

logger = logging.getLogger("watchdog")

_PERIOD_SECONDS = 15
_AGAIN_SECONDS = 60
_WARN_SECONDS = 600
_BUSY_GPU_PERCENT = 5
_CALL_SECONDS = 30
_TASK = "monailabel.interfaces.utils.app"  # upstream's background tasks are processes of this module
_GRAPHQL = "https://api.runpod.io/graphql"
_REST = "https://api.runpod.io/v2"
_MUTATION = "mutation($id: String!) { podStop(input: {podId: $id}) { id } }"


@dataclass
class Watch:
    """When the pod is to be stopped.

    Args:
        idle_seconds: without use; 0: never for that.
        most_seconds: since the start, whatever runs; 0: never for that.
        started: in seconds as of time.time().

    """

    idle_seconds: float
    most_seconds: float
    started: float
    used: float = 0.0

    def look(self, now: float, busy: str) -> tuple[float | None, str]:
        """When to stop, None for not yet known, and why.

        Args:
            now: in seconds as of time.time().
            busy: what runs; "" if nothing does.

        """
        self.used = max(self.used, self.started, state.last_use(), now if busy else 0.0)
        times = []
        if self.idle_seconds and not busy:
            times.append((self.used + self.idle_seconds, f"nobody has used it for {self.idle_seconds / 60:g} minutes"))
        if self.most_seconds:
            times.append((self.started + self.most_seconds, f"it has run for {self.most_seconds / 3600:g} hours"))
        return min(times, default=(None, ""))


def busy() -> str:
    """What runs in the pod beside requests; "" if nothing does."""
    for words in _processes():
        if _TASK in words:
            return "a task in the background"
        # Until somebody is logged in, it is sshd's own name that stands there.
        if words.startswith("sshd: labelpod"):
            return "a session over SSH"
    return f"the GPU, {percent} %" if (percent := _gpu_percent()) > _BUSY_GPU_PERCENT else ""


def _processes() -> Iterator[str]:
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            yield entry.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:  # it has ended
            continue


def _gpu_percent() -> int:
    """The busiest GPU's; 0 if none can be asked."""
    command = ["nvidia-smi", "--query-gpu=utilization.gpu", "--format=csv,noheader,nounits"]
    try:
        said = subprocess.run(command, capture_output=True, text=True, timeout=_CALL_SECONDS, check=False).stdout
    except (OSError, subprocess.TimeoutExpired):
        return 0
    return max((int(word) for word in said.split() if word.isdigit()), default=0)


# --- stopping ---


class NotStopped(Exception):
    """Why a call did not stop the pod."""


def stop(pod_id: str) -> bool:
    """Stop this pod by whatever way works; each is tried in turn, and each failure is said.

    The key that a pod gets is good for GraphQL's podStop; the command in the pod is of several versions, whose words
    are in different order; REST takes a key of the owner's, if there is one.
    """
    ways: list[tuple[str, Callable[[], None]]] = [
        ("GraphQL podStop", lambda: _graphql(pod_id)),
        ("runpodctl stop pod", lambda: _runpodctl("stop", "pod", pod_id)),
        ("runpodctl pod stop", lambda: _runpodctl("pod", "stop", pod_id)),
        ("REST stop", lambda: _rest(pod_id)),
    ]
    for name, way in ways:
        try:
            way()
        except (NotStopped, OSError, ValueError, subprocess.TimeoutExpired) as problem:
            # A request's own words would hold its address, and nothing secret: the keys are in headers.
            logger.warning(f"{name} does not stop the pod: {problem}")
        else:
            logger.info(f"{name} has been accepted")
            return True
    logger.error("THE POD CANNOT STOP ITSELF AND GOES ON COSTING: stop it with `python3 deploy.py runpod stop`")
    return False


def _graphql(pod_id: str) -> None:
    body = {"query": _MUTATION, "variables": {"id": pod_id}}
    answer = _post(os.environ.get("RUNPOD_GRAPHQL_URL") or _GRAPHQL, os.environ.get("RUNPOD_API_KEY", ""), body)
    if errors := answer.json().get("errors"):
        raise NotStopped(errors[0].get("message", "it is refused"))


def _rest(pod_id: str) -> None:
    key = os.environ.get("RUNPOD_STOP_API_KEY") or os.environ.get("RUNPOD_API_KEY", "")
    base = os.environ.get("RUNPOD_REST_URL") or _REST
    _post(f"{base}/pods/{pod_id}/action", key, {"action": "stop"})


def _post(url: str, key: str, body: Mapping[str, object]) -> requests.Response:
    if not key:
        raise NotStopped("there is no key")
    headers = {"Authorization": f"Bearer {key}", "User-Agent": "labelpod-watchdog"}
    answer = requests.post(url, json=body, headers=headers, timeout=_CALL_SECONDS)
    if not answer.ok:
        raise NotStopped(f"it answers {answer.status_code}")
    return answer


def _runpodctl(*words: str) -> None:
    result = subprocess.run(["runpodctl", *words], capture_output=True, text=True, timeout=_CALL_SECONDS, check=False)
    if result.returncode != 0:
        said = (result.stderr or result.stdout).strip().splitlines()
        raise NotStopped(said[-1] if said else f"exit code {result.returncode}")


# --- the record of trainings, see start_server ---


def save_record(here: Path, there: Path) -> None:
    """Copy an SQLite database, whole, if it is newer than the copy."""
    if not here.exists() or (there.exists() and there.stat().st_mtime >= here.stat().st_mtime):
        return
    copy, draft = here.with_name(f"{here.name}.copy"), there.with_name(f"{there.name}.draft")
    with closing(sqlite3.connect(here)) as source, closing(sqlite3.connect(copy)) as target:
        source.backup(target)
    draft.write_bytes(copy.read_bytes())
    draft.replace(there)


def watch() -> None:
    """Look every few seconds, until the pod is stopped."""
    minutes, hours = float(os.environ.get("IDLE_STOP_MINUTES") or 60), float(os.environ.get("MAX_HOURS") or 0)
    watched = Watch(minutes * 60, hours * 3600, time.time())
    warned = False
    while True:
        at, why = watched.look(time.time(), busy())
        state.set_stop(at)
        _save_record()
        if at is not None and time.time() >= at:
            logger.info(f"Stopping the pod: {why}")
            stop(os.environ["RUNPOD_POD_ID"])
            time.sleep(_AGAIN_SECONDS)
            continue
        if at is not None and not warned and at - time.time() < _WARN_SECONDS:
            logger.warning(f"The pod will stop at {state.stops_at()}, when {why}")
        warned = at is not None and at - time.time() < _WARN_SECONDS
        time.sleep(_PERIOD_SECONDS)


def _save_record() -> None:
    try:
        save_record(Path(os.environ["POD_FOLDER"], "mlflow.db"), Path("/workspace/mlflow.db"))
    except (OSError, sqlite3.Error) as problem:
        logger.warning(f"The record of trainings could not be saved: {problem}")


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="watchdog: %(levelname)s %(message)s")
    watch()
