"""The settings, from `.env` and the environment: typed, validated, unknown keys refused.

Each setting is one field below; its description is the line that `.env.example` shows above it and that the table of
docs/settings.md quotes. In `.env` and in the environment its name follows PREFIX, so that a variable which another
program uses changes nothing here. The environment wins over `.env`, as it does in Docker Compose.
"""

import difflib
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr, ValidationError

from labelpod.config import checked, cluster, contradictions, env_text, networks, places, pod_url
from labelpod.config.checked import Count, Memory, Plain, Port, Seconds, Secret, Url, Whole
from labelpod.console import say
from labelpod.errors import DeployError
from labelpod_common import labels
from labelpod_common.model_names import MODELS

PREFIX = "LABELPOD_"
FOREIGN_PREFIXES = ("COMPOSE_", "DOCKER_", "BUILDKIT_", "BUILDX_")  # read by these themselves
_NONE = SecretStr("")


class Settings(BaseModel):
    """Every setting. Names are the keys of `.env`; `group` is the heading it stands under there."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    APP: Literal["radiology", "monaibundle", "pathology"] = Field(
        "radiology",
        description="MONAI Label app: radiology carries our labels, the others are upstream's.",
        json_schema_extra={"group": "Labels and models"},
    )
    LABELS: Annotated[str, AfterValidator(checked.label_list)] = Field(
        labels.DEFAULT,
        description="Labels, as name:class,... Each name is a segment; names of one class share a DICOM code. It "
        "follows from the name (nodule, lung, liver, ...) or stands behind the class: name:class:SCT-27925004.",
    )
    FOREIGN_LABELS: Literal["listed", "any"] = Field(
        "listed",
        description="Which DICOM SEGs of other programs are labels: those with a segment that the list has, by its "
        "name or code, or any.",
    )
    MODELS: Annotated[str, AfterValidator(checked.model_list)] = Field(
        "deepgrow_2d,deepgrow_3d",
        description=f"Models to serve: {', '.join(MODELS)}.",
    )
    BUNDLES: Annotated[str, AfterValidator(checked.names)] = Field(
        "",
        description="MONAI bundles to serve as well, for example lung_nodule_ct_detection.",
    )
    CONF: Annotated[str, AfterValidator(checked.conf)] = Field(
        "",
        description="Further --conf pairs for MONAI Label: key=value key=value.",
    )
    WEIGHTS_WAIT: Annotated[Seconds, Field(ge=0)] = Field(
        60,
        description="Seconds that the first start may spend on fetching weights; 0: none, and the network is closed.",
    )
    STUDIES: Annotated[str, AfterValidator(checked.studies)] = Field(
        "",
        description="Where the images are: a DICOMweb URL or a folder; empty: the stack's Orthanc.",
        json_schema_extra={"group": "Studies"},
    )
    STUDIES_MODALITY: Annotated[str, AfterValidator(checked.names)] = Field(
        "CT",
        description="Only series of this DICOM modality are offered.",
    )
    STUDIES_WAIT: Annotated[Seconds, Field(ge=1)] = Field(
        60,
        description="Seconds that the label server waits at start for the DICOMweb server to let it in.",
    )
    ORTHANC_DB: Literal["sqlite", "postgres"] = Field(
        "sqlite",
        description="Database of the stack's Orthanc; postgres stays quick beyond ten thousand instances.",
    )
    ORTHANC_SERVERS: Annotated[Count, Field(le=2)] = Field(
        1,
        description="Orthancs over one PostgreSQL and one folder of images; of two, one goes on if the other dies.",
    )
    DICOMWEB_USERNAME: Plain = Field(
        "", description="Login for a DICOMweb server of your own; the stack's Orthanc needs none here."
    )
    DICOMWEB_PASSWORD: Secret = Field(_NONE, description="Its password.")
    BIND_ADDRESS: Annotated[str, AfterValidator(checked.names)] = Field(
        "127.0.0.1",
        description="Address of the label server's port; 0.0.0.0 lets the network in.",
        json_schema_extra={"group": "Network"},
    )
    LABEL_SERVER_PORT: Port = Field(8000, description="Port of the label server.")
    LABEL_SERVERS: Annotated[Count, Field(le=64)] = Field(
        1,
        description="Label servers over the stack's Orthanc, 8 on one machine and 64 in a cluster at most; if there "
        "are several, a door keeps each user at one.",
    )
    TRUSTED_PROXY: Annotated[str, AfterValidator(networks.checked)] = Field(
        "",
        description="Address or network of a proxy in front of the label server, or several: from it, X-Forwarded-For "
        "names the client and X-Forwarded-Proto the scheme. Empty: a client is who connects.",
    )
    ORTHANC_BIND_ADDRESS: Annotated[str, AfterValidator(checked.names)] = Field(
        "127.0.0.1",
        description="Address of Orthanc's web port. Others need it only for Orthanc's own pages and interfaces; the "
        "label server passes DICOMweb on. If it is open to other machines, a door slows down who guesses.",
    )
    ORTHANC_PORT: Port = Field(8042, description="Port of Orthanc's web page, REST and DICOMweb.")
    DICOM_BIND_ADDRESS: Annotated[str, AfterValidator(checked.names)] = Field(
        "127.0.0.1",
        description="Address of Orthanc's DICOM port, which has no authentication: expose it only to scanners.",
    )
    DICOM_PORT: Port = Field(4242, description="Port of Orthanc's DICOM service (C-STORE).")
    DICOM_AETS: Annotated[str, AfterValidator(checked.scanners)] = Field(
        "",
        description="Who may send to it, as AET@ADDRESS,... or AET,...; empty: anybody who reaches it.",
    )
    DICOM_KINDS: Annotated[str, AfterValidator(checked.uids)] = Field(
        "",
        description="SOP classes (UIDs) that Orthanc takes besides images, labels, contours and reports.",
    )
    MLFLOW_PORT: Port = Field(5000, description="Port of MLflow's pages (profile mlflow), on this machine only.")
    PROMETHEUS_PORT: Port = Field(
        9090, description="Port of Prometheus's pages (profile monitoring), on this machine only."
    )
    LOG_FORMAT: Literal["text", "json"] = Field(
        "text", description="What the label server's log is made of: lines of text, or of JSON for programs."
    )
    TLS_CERT: Plain = Field(
        "",
        description="File with the certificate chain (PEM) for HTTPS; empty: plain HTTP.",
    )
    TLS_KEY: Plain = Field("", description="File with its private key (PEM, not encrypted).")
    ORTHANC_EXPLORER: Literal["true", "false"] = Field("true", description="Whether Orthanc shows its web pages.")
    LABEL_SERVER_TOKEN: Annotated[SecretStr, AfterValidator(checked.token)] = Field(
        _NONE,
        description="Access token of the label server's user admin; `deploy.py up` makes one.",
        json_schema_extra={"group": "Secrets"},
    )
    ORTHANC_USERNAME: Annotated[str, AfterValidator(checked.orthanc_user)] = Field(
        "labelpod",
        description="Login of the stack's Orthanc, for people and programs.",
    )
    ORTHANC_PASSWORD: Secret = Field(_NONE, description="Its password; `deploy.py up` makes one.")
    MAX_BODY_MB: Count = Field(
        2048,
        description="Longest request that the label server takes, in MB: an uploaded volume or label.",
        json_schema_extra={"group": "Limits"},
    )
    MAX_VOLUME_MB: Count = Field(
        1024,
        description="Most that the voxels of an upload may take, in MB, or of a series that ITK reads: "
        "1,000 slices of 512 x 512 take 500. While it is read, it takes three times that much memory.",
    )
    MAX_HEADER_KB: Annotated[Count, Field(le=64)] = Field(32, description="Longest head of a request, in KB.")
    MAX_REQUESTS_PER_USER: Count = Field(16, description="Requests that one user may have running at once.")
    SLOW_CLIENT_SECONDS: Annotated[Seconds, Field(ge=1)] = Field(
        20,
        description="Seconds that a client may be silent in the middle of a request.",
    )
    INFER_QUEUE: Count = Field(8, description="Inferences that may wait for the GPU or CPU.")
    CACHE_MAX_GB: Count = Field(
        50, description="Images that the label server keeps on disk, in GB. Labels are always kept."
    )
    SAMPLE_LEASE: Count = Field(30, description="Minutes for which next sample gives an image to one annotator only.")
    SERIES_QUIET_SECONDS: Annotated[Count, Field(le=3600)] = Field(
        5, description="A series is complete, and offered, if nothing of it has come for so many seconds."
    )
    ORTHANC_MAX_BODY_MB: Count = Field(
        512, description="Longest request that Orthanc takes, in MB: an instance, or an archive of them."
    )
    ORTHANC_MAX_GB: Whole = Field(
        0, description="Images and labels that Orthanc stores, in GB; more is refused; 0: no limit."
    )
    ORTHANC_MAX_FOUND: Whole = Field(
        0,
        description="Patients, studies or series that Orthanc lists at once; 0: no limit, as `studies list` needs it.",
    )
    ORTHANC_MAX_FOUND_INSTANCES: Whole = Field(0, description="Instances that Orthanc lists at once; 0: no limit.")
    LABEL_SERVER_MEMORY: Memory = Field("16g", description="Memory that the label server may take.")
    LABEL_SERVER_CPUS: Annotated[Whole, Field(le=1024)] = Field(
        0, description="Processor cores that the label server may use; 0: all."
    )
    ORTHANC_MEMORY: Memory = Field("4g", description="Memory that Orthanc may take.")
    POSTGRES_MEMORY: Memory = Field("1g", description="Memory that PostgreSQL may take, if it is used.")
    IMAGE_SOURCE: Literal["auto", "registry", "debian"] = Field(
        "auto",
        description="Base images from a registry, from Debian packages, or whichever answers.",
        json_schema_extra={"group": "Images"},
    )
    BASE_IMAGE: Annotated[str, AfterValidator(checked.image_name)] = Field(
        "debian:bookworm-slim",
        description="Base of the label server's image in a registry; Debian 12.",
    )
    ORTHANC_IMAGE: Annotated[str, AfterValidator(checked.image_name)] = Field(
        "orthancteam/orthanc:26.8.1",
        description="Orthanc's image in a registry.",
    )
    POSTGRES_IMAGE: Annotated[str, AfterValidator(checked.image_name)] = Field(
        "postgres:17.6",
        description="PostgreSQL's image in a registry, for LABELPOD_ORTHANC_DB=postgres; version 17.",
    )
    PROMETHEUS_IMAGE: Annotated[str, AfterValidator(checked.image_name_or_none)] = Field(
        "",
        description="Prometheus's image in a registry, such as prom/prometheus:v3.7.3, for the profile monitoring; "
        "empty: none is made.",
    )
    DOOR_IMAGE: Annotated[str, AfterValidator(checked.image_name)] = Field(
        "haproxy:3.0.11",
        description="HAProxy's image in a registry, if there is a door; version 3.",
    )
    DEVICE: Literal["auto", "cpu", "gpu"] = Field(
        "auto",
        description="auto uses an NVIDIA GPU of 12 GB or more if there is one.",
        json_schema_extra={"group": "Hardware"},
    )
    SHM_SIZE: Memory = Field(
        "2gb",
        description="Shared memory of the label server, for training's data loaders.",
    )
    KUBERNETES_NAMESPACE: Annotated[str, AfterValidator(cluster.namespace)] = Field(
        "labelpod",
        description="Namespace for `render --for kubernetes`.",
        json_schema_extra={"group": "Kubernetes"},
    )
    KUBERNETES_IMAGES: Annotated[str, AfterValidator(cluster.prefix)] = Field(
        "", description="Where the nodes get the images: REGISTRY/FOLDER, to which you push them."
    )
    KUBERNETES_STORAGE_CLASS: Annotated[str, AfterValidator(cluster.name_or_none)] = Field(
        "", description="Class of volumes that one node mounts; empty: the cluster's default."
    )
    KUBERNETES_SHARED_STORAGE_CLASS: Annotated[str, AfterValidator(cluster.name_or_none)] = Field(
        "",
        description="Class of volumes that many nodes mount (ReadWriteMany), for what several label servers share.",
    )
    KUBERNETES_ORTHANC_GB: Count = Field(500, description="Size of the volume for Orthanc's images, in GB.")
    KUBERNETES_POSTGRES_HOST: Annotated[str, AfterValidator(cluster.host_or_none)] = Field(
        "", description="Host name of a PostgreSQL of your own, which speaks TLS; empty: one in the cluster."
    )
    KUBERNETES_HOST: Annotated[str, AfterValidator(cluster.host_or_none)] = Field(
        "", description="Host name under which annotators reach the cluster; the certificate's, for an Ingress."
    )
    KUBERNETES_TLS_SECRET: Annotated[str, AfterValidator(cluster.name_or_none)] = Field(
        "labelpod-tls", description="Secret with the certificate of that name, for the Ingress."
    )
    KUBERNETES_INGRESS_CLASS: Annotated[str, AfterValidator(cluster.name)] = Field(
        "nginx", description="Class of the Ingress; its annotations are ingress-nginx's."
    )
    KUBERNETES_INGRESS_NAMESPACE: Annotated[str, AfterValidator(cluster.namespace)] = Field(
        cluster.INGRESS_NAMESPACE,
        description="Namespace of whoever passes requests on: only from there the pods are reached.",
    )
    KUBERNETES_PROMETHEUS_NAMESPACE: Annotated[str, AfterValidator(cluster.namespace_or_none)] = Field(
        "", description="Namespace of a Prometheus that may ask the pods for their figures; empty: none may."
    )
    KUBERNETES_GATEWAY: Annotated[str, AfterValidator(cluster.gateway)] = Field(
        "", description="Gateway to take requests from instead of an Ingress (Gateway API), as NAMESPACE/NAME."
    )
    KUBERNETES_SECRETS: Literal["files", "existing"] = Field(
        "files",
        description="Whether `kubernetes up` makes the Secrets from secrets/, or finds them there already, as External "
        "Secrets and its like make them.",
    )
    KUBERNETES_GPU: Annotated[str, AfterValidator(cluster.resource)] = Field(
        "nvidia.com/gpu",
        description="What the cluster calls a GPU; each label server gets one unless LABELPOD_DEVICE=cpu.",
    )

    RUNPOD_STACK: Annotated[str, AfterValidator(checked.stack_name)] = Field(
        "labelpod",
        description="Name of this stack at RunPod: of its template, and what its pods' names begin with.",
        json_schema_extra={"group": "RunPod"},
    )
    RUNPOD_API_KEY: Secret = Field(
        _NONE, description="API key, from RunPod's console; or LABELPOD_RUNPOD_API_KEY_FILE."
    )
    RUNPOD_API_KEY_FILE: Plain = Field("", description="File that holds the API key; only you may read it.")
    RUNPOD_IMAGE: Annotated[str, AfterValidator(checked.repository)] = Field(
        "",
        description="Where `runpod publish` pushes the image: REGISTRY/YOU/labelpod[:TAG].",
    )
    RUNPOD_REGISTRY: Plain = Field("", description="Id of RunPod's login at that registry; empty: the image is public.")
    RUNPOD_API_URL: Url = Field("https://api.runpod.io", description="RunPod's API.")
    RUNPOD_PROXY_URL: Annotated[Plain, AfterValidator(pod_url.checked), AfterValidator(places.url)] = Field(
        "https://{pod}-8000.proxy.runpod.net/", description="The label server of a pod, behind RunPod's proxy."
    )
    IDLE_STOP_MINUTES: Annotated[Seconds, Field(ge=0)] = Field(
        60,
        description="Minutes without work after which a pod stops itself; 0: never. Not on your own machine.",
    )
    MAX_HOURS: Annotated[Seconds, Field(ge=0)] = Field(
        12, description="Hours after which a pod stops itself, and `runpod reap` stops it; 0: never."
    )

    @property
    def tls(self) -> bool:
        """Whether the ports speak HTTPS."""
        return bool(self.TLS_CERT)

    @property
    def postgres(self) -> bool:
        """Whether Orthanc's database is PostgreSQL."""
        return self.ORTHANC_DB == "postgres"

    @property
    def monitoring(self) -> bool:
        """Whether Prometheus may run beside the stack."""
        return bool(self.PROMETHEUS_IMAGE)

    @property
    def monitored(self) -> bool:
        """Whether a Prometheus, beside the stack or in the cluster, has logins for its figures."""
        return self.monitoring or bool(self.KUBERNETES_PROMETHEUS_NAMESPACE)

    @property
    def door(self) -> bool:
        """Whether HAProxy stands in front of Orthanc's web port, and of the label servers if there are several."""
        return self.several_servers or self.two_orthancs or not networks.is_loopback(self.ORTHANC_BIND_ADDRESS)

    @property
    def several_servers(self) -> bool:
        """Whether more than one label server runs."""
        return self.LABEL_SERVERS > 1

    @property
    def two_orthancs(self) -> bool:
        """Whether there is an Orthanc for when the other dies."""
        return self.postgres and self.ORTHANC_SERVERS > 1

    @property
    def scanners(self) -> dict[str, dict[str, Any]]:
        """Who may send to the DICOM port, as Orthanc's configuration names them; none may ask for anything."""
        asks = ("AllowFind", "AllowFindWorklist", "AllowGet", "AllowMove", "AllowStorageCommitment")
        none = dict.fromkeys(asks, False)
        pairs = [entry.partition("@")[::2] for entry in checked.listed(self.DICOM_AETS)]
        # Orthanc sends them nothing: the port is of no use, nor is the address if none is looked at.
        return {aet: {"AET": aet, "Host": host or "127.0.0.1", "Port": 104} | none for aet, host in pairs}

    @property
    def closed(self) -> bool:
        """Whether the label server needs no other machine: it fetches nothing, and the studies are here."""
        return self.WEIGHTS_WAIT == 0 and (not self.STUDIES or self.STUDIES.startswith("/"))

    @property
    def scheme(self) -> Literal["http", "https"]:
        """What the ports' URLs begin with."""
        return "https" if self.tls else "http"

    @property
    def own_dicomweb(self) -> str:
        """The stack's Orthanc, as the label server reaches it."""
        return f"{self.scheme}://orthanc:8042/dicom-web"


