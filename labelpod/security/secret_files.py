"""The files in `secrets/`, which the containers read their logins, users and certificate from.

Only its owner can open the folder. Others can read the files in it, because the containers' users are others.
"""

import json
import secrets
from pathlib import Path
from urllib.parse import urlsplit

from labelpod import files
from labelpod.config.checked import LABEL_SERVER_USER, MONITOR_USER
from labelpod.config.settings import Settings
from labelpod.errors import DeployError
from labelpod.security import certificate, users
from labelpod_common import label_key

ORTHANC_USERS = "orthanc_users.json"
LABEL_KEY, LABEL_DELETION = "label_key", "label_deletion"
DICOMWEB_PASSWORD = "dicomweb_password"  # noqa: S105, a file's name
# They stay when the setting changes: what PostgreSQL has stored is still behind that password.
ORTHANC_POSTGRES, POSTGRES_PASSWORD = "orthanc_postgres.json", "postgres_password"
# For a database of the site's own, which is reached through other networks than the stack's.
ORTHANC_POSTGRES_TLS = "orthanc_postgres_tls.json"
MONITOR_TOKEN, ORTHANC_MONITOR = "monitor_token", "orthanc_monitor"
TLS_FILES = TLS_CERT, TLS_KEY, TLS_BOTH = "tls_cert.pem", "tls_key.pem", "tls_both.pem"


def write(values: Settings, folder: Path) -> None:
    """Bring the files up to date with the settings; those that are so already are not touched.

    Raises:
        DeployError: the certificate is no good, or the folder cannot be written.

    """
    files.folder(folder, 0o700)
    # It is made once: with another one the label server would not know its labels.
    deletion = label_key.deletion(_own_password(folder / LABEL_KEY, 0o644))
    texts = {LABEL_DELETION: deletion, **_logins(values, folder), **_certificate(values), **_database(values, folder)}
    for name in set(TLS_FILES) - set(texts):
        (folder / name).unlink(missing_ok=True)
    if values.monitored:
        users.follow(MONITOR_USER, "monitor", _own_password(folder / MONITOR_TOKEN, 0o644, lasting=False), folder)
    elif (folder / MONITOR_TOKEN).exists():
        users.follow_no_more(MONITOR_USER, "monitor", folder)
        for name in (MONITOR_TOKEN, ORTHANC_MONITOR):
            (folder / name).unlink(missing_ok=True)
    users.follow_admin(values.LABEL_SERVER_TOKEN.get_secret_value(), folder)
    for name, text in texts.items():
        files.write(folder / name, text.encode(), 0o644)


def _logins(values: Settings, folder: Path) -> dict[str, str]:
    own = _own_password(folder / "label_server_password", 0o600, lasting=False)
    logins = {values.ORTHANC_USERNAME: values.ORTHANC_PASSWORD.get_secret_value(), LABEL_SERVER_USER: own}
    if values.monitored:
        logins[MONITOR_USER] = _own_password(folder / ORTHANC_MONITOR, 0o644, lasting=False)
    # Nobody else's server is shown the login at our Orthanc.
    ours = urlsplit(values.STUDIES or values.own_dicomweb).hostname == urlsplit(values.own_dicomweb).hostname
    return {
        ORTHANC_USERS: json.dumps({"RegisteredUsers": logins}, indent=2),
        DICOMWEB_PASSWORD: values.DICOMWEB_PASSWORD.get_secret_value() or (own if ours else ""),
    }


def _database(values: Settings, folder: Path) -> dict[str, str]:
    """Orthanc's login at PostgreSQL, in Orthanc's own words: it reads every JSON file of its folder."""
    if not values.postgres:
        return {}
    login = {
        "EnableIndex": True,
        "EnableStorage": False,  # the images stay files
        "Host": "postgres",
        "Port": 5432,
        "Database": "orthanc",
        "Username": "orthanc",
        "Password": _own_password(folder / POSTGRES_PASSWORD, 0o644),
        # A lock could outlive an Orthanc that was killed, and keep the next one out.
        "Lock": False,
        # Newer plugins have other transactions by default, by which two Orthancs could both take a lease; Debian's has
        # no others. Of serializable ones that write at once some are refused with 503.
        "TransactionMode": "Serializable",
        "IndexConnectionsCount": 1,
    }
    files_of = {ORTHANC_POSTGRES: login}
    if values.KUBERNETES_POSTGRES_HOST:
        files_of[ORTHANC_POSTGRES_TLS] = login | {"EnableSsl": True}
    return {name: json.dumps({"PostgreSQL": each}, indent=2) for name, each in files_of.items()}


def _own_password(file: Path, mode: int, lasting: bool = True) -> str:
    """Of one service at another: made once, and known to nobody else.

    Args:
        file: that holds it.
        mode: its rights.
        lasting: whether what is stored depends on it, so that another one is no help.

    Raises:
        DeployError: it is broken, and must not be made again.

    """
    text = file.read_bytes().decode(errors="replace") if file.exists() else ""
    if file.exists() and lasting and not _sound(text):
        raise DeployError(
            f"{file} is broken, and what is stored depends on it",
            f"bring {file.name} back from your backup of secrets/",
        )
    if not _sound(text):
        text = secrets.token_urlsafe(24)
        files.write(file, text.encode(), mode)
    return text


def _sound(text: str) -> bool:
    return bool(text) and text.isascii() and text.isprintable()


def _certificate(values: Settings) -> dict[str, str]:
    if not values.tls:
        return {}
    certificate.check(values)
    chain, key = certificate.read(values)
    # Orthanc wants both in one file.
    return dict(zip(TLS_FILES, (chain, key, f"{key.rstrip()}\n{chain}"), strict=True))
