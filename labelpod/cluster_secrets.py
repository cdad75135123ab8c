"""The Secrets in a cluster: made of `secrets/` or found there; what has read other values is started anew."""

import base64
import shlex

from labelpod import files, kubernetes, lifecycle
from labelpod.cluster import Cluster
from labelpod.config.settings import Settings
from labelpod.console import say_command
from labelpod.errors import DeployError
from labelpod.project import Project
from labelpod.security import secret_files

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


def require_same_stack(settings: Settings, project: Project, cluster: Cluster) -> None:
    """What the cluster's volumes are known by is what this folder has.

    Raises:
        DeployError: another folder's stack runs there, or has run; its labels, or its database, would be lost to it.

    """
    lasting = {"label-server": ("label_key", secret_files.LABEL_KEY)}
    if "postgres" in kubernetes.images(settings):
        lasting["postgres"] = ("password", secret_files.POSTGRES_PASSWORD)
    for secret, (key, file) in lasting.items():
        there = cluster.ask("get", "secret", secret, "--ignore-not-found", "--output", f"jsonpath={{.data.{key}}}")
        if there and base64.b64decode(there) != (project.secrets / file).read_bytes():
            raise DeployError(
                f"the stack in {cluster} has another secrets/{file}",
                "use the folder that started it, or bring its secrets/ here",
            )


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


def restart_readers(settings: Settings, cluster: Cluster) -> None:
    """Start anew what has read other Secrets than those that are there now.

    The versions are noted afterwards: an `up` that is interrupted before leaves the restart to the next one.
    """
    readers = {"orthanc": ("orthanc", *(("postgres",) if settings.postgres else ())), "label-server": ("label-server",)}
    if settings.several_servers:
        readers["trainer"] = ("label-server",)
    versions = {secret: _version(secret, cluster) for secret in sorted({*sum(readers.values(), ())})}
    for name, secrets in readers.items():
        workload = f"deployment/{name}"
        now = "-".join(versions[secret] for secret in secrets)
        read = cluster.ask("get", workload, "--output", f"jsonpath={{.metadata.annotations.{_READ}}}").strip()
        if read and read != now:
            cluster.change("rollout", "restart", workload)
        if read != now:
            cluster.change("annotate", workload, f"{_READ}={now}", "--overwrite")


def _version(secret: str, cluster: Cluster) -> str:
    """Another one whenever something of the Secret has changed."""
    return cluster.ask("get", "secret", secret, "--output", "jsonpath={.metadata.resourceVersion}").strip()