def load(env_file: Path, environ: Mapping[str, str] = os.environ, tolerant: bool = False) -> Settings:
    """Read `.env` (absent: defaults) under the environment; `tolerant` warns of what is wrong and does without it.

    Raises:
        DeployError: an unknown key, with the nearest known one, a bad value, with the reason, or two that contradict.

    """
    for error in _unknown(env_file):
        _refuse(error, tolerant)
    values = _given(env_file, environ)
    bad = _bad(values)
    for name, reason in bad.items():
        key = PREFIX + name
        _refuse(DeployError(f"{key}: {reason}", f"correct {key} in {env_file.name} or in the environment"), tolerant)
    settings = Settings.model_validate({name: value for name, value in values.items() if name not in bad})
    for contradiction in contradictions.found(dict(settings), PREFIX, env_file.name):
        _refuse(DeployError(*contradiction), tolerant)
    names = ("TLS_CERT", "TLS_KEY", "RUNPOD_API_KEY_FILE")
    files = {each: places.file(env_file.parent, name) for each in names if (name := getattr(settings, each))}
    return settings.model_copy(update=files)


def bad_values(env_file: Path) -> list[str]:
    """Keys whose values are none, in `.env` or the environment."""
    return [PREFIX + name for name in _bad(_given(env_file, os.environ))]


