"""Where a setting's value leads: to an address, or to a file."""

import os
from pathlib import Path
from urllib.parse import urlsplit


def url(text: str) -> str:
    """A URL as it is; `{pod}` in it stands for a pod's id.

    Raises:
        ValueError: no client could use it.

    """
    try:
        parts = urlsplit(text.replace("{pod}", "pod"))
        host = (parts.hostname or "").encode("idna")
        if parts.scheme in ("http", "https") and host and parts.port != 0:
            return text
    except ValueError:  # of brackets, of a host or of a port that cannot be
        pass
    raise ValueError("it is no address, http://HOST:PORT/ or https://HOST/")


def file(folder: Path, name: str) -> str:
    """A file beside the one that names it, wherever the user stands, or in a home; `~nobody` is a name as any other."""
    return str(folder / os.path.expanduser(name))  # noqa: PTH111, pathlib raises where there is no such home
