"""Where the stack answers: as others reach it, and as this machine does."""

import socket

from labelpod.config import networks
from labelpod.config.settings import Settings

_ANYWHERE = "0.0.0.0"  # noqa: S104, compared with


def host(address: str) -> str:
    """A bind address as others reach it."""
    if address != _ANYWHERE:
        return address
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # sends nothing; tells which address leads outside
            return str(probe.getsockname()[0])
        except OSError:
            return "127.0.0.1"


def label_server(values: Settings, token: str) -> str:
    """The label server's URL for the user of this token, ready to paste."""
    return with_token(f"{values.scheme}://{host(values.BIND_ADDRESS)}:{values.LABEL_SERVER_PORT}/", token)


def in_cluster(values: Settings, token: str) -> str:
    """The same in a cluster whose host the settings name."""
    scheme = "https" if values.KUBERNETES_TLS_SECRET or values.KUBERNETES_GATEWAY else "http"
    return with_token(f"{scheme}://{values.KUBERNETES_HOST}/", token)


def with_token(base: str, token: str) -> str:
    """A label server's URL with an access token in it."""
    return f"{base}{token}/" if token else base


def only_here(values: Settings) -> bool:
    """Whether nobody reaches the label server from another machine."""
    return networks.is_loopback(values.BIND_ADDRESS)


def label_server_here(values: Settings) -> str:
    """The label server's URL without a token, for this machine's own questions."""
    address = "127.0.0.1" if values.BIND_ADDRESS == _ANYWHERE else values.BIND_ADDRESS
    return f"{values.scheme}://{address}:{values.LABEL_SERVER_PORT}/"


def orthanc(values: Settings) -> str:
    """Orthanc's URL."""
    return f"{values.scheme}://{host(values.ORTHANC_BIND_ADDRESS)}:{values.ORTHANC_PORT}/"


def dicom(values: Settings) -> str:
    """Orthanc's DICOM node."""
    return f"LABELPOD@{host(values.DICOM_BIND_ADDRESS)}:{values.DICOM_PORT}"
