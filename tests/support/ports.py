"""Ports that stay free until a test uses them."""

import socket

# Bound and not listening: nobody else is given the port, and a server that reuses addresses can open it.
_HELD: list[socket.socket] = []


def held_port() -> int:
    """A port of this machine on which nobody listens; it is held until this process ends."""
    held = socket.socket()
    held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    held.bind(("127.0.0.1", 0))
    _HELD.append(held)
    return int(held.getsockname()[1])
