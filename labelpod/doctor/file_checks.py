"""The files of this folder: whether others can read its secrets, or change what runs with this user's rights."""

import grp
import os
import pwd
import stat
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path

from labelpod.config.settings import Settings
from labelpod_common.doctor_report import Finding
from labelpod_common.text import counted

_SUBJECT = "files"
# What runs, or says what runs; of .venv, which holds ten thousand files, where Python looks first.
_PROGRAMS = ("labelpod", "labelpod_common", "images", "templates", "build")
_PLACES = (
    *(".", ".git", "*.py", "*.yaml", "*.yml", ".env"),
    *(".venv", ".venv/bin", ".venv/bin/*", ".venv/lib*/*/site-packages", ".venv/lib*/*/site-packages/*"),
)


def check(folder: Path, values: Settings, environ: Mapping[str, str] = os.environ) -> list[Finding]:
    """What others can read or change here, and whose folder it is.

    Args:
        folder: that the stack is run from.
        values: the settings, which name files with keys.
        environ: it tells who has called sudo.

    """
    findings = [*_readable(folder, values), *_changeable(folder), *_of_somebody_else(folder, environ)]
    good = "only this user can read the secrets and change the programs"
    return findings or [Finding("ok", _SUBJECT, good)]


def _readable(folder: Path, values: Settings) -> Iterator[Finding]:
    secrets = folder / "secrets"
    if secrets.is_dir() and secrets.stat().st_mode & 0o077:
        message = "other users can open secrets/, which holds passwords and keys"
        yield Finding("warning", _SUBJECT, message, "chmod 700 secrets")
    kept = [path for path in folder.glob(".env?*") if path.name != ".env.example"]
    for path in [*kept, *(Path(name) for name in (values.TLS_KEY, values.RUNPOD_API_KEY_FILE) if name)]:
        # What is not there is another check's matter.
        with suppress(OSError):
            if path.stat().st_mode & 0o077:
                shown = path.name if path.parent == folder else path
                yield Finding("warning", _SUBJECT, f"other users can open {shown}", f"chmod 600 {shown}")


def _changeable(folder: Path) -> Iterator[Finding]:
    """What others may write to, and folders in which they may put something in its place."""
    if found := [path for path in _programs(folder) if _others_write(path)]:
        first = found[0].relative_to(folder)
        more = "" if len(found) == 1 else f" and {counted(len(found) - 1, 'more file')}"
        message = f"other users may change {'this folder' if first == Path() else first}{more}, and so what runs here"
        yield Finding("warning", _SUBJECT, message, "chmod -R go-w .")
    for parent in folder.resolve().parents:
        if _others_write(parent):
            message = f"other users may put another folder in the place of this one: they may write to {parent}"
            yield Finding("warning", _SUBJECT, message, f"chmod go-w {parent}, or move this folder elsewhere")


def _programs(folder: Path) -> Iterator[Path]:
    for pattern in _PLACES:
        yield from [folder] if pattern == "." else folder.glob(pattern)
    for name in (*_PROGRAMS, "secrets"):
        yield from (folder / name).rglob("*")
        yield folder / name


def _others_write(path: Path) -> bool:
    """Whether somebody besides the owner and root may; a link has no rights of its own."""
    try:
        status = path.lstat()
    except OSError:
        return False
    if stat.S_ISLNK(status.st_mode) or (stat.S_ISDIR(status.st_mode) and status.st_mode & stat.S_ISVTX):
        return False
    return bool(status.st_mode & stat.S_IWOTH or (status.st_mode & stat.S_IWGRP and _shared(status)))


def _shared(status: os.stat_result) -> bool:
    """Whether a file's group has members besides its owner; many systems give each user a group of their own."""
    if status.st_gid == 0:
        return False
    try:
        owner = pwd.getpwuid(status.st_uid)
        members = set(grp.getgrgid(status.st_gid).gr_mem) - {owner.pw_name}
    except KeyError:
        return True
    return bool(members) or status.st_gid != owner.pw_gid


def _of_somebody_else(folder: Path, environ: Mapping[str, str]) -> Iterator[Finding]:
    """Root that runs what another user may change; whoever has called sudo in their own folder may do so anyway."""
    owner, caller = folder.stat().st_uid, environ.get("SUDO_UID", "")
    if os.geteuid() != 0 or owner == 0 or caller == str(owner):
        return
    message = f"root runs what {_name(owner)} may change: this folder is theirs"
    yield Finding("warning", _SUBJECT, message, "run a checkout of your own, or `sudo chown -R root: .`")


def _name(uid: int) -> str:
    try:
        return f"the user {pwd.getpwuid(uid).pw_name}"
    except KeyError:
        return f"the user with the number {uid}"
