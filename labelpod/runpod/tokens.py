"""The tokens of a pod: made for it, and good nowhere else, because what uses them goes through RunPod's hands.

Each user of the home server has one under the same name and role. The pod's environment holds their digests, and a file
of this machine's the tokens. They end with the pod: the next one has others.
"""

import json
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Any

from labelpod import files
from labelpod.errors import DeployError
from labelpod.security import users
from labelpod_common import users_file
from labelpod_common.users_file import ADMIN

FILE = "runpod_tokens.json"
# A pod's environment: the digest of admin's token, by which its tokens are found, and the file of the other users.
DIGEST, USERS = "LABEL_SERVER_TOKEN_SHA256", "LABEL_SERVER_USERS"
# Pods that ended by themselves leave theirs behind, which are of no use to anybody.
_MOST_PODS = 100

Tokens = dict[str, str]


def make(folder: Path) -> dict[str, str]:
    """Make a new pod's tokens, by name, and keep them.

    Args:
        folder: of the secrets.

    Returns:
        What the pod's environment says of them.

    Raises:
        DeployError: they cannot be kept, or the home server's users cannot be read.

    """
    roles = {each["name"]: each["role"] for each in users.known(folder)} | {ADMIN: ADMIN}
    tokens = {name: secrets.token_urlsafe(24) for name in roles}
    others = [users_file.entry(name, roles[name], token) for name, token in tokens.items() if name != ADMIN]
    digest = users_file.digest(tokens[ADMIN])
    _change(folder, lambda known: dict([*known.items(), (digest, tokens)][-_MOST_PODS:]))
    return {DIGEST: digest, USERS: json.dumps({"users": others})}


def find(pod: dict[str, Any], folder: Path) -> Tokens | None:
    """A pod's tokens by the name of the user; None if they are not here."""
    try:
        return _read(folder).get(_digest(pod))
    except DeployError:
        return None


def of(pod: dict[str, Any], folder: Path) -> Tokens:
    """A pod's tokens by the name of the user.

    Raises:
        DeployError: they are not here.

    """
    found = _read(folder).get(_digest(pod))
    if found is None:
        raise DeployError(
            f"{folder / FILE} does not know the tokens of pod {pod['id']}:"
            " another machine, or an older labelpod, has launched it",
            "copy that file from there, or `runpod terminate` and `runpod launch` from here",
        )
    return found


def forget(pod: dict[str, Any], folder: Path) -> None:
    """Forget the tokens of a pod that has ended, which open nothing any more."""
    if find(pod, folder):
        _change(folder, lambda known: {each: tokens for each, tokens in known.items() if each != _digest(pod)})


def _digest(pod: dict[str, Any]) -> str:
    return str((pod.get("env") or {}).get(DIGEST, ""))


def _change(folder: Path, change: Callable[[dict[str, Tokens]], dict[str, Tokens]]) -> None:
    files.folder(folder, 0o700)
    with files.locked((folder / FILE).with_suffix(".lock")):
        files.write(folder / FILE, json.dumps({"pods": change(_read(folder))}, indent=2).encode(), 0o600)


def _read(folder: Path) -> dict[str, Tokens]:
    """The tokens by the digest of admin's; oldest first."""
    file = folder / FILE
    try:
        return dict(json.loads(file.read_text(encoding="utf-8"))["pods"])
    except FileNotFoundError:
        return {}
    except PermissionError:
        raise DeployError(f"{file} is not for this user", "run this as the user who ran `runpod launch`") from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DeployError(
            f"{file} cannot be read: {error}", "bring it back from a backup; or delete it, and launch another pod"
        ) from None
