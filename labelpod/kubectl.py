"""Brings the rendered folder into a cluster and out of it, by kubectl; each command that changes something is shown."""

import json
import time
from pathlib import Path
from typing import Any

from labelpod import cluster_guards, cluster_secrets, kubernetes
from labelpod.clients.label_server import LabelServer
from labelpod.cluster import Cluster
from labelpod.config.settings import Settings
from labelpod.console import confirmed, say
from labelpod.errors import DeployError
from labelpod.project import Project
from labelpod.security import users

# What runs; volumes and Secrets stay whatever is stopped.
_KINDS = "deployments,statefulsets,daemonsets,services,ingresses,networkpolicies,poddisruptionbudgets"
_ROUTES = "httproutes.gateway.networking.k8s.io"
_APPS = ("label-server", "trainer", "door", "orthanc", "postgres", "pre-pull")
_OURS = "app.kubernetes.io/part-of=labelpod"
_DELETE_SECONDS, _END_SECONDS, _START_SECONDS = 1200, 60, 60


def up(settings: Settings, project: Project, yes: bool) -> None:
    """Render, ask, bring Secrets and everything else into the cluster, and wait until it runs.

    What an `up` with other settings made and these do not need is deleted at the end.

    Raises:
        DeployError: a secret is missing, this folder runs in another cluster, kubectl fails, or something does not run
            in time.

    """
    folder = project.build / "kubernetes"
    kubernetes.write(settings, project, folder)
    own = settings.KUBERNETES_SECRETS == "files"
    if own:
        cluster_secrets.require_files(settings, project)
    cluster = _to_start_in(settings, project)
    cluster_guards.require_own_namespace(cluster)
    cluster_guards.require_same_database(settings, cluster)
    cluster_guards.require_same_models(settings, cluster)
    users_there = ""
    if own:
        cluster_guards.require_same_stack(settings, project, cluster)
        users_there = cluster_secrets.require_same_users(cluster, project)
    _ask(f"Start labelpod in {cluster}?", "up", yes)
    before = _there(_KINDS, settings, cluster)
    cluster.change("apply", "--filename", str(folder / "namespace.yaml"))
    cluster.record(project, users_there)
    if own:
        cluster_secrets.bring(settings, project, cluster)
        _put_users(cluster, project)
    else:
        cluster_secrets.find(settings, cluster)
    cluster.change("apply", "--kustomize", str(folder))
    cluster_secrets.restart_readers(settings, cluster, before)
    # Label servers are replaced one after the other.
    seconds = kubernetes.progress_seconds(settings) + _START_SECONDS * settings.LABEL_SERVERS
    for workload in _workloads(settings):
        cluster.change("rollout", "status", workload, f"--timeout={seconds}s", seconds=seconds + 60)
    _delete(_there(_KINDS, settings, cluster) - _rendered(folder, cluster), cluster)


def down(settings: Settings, project: Project, yes: bool) -> None:
    """Delete what runs; volumes, and with them images, labels and models, and Secrets stay.

    Raises:
        DeployError: kubectl fails.

    """
    cluster = _running_in(settings, project)
    if not Cluster.recorded(project) and settings.KUBERNETES_SECRETS == "files":
        cluster_guards.require_same_stack(settings, project, cluster)
    _ask(f"Stop labelpod in {cluster}? Volumes and Secrets stay.", "down", yes)
    _delete(_there(f"{_KINDS},configmaps", settings, cluster), cluster)
    _await_end(cluster)
    project.cluster_record.unlink(missing_ok=True)


def status(settings: Settings, project: Project) -> dict[str, dict[str, int]]:
    """What runs: name -> how many pods are wanted, and how many are ready.

    Raises:
        DeployError: kubectl fails, or there is nothing.

    """
    cluster = _running_in(settings, project)
    answer = cluster.ask("get", "deployments,statefulsets", "--selector", _OURS, "--output", "json")
    found: list[dict[str, Any]] = json.loads(answer)["items"]
    if not found:
        raise DeployError(f"nothing of labelpod runs in {cluster}", "python3 deploy.py kubernetes up")
    return {
        each["metadata"]["name"]: {
            "wanted": each["spec"]["replicas"],
            "ready": each.get("status", {}).get("readyReplicas", 0),
        }
        for each in found
    }