def _given(env_file: Path, environ: Mapping[str, str]) -> dict[str, str]:
    given = {name: environ.get(PREFIX + name, "") for name in Settings.model_fields}
    return _by_name(env_file) | {name: value for name, value in given.items() if value}


def _bad(values: Mapping[str, str]) -> dict[str, str]:
    """Name -> why its value is none."""
    try:
        Settings.model_validate(values)
    except ValidationError as error:
        return {str(each["loc"][0]): str(each["msg"]).removeprefix("Value error, ") for each in error.errors()}
    return {}


def _unknown(env_file: Path) -> Iterator[DeployError]:
    """Each key of `.env` that is no setting, with the nearest one."""
    for key in env_text.read(env_file):
        name = key.removeprefix(PREFIX)
        if name not in Settings.model_fields and not key.startswith(FOREIGN_PREFIXES):
            yield DeployError(f"{env_file.name}: {key} is not a setting", _nearest(name))


def _by_name(env_file: Path) -> dict[str, str]:
    """The settings of `.env` that are not empty: there an empty value means "not set", as in Compose's ${NAME:-}."""
    values: dict[str, str] = {}
    for key, value in env_text.read(env_file).items():
        name = key.removeprefix(PREFIX)
        # Names without the prefix are those of an older version; `up` renames them.
        if name in Settings.model_fields and (key.startswith(PREFIX) or name not in values):
            values[name] = value
    return {name: value for name, value in values.items() if value}


def _refuse(error: DeployError, tolerant: bool) -> None:
    if not tolerant:
        raise error
    say(f"Warning: {error.message}; {error.remedy}")


def compose_project(env_file: Path, environ: Mapping[str, str] = os.environ) -> str:
    """Compose's name of the project, which names containers and volumes; Compose's own rule, compose.yaml's name."""
    name = environ.get("COMPOSE_PROJECT_NAME") or env_text.read(env_file).get("COMPOSE_PROJECT_NAME") or "labelpod"
    if not re.fullmatch(r"[a-z0-9][a-z0-9_-]*", name):
        raise DeployError(
            f"COMPOSE_PROJECT_NAME={name!r} is no name of a project",
            "small letters, digits, _ and -, a letter or digit first; correct it in .env or in the environment",
        )
    return name


def _nearest(key: str) -> str:
    near = difflib.get_close_matches(key.upper(), Settings.model_fields, n=1, cutoff=0.5)
    return (f"did you mean {PREFIX}{near[0]}? if not, " if near else "") + "delete the line; see .env.example"


def secret_names() -> tuple[str, ...]:
    """Names of the settings whose values must never be shown."""
    return tuple(name for name, field in Settings.model_fields.items() if isinstance(field.default, SecretStr))
