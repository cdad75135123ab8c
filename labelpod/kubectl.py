"""Brings the rendered folder into a cluster and out of it, by kubectl; each command that changes something is shown."""

import json
import re
from typing import Any

from labelpod import kubernetes, process
from labelpod.config.settings import Settings
from labelpod.console import confirmed, say_command
from labelpod.errors import DeployError
from labelpod.project import Project

# What goes at `down`; volumes and Secrets stay.
_KINDS = (
    "deployments,statefulsets,daemonsets,services,ingresses,networkpolicies,poddisruptionbudgets,configmaps",
    "httproutes.gateway.networking.k8s.io",
)
_OURS = "app.kubernetes.io/part-of=labelpod"
_ROLLOUT_SECONDS = 1200
_SECONDS = 120


def up(settings: Settings, project: Project, yes: bool) -> None:
    """Render, ask, bring Secrets and everything else into the cluster, and wait until it runs.

    Raises:
        DeployError: a secret is missing, kubectl fails, or something does not run in time.

    """
    folder = project.build / "kubernetes"
    kubernetes.write(settings, project, folder)
    secrets = kubernetes.secrets(settings)
    for file in (project.secrets / name for files in secrets.values() for name in files.values()):
        if not file.is_file():
            raise DeployError(f"{project.shown(file)} is not there", "python3 deploy.py build --yes makes it")
    _ask(f"Start labelpod in {_where(settings)}?", "up", yes)
    _changed("apply", "--filename", str(folder / "namespace.yaml"))
    for name, files in secrets.items():
        _put_secret(name, {key: str(project.secrets / file) for key, file in files.items()}, settings)
    _changed("apply", "--kustomize", str(folder))
    for workload in _workloads(settings):
        _changed("rollout", "status", workload, *_namespace(settings), f"--timeout={_ROLLOUT_SECONDS}s")


def down(settings: Settings, yes: bool) -> None:
    """Delete what runs; volumes, and with them images, labels and models, and Secrets stay.

    Raises:
        DeployError: kubectl fails.

    """
    _ask(f"Stop labelpod in {_where(settings)}? Volumes and Secrets stay.", "down", yes)
    for kinds in _KINDS[: 2 if settings.KUBERNETES_GATEWAY else 1]:
        _changed("delete", kinds, "--selector", _OURS, *_namespace(settings), "--ignore-not-found")


def status(settings: Settings) -> dict[str, dict[str, int]]:
    """What runs: name -> how many pods are wanted, and how many are ready.

    Raises:
        DeployError: kubectl fails, or there is nothing.

    """
    asked = ("get", "deployments,statefulsets", "--selector", _OURS, *_namespace(settings), "--output", "json")
    found: list[dict[str, Any]] = json.loads(_kubectl(*asked))["items"]
    if not found:
        raise DeployError(f"nothing of labelpod runs in {_where(settings)}", "python3 deploy.py kubernetes up")
    return {
        each["metadata"]["name"]: {
            "wanted": each["spec"]["replicas"],
            "ready": each.get("status", {}).get("readyReplicas", 0),
        }
        for each in found
    }


def _workloads(settings: Settings) -> list[str]:
    """What is waited for, in the order in which one needs the other."""
    made = {"statefulset/postgres": "postgres" in kubernetes.images(settings), "deployment/orthanc": True}
    made |= {f"deployment/{name}": settings.several_servers for name in ("trainer", "door")}
    return [*(name for name, there in made.items() if there), "deployment/label-server"]


def _put_secret(name: str, files: dict[str, str], settings: Settings) -> None:
    """Make a Secret of files, or bring it up to date; kubectl reads them, so that no value is on a command line."""
    given = [f"--from-file={key}={file}" for key, file in files.items()]
    made = ("create", "secret", "generic", name, *_namespace(settings), *given, "--dry-run=client", "--output", "yaml")
    applied = ("apply", "--server-side", "--force-conflicts", "--filename", "-")
    say_command("kubectl", *made, "| kubectl", *applied)
    _kubectl(*applied, given=_kubectl(*made))


def _where(settings: Settings) -> str:
    context = _kubectl("config", "current-context").strip()
    return f"namespace {settings.KUBERNETES_NAMESPACE} of the cluster {context}"


def _ask(question: str, verb: str, yes: bool) -> None:
    if not confirmed(question, yes):
        raise DeployError("nothing was changed", f"python3 deploy.py kubernetes {verb} --yes does it without asking")


def _namespace(settings: Settings) -> tuple[str, str]:
    return "--namespace", settings.KUBERNETES_NAMESPACE


def _changed(*words: str) -> None:
    say_command("kubectl", *words)
    _kubectl(*words, seconds=_ROLLOUT_SECONDS + _SECONDS)


def _kubectl(*words: str, given: str | None = None, seconds: float = _SECONDS) -> str:
    """What kubectl answers.

    Raises:
        DeployError: it is missing, or fails; with its own reason.

    """
    answer = process.run("kubectl", *words, seconds=seconds, input=given)
    if answer.returncode == 127:
        raise DeployError("kubectl is not installed", "install it: https://kubernetes.io/docs/tasks/tools/")
    if answer.returncode != 0:
        reason = re.sub(r"^error: ", "", process.why(answer))
        raise DeployError(f"kubectl {words[0]}: {reason}", "kubectl cluster-info; kubectl get pods shows what runs")
    return answer.stdout
