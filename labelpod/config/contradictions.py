"""Settings that are sound each and contradict each other: one table for each kind.

Whether an address is one of this machine's is no matter of the settings only: `labelpod/doctor/network_checks.py`.
"""

from collections.abc import Iterator, Mapping
from itertools import combinations
from typing import Any, NamedTuple

_ANYWHERE = "0.0.0.0"  # noqa: S104, compared with

# Two that make sense only together, and what needs both.
_TOGETHER = (
    ("TLS_CERT", "TLS_KEY", "HTTPS needs both"),
    ("DICOMWEB_USERNAME", "DICOMWEB_PASSWORD", "a login at a DICOMweb server needs both"),
)
# Each port that is opened on this machine, and the setting with its address; "" for this machine only.
_PORTS = {
    "LABEL_SERVER_PORT": "BIND_ADDRESS",
    "ORTHANC_PORT": "ORTHANC_BIND_ADDRESS",
    "DICOM_PORT": "DICOM_BIND_ADDRESS",
    "MLFLOW_PORT": "",
}
# What the stack's own Orthanc cannot be called, with a certificate and without one.
_OWN_ORTHANC = {
    True: ("http://orthanc:", "with {0}TLS_CERT the stack's Orthanc speaks HTTPS only"),
    False: ("https://orthanc:", "without {0}TLS_CERT the stack's Orthanc speaks no HTTPS"),
}

_MOST_LABEL_SERVERS = 8


class Contradiction(NamedTuple):
    """Two lines: what contradicts what, and what to set."""

    message: str
    remedy: str


def found(values: Mapping[str, Any], prefix: str, file: str) -> Iterator[Contradiction]:
    """Each contradiction.

    Args:
        values: the settings by their names; an empty value is one that is not set.
        prefix: of their names as people write them.
        file: what the settings stand in.

    """
    for first, second, why in _TOGETHER:
        if bool(values[first]) != bool(values[second]):
            there, missing = (first, second) if values[first] else (second, first)
            message = f"{prefix}{there} is set and {prefix}{missing} is not; {why}"
            yield Contradiction(message, f"set {prefix}{missing} in {file}, or neither")
    for one, other in combinations(_PORTS, 2):
        if values[one] == values[other] and _overlap(_address(one, values), _address(other, values)):
            message = f"{prefix}{one} and {prefix}{other} are both {values[one]}, on the same address"
            yield Contradiction(message, f"set {prefix}{other} in {file} to another port")
    start, why = _OWN_ORTHANC[bool(values["TLS_CERT"])]
    if values["STUDIES"].startswith(start):
        yield Contradiction(f"{prefix}STUDIES: {why.format(prefix)}", f"leave {prefix}STUDIES in {file} empty")
    if values["ORTHANC_SERVERS"] > 1 and values["ORTHANC_DB"] == "sqlite":
        yield Contradiction(
            f"{prefix}ORTHANC_SERVERS is {values['ORTHANC_SERVERS']} and {prefix}ORTHANC_DB is sqlite: a file, which "
            "one Orthanc has for itself",
            f"set {prefix}ORTHANC_DB in {file} to postgres, or {prefix}ORTHANC_SERVERS to 1",
        )
    if values["LABEL_SERVERS"] > 1 and values["STUDIES"] and "://orthanc:" not in values["STUDIES"]:
        message = (
            f"{prefix}LABEL_SERVERS={values['LABEL_SERVERS']} and {prefix}STUDIES: only the stack's own Orthanc keeps"
        )
        yield Contradiction(
            f"{message} what label servers share, such as who has which image",
            f"leave {prefix}STUDIES in {file} empty, or set {prefix}LABEL_SERVERS to 1",
        )


def on_one_machine(values: Mapping[str, Any], prefix: str, file: str) -> Iterator[Contradiction]:
    """Each reason why these settings run in a cluster only; the arguments are those of `found`."""
    if values["LABEL_SERVERS"] > _MOST_LABEL_SERVERS:
        yield Contradiction(
            f"{prefix}LABEL_SERVERS={values['LABEL_SERVERS']}: one machine runs {_MOST_LABEL_SERVERS} at most, which "
            "share its memory, its cores and its graphics cards",
            f"set {prefix}LABEL_SERVERS in {file} to {_MOST_LABEL_SERVERS} or less, or see docs/kubernetes.md",
        )


def _address(port: str, values: Mapping[str, Any]) -> str:
    return str(values[_PORTS[port]]) if _PORTS[port] else "127.0.0.1"


def _overlap(one: str, other: str) -> bool:
    return one == other or _ANYWHERE in (one, other)
