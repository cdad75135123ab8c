"""The tokens of a pod: good for it and nowhere else, because what uses them goes through RunPod's hands.

They follow from the home server's token and the pod's name: each machine with this `.env` knows them, and none keeps
them. From them, as from their digests, only a token that can be guessed can be found out, see docs/security.md. Each
user of the home server has one under the same name and role. The pod's environment holds their digests. They end with
the pod: the next one has another name.
"""

import base64
import hmac
import json
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from labelpod.config.settings import Settings
from labelpod.errors import DeployError
from labelpod.runpod import whose
from labelpod.security import users
from labelpod_common import users_file
from labelpod_common.users_file import ADMIN

# A pod's environment: the digest of admin's token, and the file of the other users.
DIGEST, USERS = "LABEL_SERVER_TOKEN_SHA256", "LABEL_SERVER_USERS"
# What it was named at its launch: RunPod's console renames pods.
NAME = "LABELPOD_NAME"

Tokens = dict[str, str]


def roles(folder: Path) -> dict[str, str]:
    """Role of each user of the home server, by name.

    Raises:
        DeployError: they cannot be read.

    """
    return {each["name"]: each["role"] for each in users.known(folder)} | {ADMIN: ADMIN}


def environment(values: Settings, pod_name: str, roles: dict[str, str]) -> dict[str, str]:
    """What a pod's environment says of its tokens: enough to check them, nothing to log in with."""
    others = [
        users_file.entry(name, role, _token(values, pod_name, name)) for name, role in roles.items() if name != ADMIN
    ]
    admin = users_file.digest(_token(values, pod_name, ADMIN))
    return {NAME: pod_name, DIGEST: admin, USERS: json.dumps({"users": others})}


def find(pod: dict[str, Any], values: Settings) -> Tokens | None:
    """A pod's tokens by the name of the user; None if they do not follow from this `.env`."""
    env = pod.get("env") or {}
    named = str(env.get(NAME) or pod.get("name"))
    tokens = {name: _token(values, named, name) for name in (ADMIN, *_others(pod))}
    return tokens if env.get(DIGEST) == users_file.digest(tokens[ADMIN]) else None


def of(pod: dict[str, Any], values: Settings) -> Tokens:
    """A pod's tokens by the name of the user.

    Raises:
        DeployError: they do not follow from this `.env`.

    """
    found = find(pod, values)
    if found is None and _from_console(pod):
        raise DeployError(
            f"pod {pod['id']} was started in RunPod's console: its token is its secret labelpod_token",
            "`python3 deploy.py runpod launch --force` rents one whose token is known here",
        )
    if found is None:
        raise DeployError(
            f"pod {pod['id']} was launched with another LABELPOD_LABEL_SERVER_TOKEN, or by an older labelpod",
            f"`python3 deploy.py runpod terminate {pod['id']}`, then `runpod launch`; or bring back the `.env` of then",
        )
    return found


def _token(values: Settings, pod_name: str, user: str) -> str:
    """192 bits, as the home server's."""
    key = values.LABEL_SERVER_TOKEN.get_secret_value().encode()
    mac = hmac.digest(key, json.dumps(["pod", pod_name, user]).encode(), "sha256")
    return base64.urlsafe_b64encode(mac[:24]).decode()


def _from_console(pod: dict[str, Any]) -> bool:
    """Whether it has what the template gives, and nothing that a launch gives."""
    env = pod.get("env") or {}
    return whose.STACK in env and not {whose.OWNER, DIGEST} & set(env)


def _others(pod: dict[str, Any]) -> Iterator[str]:
    with suppress(ValueError, TypeError, KeyError):
        for each in json.loads((pod.get("env") or {})[USERS])["users"]:
            yield str(each["name"])
