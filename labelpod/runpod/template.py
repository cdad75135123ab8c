"""The RunPod template: what a pod of this stack is made from."""

import json
import re
from typing import Any

from labelpod.config import settings
from labelpod.config.settings import Settings
from labelpod.errors import DeployError
from labelpod.runpod import whose
from labelpod.runpod.client import Client, RunPodError

# In the pod the studies come through the tunnel of `runpod connect`.
STUDIES = "http://127.0.0.1:8042/dicom-web"
# For pods that are started in RunPod's console; `runpod launch` gives the token's digest instead.
TOKEN = "{{ RUNPOD_SECRET_labelpod_token }}"  # noqa: S105, a placeholder
_DISK_GB = 40
_BY_DIGEST = re.compile(r"[^@\s]+@sha256:[0-9a-f]{64}")


def wanted(values: Settings, image: str, public: bool = False) -> dict[str, Any]:
    """The template as it should be.

    Args:
        values: the settings.
        image: with its digest; a tag may be moved, and `latest` says nothing.
        public: whether everybody may use it.

    Raises:
        DeployError: the image has no digest, or the template is public and would give something away.

    """
    if not _BY_DIGEST.fullmatch(image):
        raise DeployError(f"{image} is not an image by its digest", "`python3 deploy.py runpod publish` pushes one")
    env = environment(values) | {"LABEL_SERVER_TOKEN": TOKEN}
    if public and values.RUNPOD_REGISTRY:
        raise DeployError(
            "a public template cannot have a login at a registry",
            "a public image and an empty LABELPOD_RUNPOD_REGISTRY",
        )
    body = {
        "name": values.RUNPOD_STACK,
        "image": image,
        "disk": _DISK_GB,
        "ports": ["8000/http", "22/tcp"],
        "env": {name: value for name, value in env.items() if value},
        "registry": values.RUNPOD_REGISTRY or None,
        "category": "NVIDIA",
        "public": public,
        "serverless": False,
        "startSsh": True,
        "startJupyter": False,
        "allowedCudaVersions": [],
    }
    refuse_secrets(values, body)
    return body


def environment(values: Settings) -> dict[str, str]:
    """The settings that a pod reads, and whose it is; some may be empty."""
    return {
        whose.STACK: values.RUNPOD_STACK,
        "APP": values.APP,
        "LABELS": values.LABELS,
        "FOREIGN_LABELS": values.FOREIGN_LABELS,
        "MODELS": values.MODELS,
        "BUNDLES": values.BUNDLES,
        "STUDIES": STUDIES,
        "STUDIES_MODALITY": values.STUDIES_MODALITY,
        "IDLE_STOP_MINUTES": str(values.IDLE_STOP_MINUTES),
        "MAX_HOURS": str(values.MAX_HOURS),
    }


def refuse_secrets(values: Settings, body: dict[str, Any]) -> None:
    """See that no secret of the settings stands in what is sent.

    Raises:
        DeployError: one does.

    """
    text = json.dumps(body)
    secrets = {name: getattr(values, name).get_secret_value() for name in settings.secret_names()}
    if exposed := [name for name, value in secrets.items() if value and value in text]:
        raise DeployError(
            f"the value of LABELPOD_{exposed[0]} would stand in the template", "take it out of the other settings"
        )


def publish(client: Client, body: dict[str, Any]) -> str:
    """Make the template, or change what differs.

    Returns:
        "created", "changed: FIELD, FIELD" or "unchanged".

    """
    existing = find(client, body["name"])
    if existing is None:
        try:
            client.create_template(body)
            return "created"
        except RunPodError as error:
            # Somebody else made it in between.
            existing = find(client, body["name"]) if error.status in (400, 409) else None
            if existing is None:
                raise
    changes = {field: value for field, value in body.items() if _differs(existing.get(field), value)}
    if not changes:
        return "unchanged"
    client.update_template(existing["id"], changes)
    return f"changed: {', '.join(changes)}"


def find(client: Client, name: str) -> dict[str, Any] | None:
    """The account's template of this name.

    Raises:
        DeployError: there are two.

    """
    found = [template for template in client.list_templates() if template["name"] == name]
    if len(found) > 1:
        ids = ", ".join(template["id"] for template in found)
        raise DeployError(f"there are {len(found)} templates {name}: {ids}", "delete all but one in RunPod's console")
    return found[0] if found else None


def _differs(there: Any, here: Any) -> bool:
    if isinstance(here, list):
        return sorted(there or []) != sorted(here)
    return bool(there != here)
