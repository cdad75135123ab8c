"""Whose a pod is: told by this machine's record, its environment, its name and its template together.

A pod carries the stack's name, a sign of who has the stack's token, and its name begins with both. So two laptops with
one `.env` find the same pod, a pod is found after `.env` has changed, one that was started in RunPod's console is found
by its template, and a pod of somebody else's stack of the same name is never ours.
"""

import hashlib
import re
import secrets
import time
from functools import cached_property
from typing import Any

from labelpod.config.settings import Settings
from labelpod.project import Project
from labelpod.runpod import keys, ledger
from labelpod.runpod.client import Client

# A pod's environment: its stack's name, and the sign of its owner.
STACK, OWNER = "LABELPOD_STACK", "LABELPOD_OWNER"
_SIGN_LETTERS = 6


def owner(values: Settings) -> str:
    """The sign of who has this token: it is no login, and tells the token only to who has guessed it."""
    token = values.LABEL_SERVER_TOKEN.get_secret_value()
    return hashlib.sha256(f"labelpod owner {token}".encode()).hexdigest()[:32]


def new_name(values: Settings) -> str:
    """A name that no other pod has: STACK-SECONDS-SIGN."""
    sign = owner(values)[:_SIGN_LETTERS]
    return f"{values.RUNPOD_STACK}-{int(time.time())}-{sign}{secrets.token_hex(3)}"


class Ours:
    """What tells this stack's pods from others.

    Args:
        client: asked for templates only if a pod must be told by one.
        values: the settings as they are now.
        project: the folder with the record and the SSH key.

    """

    def __init__(self, client: Client, values: Settings, project: Project) -> None:
        self._client = client
        self._stack = values.RUNPOD_STACK
        self._owner = owner(values)
        self._known = {*ledger.read(project.pods_record), *ledger.orders(project.pods_record)}
        self._key = keys.known(project.secrets)
        self._name = re.compile(rf"{re.escape(self._stack)}-\d+-([0-9a-f]{{{_SIGN_LETTERS}}})[0-9a-f]{{6}}")

    def has(self, pod: dict[str, Any]) -> bool:
        """Whether a pod, as it is listed or as it is itself, is of this stack."""
        env = pod.get("env") or {}
        if self._known & {pod["id"], pod.get("name")}:
            return True
        if self._key and STACK in env and env.get("PUBLIC_KEY") == self._key:
            return True
        if OWNER in env:
            return bool(env[OWNER] == self._owner and env.get(STACK) == self._stack)
        if named := self._name.fullmatch(pod.get("name") or ""):
            return named[1] == self._owner[:_SIGN_LETTERS]
        return env.get(STACK) == self._stack or (bool(pod.get("template")) and pod["template"] in self._templates)

    @cached_property
    def _templates(self) -> set[str]:
        """Ids and name of the templates of this name; there may be several."""
        named = [each for each in self._client.list_templates() if each.get("name") == self._stack]
        return {self._stack, *(each["id"] for each in named)}
