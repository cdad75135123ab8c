"""The addresses and ports that the stack opens: whether it can, and who could listen in or walk in."""

import ipaddress
import socket
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

from labelpod.config.settings import Settings
from labelpod.docker import ownership
from labelpod.doctor.machine import Machine
from labelpod.errors import DeployError
from labelpod.host import ports
from labelpod.process import run
from labelpod.security import certificate
from labelpod_common.doctor_report import Finding

_PORT_SECONDS = 3
_RENEW = timedelta(days=30)


def check(machine: Machine) -> list[Finding]:
    """Addresses, ports, the certificate, and what is open to others."""
    values = machine.settings
    addresses = {name: getattr(values, name) for name in ("BIND_ADDRESS", "ORTHANC_BIND_ADDRESS", "DICOM_BIND_ADDRESS")}
    if bad := [_not_ours(name, address) for name, address in addresses.items() if not _ours(address)]:
        return bad
    names = {
        "LABEL_SERVER_PORT": values.BIND_ADDRESS,
        "ORTHANC_PORT": values.ORTHANC_BIND_ADDRESS,
        "DICOM_PORT": values.DICOM_BIND_ADDRESS,
    }
    with ThreadPoolExecutor() as pool:
        found = list(pool.map(lambda name: _port(machine, names[name], name), names))
    return [*found, *_certificate(values), *_open_to_others(values)]


def _ours(address: str) -> bool:
    with suppress(OSError, ValueError), socket.socket() as probe:
        ipaddress.IPv4Address(address)
        probe.bind((address, 0))
        return True
    return False


def _not_ours(name: str, address: str) -> Finding:
    message = f"LABELPOD_{name}={address} is not an IPv4 address of this machine"
    return Finding("error", "network", message, f"set LABELPOD_{name} in .env to 127.0.0.1 or 0.0.0.0")


def _port(machine: Machine, address: str, name: str) -> Finding:
    """Whether the stack can open it; one that its own container holds is its own."""
    port = getattr(machine.settings, name)
    subject = f"port {port}"
    holder = ports.holder(address, port)
    if holder is None:
        return Finding("ok", subject, f"free, for LABELPOD_{name}")
    form = f'{{{{.Names}}}} {{{{.Label "com.docker.compose.project"}}}} {ownership.FOLDER}'
    listed = run("docker", "ps", "--filter", f"publish={port}", "--format", form, seconds=_PORT_SECONDS)
    for line in listed.stdout.splitlines():
        container, project, folder = [*line.split(" ", 2), "", ""][:3]
        elsewhere = bool(folder) and ownership.is_elsewhere(Path(folder), machine.folder)
        if project == machine.project and not elsewhere:
            return Finding("ok", subject, f"held by this stack's own {container}")
        holder = f"container {container}{f' of {folder}' if elsewhere else ''}"
    return Finding("error", subject, f"taken by {holder}", f"stop it, or set LABELPOD_{name} in .env to another port")


def _certificate(values: Settings) -> list[Finding]:
    if not values.tls:
        return []
    try:
        expires = certificate.check(values)
    except DeployError as error:
        return [Finding("error", "certificate", error.message, error.remedy)]
    message = f"valid until {expires:%Y-%m-%d}"
    if expires - datetime.now(UTC) > _RENEW:
        return [Finding("ok", "certificate", message)]
    remedy = "renew it, then `python3 deploy.py up`, which gives it to the services"
    return [Finding("warning", "certificate", message, remedy)]


def _open_to_others(values: Settings) -> list[Finding]:
    findings = []
    for name in ("BIND_ADDRESS", "ORTHANC_BIND_ADDRESS"):
        address = getattr(values, name)
        if not values.tls and not ipaddress.IPv4Address(address).is_loopback:
            message = f"LABELPOD_{name}={address} without TLS: secrets and images cross the network in clear"
            remedy = (
                "set LABELPOD_TLS_CERT and LABELPOD_TLS_KEY in .env; "
                f"or LABELPOD_{name}=127.0.0.1, and let others come through SSH"
            )
            findings.append(Finding("warning", "network", message, remedy))
    if not ipaddress.IPv4Address(values.DICOM_BIND_ADDRESS).is_loopback:
        message = (
            f"LABELPOD_DICOM_BIND_ADDRESS={values.DICOM_BIND_ADDRESS}: DICOM has no authentication, "
            "anybody there may store and ask"
        )
        remedy = "let a firewall admit only your scanners, or set LABELPOD_DICOM_BIND_ADDRESS=127.0.0.1 in .env"
        findings.append(Finding("warning", "DICOM", message, remedy))
    return findings
