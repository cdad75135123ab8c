"""Who listens on a TCP port of this machine."""

import errno
import ipaddress
import socket
from collections.abc import Iterator
from contextlib import suppress

import psutil

_LOOKS = 3


def holder(address: str, port: int) -> str | None:
    """Who listens there.

    Args:
        address: IPv4 address that the port is to be opened on.
        port: TCP port.

    Returns:
        Program and pid, "another program" if that cannot be seen, None if the port is free.

    """
    with socket.socket() as probe:
        # As servers do; otherwise a connection that ended a minute ago would hold the port.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, port))
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                return _listener(address, port) or "another program"
    return None


def _listener(address: str, port: int) -> str | None:
    for _ in range(_LOOKS):
        # A process that was just started by the one that listens has its sockets, too, and may have ended by now.
        with suppress(psutil.Error, OSError):
            return next(_listening(address, port), None)
    return None


def _listening(address: str, port: int) -> Iterator[str]:
    """Programs that listen there; those of other users are seen without their pid, and left out."""
    for each in psutil.net_connections("tcp"):
        listens = each.status == psutil.CONN_LISTEN and each.laddr.port == port
        if listens and each.pid and _covers(each.laddr.ip, address):
            yield f"{psutil.Process(each.pid).name()} (pid {each.pid})"


def _covers(there: str, wanted: str) -> bool:
    """Whether what listens at one address is in the way of the other."""
    place = ipaddress.ip_address(there)
    plain = getattr(place, "ipv4_mapped", None) or place
    return plain.is_unspecified or ipaddress.ip_address(wanted).is_unspecified or str(plain) == wanted
