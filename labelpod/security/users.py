"""The label server's users: names, roles and digests of their tokens. A token is shown once and stored nowhere.

The label server reads the same file and sees changes at once.
"""

import re
import secrets
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from labelpod import files
from labelpod.errors import DeployError
from labelpod_common import users_file
from labelpod_common.users_file import ADMIN


class UnknownUserError(DeployError):
    """Nobody has this name."""


_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.@-]{0,63}")


def add(name: str, role: str, folder: Path) -> str:
    """Add a user.

    Returns:
        The token.

    Raises:
        DeployError: it is no name, or somebody has it.

    """
    if not _NAME.fullmatch(name):
        raise DeployError(
            f"{name!r} cannot be a user's name", "letters, digits, _ . @ and -, 64 at most, a letter or digit first"
        )
    token = secrets.token_urlsafe(24)
    with _changing(folder) as users:
        if name.lower() in {ADMIN, *(each["name"].lower() for each in users)}:
            raise DeployError(
                f"user {name} already exists", f"another name, or first `python3 deploy.py users revoke {name}`"
            )
        users.append(users_file.entry(name, role, token))
    return token


def revoke(name: str, folder: Path) -> None:
    """Revoke a user's access.

    Raises:
        UnknownUserError: there is no such user.
        DeployError: it is the one of LABEL_SERVER_TOKEN.

    """
    if name == ADMIN:
        raise DeployError(
            "the token of admin is LABELPOD_LABEL_SERVER_TOKEN in .env",
            "empty that line and run `python3 deploy.py up`, which makes another token",
        )
    with _changing(folder) as users:
        left = [each for each in users if each["name"] != name]
        if len(left) == len(users):
            raise UnknownUserError(f"there is no user {name}", "python3 deploy.py users list")
        users[:] = left


def known(folder: Path) -> list[dict[str, str]]:
    """Names and roles."""
    return [{"name": each["name"], "role": each["role"]} for each in _read(folder)]


def follow_admin(token: str, folder: Path) -> None:
    """The entry of admin is that of this token; the others stay."""
    follow(ADMIN, "admin", token, folder)


def follow(name: str, role: str, token: str, folder: Path) -> None:
    """The entry of this user is that of this token; the others stay.

    Raises:
        DeployError: somebody else has the name, in another role.

    """
    with _changing(folder) as users:
        if any(each["name"] == name and each["role"] != role for each in users):
            raise DeployError(f"there is a user {name} in another role", f"python3 deploy.py users revoke {name}")
        others = [each for each in users if each["name"] != name]
        users[:] = [users_file.entry(name, role, token), *others]


def follow_no_more(name: str, role: str, folder: Path) -> None:
    """There is no entry of this user in this role."""
    if any((each["name"], each["role"]) == (name, role) for each in _read(folder)):
        revoke(name, folder)


def unchanged(folder: Path) -> AbstractContextManager[None]:
    """Nobody changes the users meanwhile."""
    return files.locked(folder / "users.lock")


@contextmanager
def _changing(folder: Path) -> Iterator[list[dict[str, str]]]:
    """The entries, to be changed in place; nobody else changes them meanwhile."""
    files.folder(folder, 0o700)
    files.folder(folder / "users", 0o755)
    with unchanged(folder):
        users = _read(folder)
        yield users
        files.write(_file(folder), users_file.dump(users).encode(), 0o644)


def _read(folder: Path) -> list[dict[str, str]]:
    file = _file(folder)
    try:
        return users_file.parse(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return []
    except PermissionError:
        raise DeployError(f"{file} is not for this user", "run this as the user who ran `deploy.py up`") from None
    except (OSError, ValueError) as error:
        problem = str(error) or type(error).__name__
        raise DeployError(
            f"{file} cannot be read: {problem}", "fix it; or delete it, and add the users again"
        ) from None


def _file(folder: Path) -> Path:
    return folder / "users" / "users.json"
