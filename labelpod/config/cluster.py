"""Names in a Kubernetes cluster among the settings, and what settings a cluster cannot be given.

The first functions return a value as it is kept, and raise ValueError with the reason if it is none.
"""

import re
from collections.abc import Iterator, Mapping
from ipaddress import ip_network
from typing import Any

from labelpod.config import checked, networks
from labelpod.config.contradictions import Contradiction

# Where ingress-nginx is by its own instructions.
INGRESS_NAMESPACE = "ingress-nginx"
_LABEL = "[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?"


def name(text: str) -> str:
    """The name of an object."""
    if not re.fullmatch(rf"{_LABEL}(\.{_LABEL})*", text) or len(text) > 63:
        raise ValueError(f"{text!r} is no name in a cluster: small letters, digits and -, 63 at most")
    return text


def namespace(text: str) -> str:
    """The name of a namespace, which is a part of names in the DNS."""
    if "." in name(text):
        raise ValueError(f"{text!r} is no name of a namespace: it has a dot")
    return text


def namespace_or_none(text: str) -> str:
    """The same, or ""."""
    return text and namespace(text)


def name_or_none(text: str) -> str:
    """The same, or ""."""
    return text and name(text)


def prefix(text: str) -> str:
    """What the names of images begin with, without a tag; "" for none."""
    if ":" in text.rpartition("/")[2] or "@" in text:
        raise ValueError(f"{text!r} is not REGISTRY/FOLDER, without a tag")
    return text and checked.image_name(text.rstrip("/"))


def host_or_none(text: str) -> str:
    """The name of a host, which is not an address; "" for none."""
    if text and (not re.fullmatch(rf"{_LABEL}(\.{_LABEL})*", text) or re.fullmatch(r"[0-9.]+", text)):
        raise ValueError(f"{text!r} is no name of a host")
    return text


def gateway(text: str) -> str:
    """NAMESPACE/NAME; "" for none."""
    if text and not re.fullmatch(f"{_LABEL}/{_LABEL}", text):
        raise ValueError(f"{text!r} is not NAMESPACE/NAME")
    return text


def resource(text: str) -> str:
    """What the cluster calls a device, as nvidia.com/gpu or nvidia.com/mig-1g.10gb."""
    if not re.fullmatch(r"[a-z0-9.-]+/[A-Za-z0-9][A-Za-z0-9._-]*", text):
        raise ValueError(f"{text!r} is no resource of a cluster, as nvidia.com/gpu is")
    return text


def contradictions(values: Mapping[str, Any], prefix: str, file: str) -> Iterator[Contradiction]:
    """Each reason why these settings do not run in a cluster, though they may on one machine.

    Args:
        values: the settings by their names.
        prefix: of their names as people write them.
        file: what the settings stand in.

    """
    several, sqlite = values["LABEL_SERVERS"] > 1, values["ORTHANC_DB"] == "sqlite"
    if not values["KUBERNETES_IMAGES"]:
        yield Contradiction(
            f"{prefix}KUBERNETES_IMAGES is not set: the nodes know no place of the images",
            f"push them to a registry, and set it in {file} to REGISTRY/FOLDER",
        )
    if several and sqlite:
        yield Contradiction(
            f"{prefix}LABEL_SERVERS={values['LABEL_SERVERS']} and {prefix}ORTHANC_DB=sqlite: SQLite is one "
            "file, which several label servers keep busy and which may break on a volume of the network",
            f"set {prefix}ORTHANC_DB in {file} to postgres",
        )
    if several and not values["KUBERNETES_SHARED_STORAGE_CLASS"]:
        yield Contradiction(
            f"{prefix}LABEL_SERVERS={values['LABEL_SERVERS']} without {prefix}KUBERNETES_SHARED_STORAGE_CLASS: the "
            "trainer writes the models, and label servers on other nodes read them",
            f"set {prefix}KUBERNETES_SHARED_STORAGE_CLASS in {file} to a class that gives ReadWriteMany",
        )
    if values["ORTHANC_SERVERS"] > 1 and not values["KUBERNETES_SHARED_STORAGE_CLASS"]:
        yield Contradiction(
            f"{prefix}ORTHANC_SERVERS={values['ORTHANC_SERVERS']} without {prefix}KUBERNETES_SHARED_STORAGE_CLASS: "
            "both have one folder of images, and are on different nodes",
            f"set {prefix}KUBERNETES_SHARED_STORAGE_CLASS in {file} to a class that gives ReadWriteMany",
        )
    if values["KUBERNETES_POSTGRES_HOST"] and sqlite:
        yield Contradiction(
            f"{prefix}KUBERNETES_POSTGRES_HOST is set and {prefix}ORTHANC_DB is sqlite",
            f"set {prefix}ORTHANC_DB in {file} to postgres, or no host",
        )
    if values["ORTHANC_MAX_GB"] > values["KUBERNETES_ORTHANC_GB"]:
        yield Contradiction(
            f"{prefix}ORTHANC_MAX_GB={values['ORTHANC_MAX_GB']} is more than {prefix}KUBERNETES_ORTHANC_GB="
            f"{values['KUBERNETES_ORTHANC_GB']}, the size of its volume",
            f"set {prefix}KUBERNETES_ORTHANC_GB in {file} to as much and some more",
        )
    yield from _ways_in(values, prefix, file)


