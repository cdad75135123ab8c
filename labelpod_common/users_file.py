"""The file of the label server's users: the driver writes it, the label server reads it.

`{"users": [{"name", "role", "sha256"}]}`. Tokens are kept as SHA-256 digests: they are long and random, so that a slow
hash would protect nothing more.
"""

import hashlib
import json

ROLES = ("annotator", "reviewer", "admin", "monitor")
# The user of LABEL_SERVER_TOKEN.
ADMIN = "admin"


def digest(token: str) -> str:
    """What the file keeps of a token."""
    return hashlib.sha256(token.encode()).hexdigest()


def entry(name: str, role: str, token: str) -> dict[str, str]:
    """The entry of a user."""
    return {"name": name, "role": role, "sha256": digest(token)}


def dump(entries: list[dict[str, str]]) -> str:
    """The file's text."""
    return f"{json.dumps({'users': entries}, indent=2)}\n"


def parse(text: str) -> list[dict[str, str]]:
    """The entries of the file's text.

    Raises:
        ValueError: it is not such a file, or an entry is incomplete or has a role that does not exist.

    """
    content = json.loads(text)
    entries = content.get("users") if isinstance(content, dict) else None
    if not isinstance(entries, list):
        raise ValueError("it holds no list of users")
    for each in entries:
        if not isinstance(each, dict) or not all(isinstance(each.get(key), str) for key in ("name", "role", "sha256")):
            raise ValueError("an entry is incomplete")
        if each["role"] not in ROLES:
            raise ValueError("an entry has an unknown role")
    return entries
