"""Who listens on a TCP port of this machine, from the kernel's tables."""

import errno
import ipaddress
import socket
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path


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
    sockets = {f"socket:[{inode}]" for inode in _listening(address, port)}
    for process in Path("/proc").glob("[0-9]*"):
        if sockets & set(_open_files(process)):
            with suppress(OSError):  # it may have ended
                return f"{(process / 'comm').read_text().strip()} (pid {process.name})"
    return None


def _listening(address: str, port: int) -> Iterator[str]:
    """Inodes of the sockets that listen there, from the kernel's tables for IPv4 and IPv6."""
    wanted = ipaddress.IPv4Address(address).packed[::-1].hex().upper()
    for table in (Path("/proc/net/tcp"), Path("/proc/net/tcp6")):
        for line in table.read_text().splitlines()[1:] if table.exists() else []:
            _, local, _, state, *rest = line.split()
            place, _, number = local.partition(":")
            anywhere = not place.strip("0") or not wanted.strip("0")
            if state == "0A" and int(number, 16) == port and (anywhere or place.endswith(wanted)):
                yield rest[5]


def _open_files(process: Path) -> Iterator[str]:
    with suppress(OSError):  # another user's process shows nothing
        for file in (process / "fd").iterdir():
            with suppress(OSError):
                yield str(file.readlink())