def _entrance(values: Mapping[str, Any], prefix: str, file: str) -> Iterator[Contradiction]:
    """Those of the Ingress or Gateway."""
    if values["KUBERNETES_GATEWAY"] and values["KUBERNETES_INGRESS_NAMESPACE"] == INGRESS_NAMESPACE:
        yield Contradiction(
            f"{prefix}KUBERNETES_GATEWAY={values['KUBERNETES_GATEWAY']}, and requests are taken from the namespace "
            f"{INGRESS_NAMESPACE} only: the Gateway's would be dropped",
            f"set {prefix}KUBERNETES_INGRESS_NAMESPACE in {file} to the namespace in which the Gateway's pods run",
        )
    if not values["KUBERNETES_GATEWAY"] and values["KUBERNETES_TLS_SECRET"] and not values["KUBERNETES_HOST"]:
        yield Contradiction(
            f"{prefix}KUBERNETES_HOST is not set: without a name the Ingress shows its controller's own certificate",
            f"set {prefix}KUBERNETES_HOST in {file} to the name that stands in the certificate; or leave "
            f"{prefix}KUBERNETES_TLS_SECRET empty if HTTPS ends before the cluster",
        )


def _ways_in(values: Mapping[str, Any], prefix: str, file: str) -> Iterator[Contradiction]:
    """Those of the network."""
    yield from _entrance(values, prefix, file)
    if values["STUDIES"].startswith("/"):
        yield Contradiction(
            f"{prefix}STUDIES={values['STUDIES']} is a folder of this machine, which no node has",
            f"leave {prefix}STUDIES in {file} empty, or set it to a DICOMweb URL",
        )
    if values["TLS_CERT"]:
        yield Contradiction(
            f"{prefix}TLS_CERT is set: in a cluster HTTPS ends at the Ingress or Gateway",
            f"leave {prefix}TLS_CERT and {prefix}TLS_KEY in {file} empty; {prefix}KUBERNETES_TLS_SECRET names a Secret",
        )
    if not values["TRUSTED_PROXY"]:
        yield Contradiction(
            f"{prefix}TRUSTED_PROXY is not set: all annotators would have the Ingress's address, and one's wrong "
            "tokens lock all of them out",
            f"set {prefix}TRUSTED_PROXY in {file} to the network of the cluster's pods, or of the Ingress's",
        )
    if not networks.is_loopback(values["DICOM_BIND_ADDRESS"]) and not scanner_addresses(values["DICOM_AETS"]):
        yield Contradiction(
            f"{prefix}DICOM_BIND_ADDRESS opens the DICOM port, which knows no login, and {prefix}DICOM_AETS does not "
            "say from which addresses",
            f"set {prefix}DICOM_AETS in {file} to AET@ADDRESS,... with addresses, no names",
        )


def scanner_addresses(aets: str) -> list[str]:
    """The address of each scanner, as a network of its own; none if one has a name, or no address."""
    hosts = sorted({entry.partition("@")[2] for entry in checked.listed(aets)})
    try:
        return [str(ip_network(host)) for host in hosts]
    except ValueError:
        return []
