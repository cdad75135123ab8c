"""The account at RunPod that the settings name."""

import os
import shlex
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from labelpod.config.settings import Settings
from labelpod.errors import DeployError
from labelpod.runpod.client import Client


@contextmanager
def api(values: Settings, dry_run: Callable[[str], None] | None = None) -> Iterator[Client]:
    """The API with the account's key.

    Raises:
        DeployError: there is no key, it cannot be one, or others can read its file.

    """
    key = values.RUNPOD_API_KEY.get_secret_value()
    if not key and values.RUNPOD_API_KEY_FILE:
        key = _read(Path(values.RUNPOD_API_KEY_FILE))
    if not key:
        raise DeployError(
            "there is no API key of RunPod's", "set LABELPOD_RUNPOD_API_KEY in .env, or LABELPOD_RUNPOD_API_KEY_FILE"
        )
    if not (key.isascii() and key.isprintable() and " " not in key):
        raise DeployError(
            "the API key of RunPod's has letters that no key has", "copy it again from RunPod's console, Settings"
        )
    with Client(key, values.RUNPOD_API_URL, dry_run) as client:
        yield client


def _read(file: Path) -> str:
    try:
        found = file.stat()
        # Root may lend one to a group that we are in, as container engines do; nobody else lends one to us.
        lent = found.st_uid == 0 != os.geteuid()
        if found.st_mode & (0o007 if lent else 0o077):
            raise DeployError(
                f"other users can read {file}, which holds the API key of RunPod's",
                f"chmod 600 {shlex.quote(str(file))}",
            )
        return file.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise DeployError(f"LABELPOD_RUNPOD_API_KEY_FILE cannot be read: {error}", "name a file of yours") from None
