"""Stops, starts and ends a pod: asked for again and looked at, until RunPod says that it is so."""

from pathlib import Path

from labelpod.errors import DeployError
from labelpod.runpod import ledger, pods, polling
from labelpod.runpod.client import Client, NoGpuError, RunPodError, may_pass
from labelpod.runpod.pods import Pod

# How long a pod is given, and after how long without effect it is asked again.
_SECONDS, _AGAIN_SECONDS = 180.0, 15.0
_STARTED = {"PROVISIONING", "STARTING", "RUNNING"}


class StillBilledError(DeployError):
    """A pod was asked to stop or to end, and RunPod does not say that it has."""

    def __init__(self, pod: Pod, verb: str, trouble: str) -> None:
        why = f" ({trouble})" if trouble else ""
        paid = f"COSTS ${pods.cost(pod):.2f} AN HOUR" if pods.billed(pod) else "its disk is billed"
        super().__init__(
            f"pod {pod['id']} is still {pod['status']}{why} and {paid}",
            f"`python3 deploy.py runpod {verb} {pod['id']}` again, or {verb} it in RunPod's console",
        )


def stop(client: Client, pod: Pod, record: Path) -> Pod:
    """Stop a pod.

    Args:
        client: the API.
        pod: the pod.
        record: of what was asked from this machine; one that was asked to start a moment ago may yet do so.

    Returns:
        The pod as RunPod shows it then: EXITED, or TERMINATED if it is gone.

    Raises:
        StillBilledError: it has not stopped.
        DeployError: it is locked, or RunPod refuses.

    """
    pod, trouble = _bring(client, pod, "stop", {"EXITED", "TERMINATED"}, record)
    if pods.billed(pod):
        verb = "terminate" if pod["status"] == "ERROR" else "stop"
        raise StillBilledError(pod, verb, trouble)
    return pod


def start(client: Client, pod: Pod, record: Path) -> Pod:
    """Start a stopped pod; one that runs goes on.

    Args:
        client: the API.
        pod: the pod.
        record: where the start is noted before it is asked for.

    Returns:
        The pod, running or about to.

    Raises:
        NoGpuError: its host has no GPU left.
        DeployError: it does not start, or is gone.

    """
    pod, trouble = _bring(client, pod, "start", {*_STARTED, "TERMINATED"}, record)
    if pod["status"] == "TERMINATED":
        raise pods.NotRunningError(f"pod {pod['id']} is gone", "python3 deploy.py runpod launch")
    if pod["status"] not in _STARTED:
        why = f" ({trouble})" if trouble else ""
        raise DeployError(
            f"pod {pod['id']} does not start: it is still {pod['status']}{why}",
            f"if it starts later, it costs ${pods.cost(pod):.2f} an hour: `python3 deploy.py runpod status` shows it",
        )
    return pod


def terminate(client: Client, pod: Pod, record: Path, fresh: bool = False) -> None:
    """End a pod for good; one that is gone already is.

    Args:
        client: the API.
        pod: the pod.
        record: of what this machine has rented.
        fresh: whether it was made a moment ago, so that RunPod may not know it yet.

    Raises:
        StillBilledError: it has not ended.
        DeployError: RunPod refuses.

    """
    trouble, known, fresh = "", False, fresh or pods.is_new(pod)
    for passed in polling.rounds(_SECONDS):
        try:
            known = _deleted(client, pod) or known
            pod = pods.look(client, pod)
            gone = pod["status"] == "TERMINATED"
            known = known or not gone
            if gone and (known or not fresh or passed >= polling.LAG_SECONDS):
                ledger.end(pod["id"], record)
                return
        except DeployError as error:
            trouble = _passing(error)
    raise StillBilledError(pod, "terminate", trouble)


def tidied(client: Client, found: list[Pod], record: Path) -> list[Pod]:
    """End those whose place another has taken.

    Returns:
        The others.

    """
    for pod in left(found):
        terminate(client, pod, record)
    return pods.current(found)


def left(found: list[Pod]) -> list[Pod]:
    """Those whose place another has taken, and that were left by a `resume` that did not come to its end."""
    current = pods.current(found)
    return [pod for pod in found if pod not in current and pods.keeps_its_data(pod)]


def _deleted(client: Client, pod: Pod) -> bool:
    """Whether RunPod took the order to end it; it does not know one that is gone, nor one that is too new."""
    try:
        client.delete_pod(pod["id"])
    except RunPodError as error:
        if error.status != 404:
            raise
        return False
    return True


def _bring(client: Client, pod: Pod, action: str, done: set[str], record: Path) -> tuple[Pod, str]:
    """Ask for an action until the pod is in one of these states, or the time is over.

    Returns:
        The pod as it was seen last, and what was in the way last.

    """
    trouble, asked, seen = "", -_AGAIN_SECONDS, False
    for passed in polling.rounds(_SECONDS):
        try:
            pod = pods.look(client, pod)
            seen = seen or pod["status"] != "TERMINATED"
            if not seen and passed < polling.LAG_SECONDS:
                continue  # one that was made a moment ago may be listed, and not known
            if action == "stop" and pod["status"] == "EXITED" and ledger.may_start(pod["id"], record):
                continue
            if pod["status"] in done or (pod["status"] == "ERROR" and action not in pod["actions"]):
                return pod, ""
            if pod.get("locked"):
                raise DeployError(f"pod {pod['id']} is locked", "unlock it in RunPod's console")
            if action in pod.get("actions", []) and passed - asked >= _AGAIN_SECONDS:
                asked, trouble = passed, ""
                if action == "start":
                    ledger.order(pod["id"], record, "starts")
                client.pod_action(pod["id"], action)
        except NoGpuError:
            pod = pods.look(client, pod)
            if pod["status"] in done:
                return pod, ""
            raise
        except DeployError as error:
            trouble = _passing(error)
    return pod, trouble


def _passing(error: DeployError) -> str:
    """What is in the way, if it may pass."""
    if not may_pass(error):
        raise error
    return error.message
