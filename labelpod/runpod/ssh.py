"""SSH to a pod: its address, the key that lets us in, and the host key that the pod itself told in its log."""

import re
import shutil
from pathlib import Path

from labelpod import files
from labelpod.errors import DeployError
from labelpod.runpod import keys, pods
from labelpod.runpod.client import Client

USER = "labelpod"
_SSH_PORT = 22
# A line of its own, and the first of this start: those after it may hold what clients ask for.
_HOST_KEY = re.compile(r"labelpod-host-key: (ssh-ed25519 [A-Za-z0-9+/=]+)")
_LOG_LINES, _LOG_SECONDS = 5000, 5.0
_PLAIN = re.compile(r"[\w@+=:,./%-]+")


def command(client: Client, pod: pods.Pod, folder: Path) -> list[str]:
    """Command prefix that runs a program in a pod; without a program, it opens a shell there.

    Args:
        client: the API.
        pod: a running one.
        folder: where the key is, and what is known of hosts.

    Raises:
        DeployError: there is no ssh or no key, or the pod has no SSH port or has not told its host key yet.

    """
    if not shutil.which("ssh"):
        raise DeployError("ssh is not installed", "sudo apt-get install openssh-client")
    private = folder / keys.PRIVATE
    if not private.exists():
        raise DeployError(
            f"{private} is missing: the pod lets in the machine that launched it",
            "copy that file from there, or `runpod terminate` and `runpod launch` from here",
        )
    host, port = address(pod)
    options = {
        "IdentityFile": private,
        "IdentitiesOnly": "yes",
        "BatchMode": "yes",
        "ConnectTimeout": "15",
        "ServerAliveInterval": "10",
        "ServerAliveCountMax": "3",
        "LogLevel": "ERROR",
    } | _host_check(client, pod, folder)
    # Nothing of the user's own SSH configuration: what it forwards is not for a rented machine.
    words = ["ssh", "-F", "none", "-p", str(port)]
    for name, value in options.items():
        words += ["-o", f"{name}={_quoted(value) if isinstance(value, Path) else value}"]
    return [*words, f"{USER}@{host}"]


def address(pod: pods.Pod) -> tuple[str, int]:
    """Where a pod's SSH port is reached; it changes with every start.

    Raises:
        DeployError: nowhere yet.

    """
    if found := port(pod):
        return found
    raise DeployError(
        f"pod {pod['id']} is {pod['status']} and has no SSH port yet", "wait a minute; python3 deploy.py runpod status"
    )


def port(pod: pods.Pod) -> tuple[str, int] | None:
    """Address and number of a pod's SSH port; None while there is none."""
    for each in (pod.get("runtime") or {}).get("ports") or []:
        if each.get("private") == _SSH_PORT and each.get("type") == "tcp" and each.get("ip") and each.get("public"):
            return str(each["ip"]), int(each["public"])
    return None


def _quoted(path: Path) -> str:
    """A path as a value of ssh's options, which are parted at blanks, and in which % begins a name."""
    text = str(path).replace("%", "%%")
    return text if _PLAIN.fullmatch(text) else '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _host_check(client: Client, pod: pods.Pod, folder: Path) -> dict[str, object]:
    """The pod's log, which comes from RunPod over TLS, names its key; no other is accepted, on first sight neither."""
    file = folder / "runpod_known_hosts"
    names = {"UserKnownHostsFile": file, "HostKeyAlias": pod["id"], "HostKeyAlgorithms": "ssh-ed25519"}
    lines = client.get_pod_logs(pod["id"], "container", _LOG_LINES, _LOG_SECONDS, since=pod.get("startedAt"))
    # Whoever has got into the container later cannot take it back.
    told = next((found[1] for line in lines if (found := _HOST_KEY.fullmatch(line))), None)
    if told:
        files.write(file, f"{pod['id']} {told}\n".encode(), 0o600)
    elif not (file.exists() and file.read_text(encoding="utf-8").startswith(f"{pod['id']} ")):
        raise DeployError(
            f"pod {pod['id']} has not told its host key in its log",
            "wait a minute; python3 deploy.py runpod logs shows it; `runpod stop` and `runpod resume` make it tell",
        )
    return names | {"StrictHostKeyChecking": "yes"}
