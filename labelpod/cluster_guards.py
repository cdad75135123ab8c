"""What an `up` must not take over or cut off, in a cluster where something is already."""

import base64

from labelpod import kubernetes
from labelpod.cluster import Cluster
from labelpod.config.settings import PREFIX, Settings
from labelpod.errors import DeployError
from labelpod.project import Project
from labelpod.security import secret_files

_DATABASE = "labelpod/database"  # on the claim of Orthanc's images
_OWN_VOLUME = {False: "label-server", True: "trainer"}  # of who trains, by whether there are several label servers


def require_own_namespace(cluster: Cluster) -> None:
    """Nobody else's pods run in the namespace: its rules would cut them off.

    Raises:
        DeployError: somebody else's do.

    """
    label = "jsonpath={.metadata.labels.app\\.kubernetes\\.io/part-of}"
    if cluster.ask("get", "namespace", cluster.namespace, "--ignore-not-found", "--output", label) == "labelpod":
        return
    if others := cluster.ask("get", "pods", "--output", "name").split():
        raise DeployError(
            f"{cluster} has pods of others, such as {others[0]}, which the stack's rules would cut off",
            f"set {PREFIX}KUBERNETES_NAMESPACE to a namespace of the stack's own",
        )


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
        own = project.secrets / file
        if there and not (own.is_file() and base64.b64decode(there) == own.read_bytes()):
            raise DeployError(
                f"the stack in {cluster} has another secrets/{file}",
                "use the folder that started it, or bring its secrets/ here",
            )


def require_same_database(settings: Settings, cluster: Cluster) -> None:
    """What knows of the images in Orthanc's volume is what these settings name.

    Raises:
        DeployError: another database does; Orthanc would find none of its studies and labels.

    """
    jsonpath = f"jsonpath={{.metadata.annotations.{_DATABASE}}}"
    there = cluster.ask("get", "persistentvolumeclaim", "orthanc", "--ignore-not-found", "--output", jsonpath).strip()
    wanted = kubernetes.database(settings)
    if there and there != wanted:
        raise DeployError(
            f"the studies in {cluster} are known by the database {there}, and these settings name {wanted}",
            "set back what you have changed; or bring the database along, see docs/kubernetes.md",
        )


def require_same_models(settings: Settings, cluster: Cluster) -> None:
    """No models are in a volume that nobody would read: with one label server they are in another than with several.

    Raises:
        DeployError: there is such a volume.

    """
    other = _OWN_VOLUME[not settings.several_servers]
    if cluster.ask("get", "persistentvolumeclaim", other, "--ignore-not-found", "--output", "name").strip():
        raise DeployError(
            f"the models in {cluster} are in the volume {other}, which {PREFIX}LABEL_SERVERS="
            f"{settings.LABEL_SERVERS} would not read",
            "bring them along, see docs/kubernetes.md; then delete that volume's claim",
        )
