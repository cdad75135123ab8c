"""Where a stack answers that runs: a setting that was changed since counts from the next `up` on."""

from collections.abc import Mapping

from python_on_whales import Container

from labelpod.config.settings import Settings
from labelpod.docker.stack import DOOR, LABEL_SERVER, ORTHANC

# By service: a port of its container, and the settings of the address and port that lead to it.
_PORTS = (
    (LABEL_SERVER, "8000/tcp", "BIND_ADDRESS", "LABEL_SERVER_PORT"),
    (ORTHANC, "8042/tcp", "ORTHANC_BIND_ADDRESS", "ORTHANC_PORT"),
    (DOOR, "8000/tcp", "BIND_ADDRESS", "LABEL_SERVER_PORT"),
    (DOOR, "8042/tcp", "ORTHANC_BIND_ADDRESS", "ORTHANC_PORT"),
    (ORTHANC, "4242/tcp", "DICOM_BIND_ADDRESS", "DICOM_PORT"),
)


def in_use(values: Settings, containers: Mapping[str, Container]) -> Settings:
    """The settings, with the addresses and ports of these containers in the place of their own.

    Args:
        values: the settings.
        containers: those that run, by service.

    """
    found: dict[str, str | int] = {}
    for service, port, address_name, port_name in _PORTS:
        container = containers.get(service)
        published = (container.network_settings.ports or {}) if container else {}
        for each in (published.get(port) or [])[:1]:
            found |= {address_name: each["HostIp"], port_name: int(each["HostPort"])}
    return values.model_copy(update=found)
