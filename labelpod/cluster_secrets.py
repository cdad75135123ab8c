"""The Secrets in a cluster: made of `secrets/` or found there; what has read other values is started anew."""

import base64
import hashlib
import shlex

from labelpod import files, kubernetes, lifecycle
from labelpod.cluster import Cluster
from labelpod.config.settings import Settings
from labelpod.console import say_command
from labelpod.errors import DeployError
from labelpod.project import Project

# The users' is read again each second, and has a way of its own.
USERS = "users"
# On each Deployment: the versions of the Secrets that its pods have read.
_READ = "labelpod/secrets"


def require_files(settings: Settings, project: Project) -> None:
    """All files are there that the Secrets are made of.

    Raises:
        DeployError: one is missing; a new one would be another secret.

    """
    for file in (project.secrets / name for keys in kubernetes.secrets(settings).values() for name in keys.values()):
        if not file.is_file():
            raise DeployError(f"{project.shown(file)} is not there", "python3 deploy.py build --yes makes it")


def require_same_users(cluster: Cluster, project: Project) -> str:
    """The users there are those that this folder brought last, or has now: who was revoked elsewhere stays so.

    Returns:
        Their digest, "" if there are none.

    Raises:
        DeployError: they are others.

    """
    there = cluster.ask("get", "secret", USERS, "--ignore-not-found", "--output", r"jsonpath={.data.users\.json}")
    there_now = digest(base64.b64decode(there)) if there else ""
    brought = (Cluster.recorded(project) or cluster).users  # by now: another command may have brought some meanwhile
    if there_now not in ("", brought, users_of(project)):
        raise DeployError(
            f"the users in {cluster} were changed from another folder",
            "bring its secrets/users/users.json here, or take the cluster's, see docs/kubernetes.md",
        )
    return there_now


def users_of(project: Project) -> str:
    """The digest of this folder's users."""
    return digest((project.secrets / kubernetes.SECRETS[USERS]["users.json"]).read_bytes())


def digest(content: bytes) -> str:
    """By which a file's content is known."""
    return hashlib.sha256(content).hexdigest()


def bring(settings: Settings, project: Project, cluster: Cluster) -> None:
    """Make all Secrets but the users', or bring them up to date, after the files that they are made of."""
    with files.locked(project.lock):
        lifecycle.configured(project, settings)  # a password may be another one than when the files were made
    for name, keys in kubernetes.secrets(settings).items():
        if name != USERS:
            put(name, keys, cluster, project)


def put(name: str, keys: dict[str, str], cluster: Cluster, project: Project) -> None:
    """Make a Secret of files, or bring it up to date; kubectl reads them, so that no value is on a command line."""
    given = [f"--from-file={key}={project.secrets / file}" for key, file in keys.items()]
    made = ("create", "secret", "generic", name, *given, "--dry-run=client", "--output", "yaml")
    applied = ("apply", "--server-side", "--force-conflicts", "--filename", "-")
    say_command(" | ".join(shlex.join(("kubectl", *cluster.command(*words))) for words in (made, applied)))
    cluster.ask(*applied, given=cluster.ask(*made))


def find(settings: Settings, cluster: Cluster) -> None:
    """Look whether the Secrets are there, and have what the pods read; their values are not asked for.

    Raises:
        DeployError: one is missing, or lacks something.

    """
    template = "{{range $key, $value := .data}}{{$key}} {{end}}"
    for name, keys in kubernetes.secrets(settings).items():
        found = cluster.ask("get", "secret", name, "--ignore-not-found", "--output", f"go-template={template}").split()
        if missing := sorted(keys.keys() - set(found)):
            raise DeployError(
                f"the Secret {name} of {cluster} has no {missing[0]}",
                "make it, see docs/kubernetes.md; or set LABELPOD_KUBERNETES_SECRETS=files",
            )


def restart_readers(settings: Settings, cluster: Cluster, before: set[str]) -> None:
    """Start anew what has read other Secrets than those that are there now.

    The versions are noted afterwards: an `up` that is interrupted before leaves the restart to the next one.

    Args:
        settings: of the stack.
        cluster: where it runs.
        before: what ran there before these Secrets came, type/name; it may have been started by hand.

    """
    readers = {"orthanc": ("orthanc", *(("postgres",) if settings.postgres else ())), "label-server": ("label-server",)}
    if settings.several_servers:
        readers["trainer"] = ("label-server",)
    versions = {secret: _version(secret, cluster) for secret in sorted({*sum(readers.values(), ())})}
    for name, secrets in readers.items():
        workload = f"deployment/{name}"
        now = "-".join(versions[secret] for secret in secrets)
        read = cluster.ask("get", workload, "--output", f"jsonpath={{.metadata.annotations.{_READ}}}").strip()
        if read != now and (read or f"deployment.apps/{name}" in before):
            cluster.change("rollout", "restart", workload)
        if read != now:
            cluster.change("annotate", workload, f"{_READ}={now}", "--overwrite")


def _version(secret: str, cluster: Cluster) -> str:
    """Another one whenever something of the Secret has changed."""
    return cluster.ask("get", "secret", secret, "--output", "jsonpath={.metadata.resourceVersion}").strip()