def test(settings: Settings, project: Project) -> dict[str, Any]:
    """Ask the label server, and by it Orthanc, through the entrance of the cluster, past the Ingress.

    Returns:
        What it says of itself.

    Raises:
        DeployError: a pod is not ready, or something does not answer.

    """
    waiting = [name for name, each in status(settings, project).items() if each["ready"] != each["wanted"]]
    if waiting:
        raise DeployError(f"not all pods of {waiting[0]} are ready", "python3 deploy.py kubernetes status")
    service = kubernetes.entrance(settings)
    with _running_in(settings, project).forwarded(f"service/{service}", 8000) as port:
        here = {"BIND_ADDRESS": "127.0.0.1", "LABEL_SERVER_PORT": port}
        with LabelServer(settings.model_copy(update=here)) as server:
            return server.info()


def tell_users(settings: Settings, project: Project) -> None:
    """Bring the users into the cluster that this folder runs in, at once; into none if it runs in none.

    Raises:
        DeployError: the cluster does not know them.

    """
    if cluster := Cluster.recorded(project):
        if settings.KUBERNETES_SECRETS != "files":
            raise DeployError(
                f"{cluster} does not know it yet: LABELPOD_KUBERNETES_SECRETS=existing",
                "bring secrets/users/users.json to what makes the Secret `users` there",
            )
        try:
            _put_users(cluster.checked(project), project)
        except DeployError as error:
            raise DeployError(
                f"{cluster} still has the users of before: {error.message}",
                f"{error.remedy}; then `python3 deploy.py kubernetes users` tells it",
            ) from None


def _to_start_in(settings: Settings, project: Project) -> Cluster:
    """The cluster that kubectl is set to; in two at once, the users of one would be forgotten."""
    current, recorded = Cluster.current(settings), Cluster.recorded(project)
    if recorded and (recorded.context, recorded.namespace) != (current.context, current.namespace):
        raise DeployError(
            f"this folder runs in {recorded}, and this would be {current}",
            "python3 deploy.py kubernetes down stops it there; or use a folder of its own for the other one",
        )
    return recorded.checked(project) if recorded else current


def _running_in(settings: Settings, project: Project) -> Cluster:
    recorded = Cluster.recorded(project)
    return recorded.checked(project) if recorded else Cluster.current(settings)


def _workloads(settings: Settings) -> list[str]:
    """What is waited for, in the order in which one needs the other."""
    made = {"statefulset/postgres": "postgres" in kubernetes.images(settings), "deployment/orthanc": True}
    made |= {f"deployment/{name}": settings.several_servers for name in ("trainer", "door")}
    return [*(name for name, there in made.items() if there), "deployment/label-server"]


def _there(kinds: str, settings: Settings, cluster: Cluster) -> set[str]:
    """What is ours there, of these kinds and of routes: type/name."""
    asked = ("--selector", _OURS, "--output", "name")
    found = cluster.ask("get", kinds, *asked)
    try:
        found += cluster.ask("get", _ROUTES, *asked)
    except DeployError:  # a cluster need not know of Gateways
        if settings.KUBERNETES_GATEWAY:
            raise
    return set(found.split())


def _rendered(folder: Path, cluster: Cluster) -> set[str]:
    """What the folder holds: type/name."""
    return set(cluster.ask("apply", "--kustomize", str(folder), "--dry-run=client", "--output", "name").split())


def _delete(names: set[str], cluster: Cluster) -> None:
    if names:
        cluster.change("delete", *sorted(names), "--ignore-not-found", seconds=_DELETE_SECONDS)


def _await_end(cluster: Cluster) -> None:
    """Two of a kind must not have one volume, as they might if it is started again at once."""
    pods = ("pods", "--selector", f"app in ({','.join(_APPS)})", f"--timeout={_END_SECONDS}s")
    try:
        cluster.ask("wait", "--for=delete", *pods, seconds=_END_SECONDS + 30)
    except DeployError as error:
        say(f"Some pods have not ended yet: {error.message}")


def _put_users(cluster: Cluster, project: Project) -> None:
    """Make the Secret of users and touch the pods: a node looks at those at once, at others within a minute or two."""
    with users.unchanged(project.secrets):
        users.known(project.secrets)  # a file that cannot be read is refused here, and not by the label servers
        cluster_secrets.require_same_users(cluster, project)
        cluster_secrets.put(cluster_secrets.USERS, kubernetes.SECRETS[cluster_secrets.USERS], cluster, project)
        cluster.record(project, cluster_secrets.users_of(project))
    pods = ("pods", "--selector", "app in (label-server,trainer)")
    cluster.change("annotate", *pods, f"labelpod/users={time.time():.3f}", "--overwrite")


def _ask(question: str, verb: str, yes: bool) -> None:
    if not confirmed(question, yes):
        raise DeployError("nothing was changed", f"python3 deploy.py kubernetes {verb} --yes does it without asking")
