"""Addresses and networks among the settings: who is meant, and whether that is this machine only."""

import ipaddress

_IPV4_IN_IPV6 = ipaddress.IPv6Network("::ffff:0:0/96")


def checked(text: str) -> str:
    """Addresses and networks, separated by commas, without spaces.

    Raises:
        ValueError: one of them is none, is everybody, or is written so that it never matches.

    """
    entries = [entry.strip() for entry in text.split(",") if entry.strip()]
    for entry in entries:
        try:
            network = ipaddress.ip_network(entry)
        except ValueError as error:
            raise ValueError(f"{entry!r} is no address and no network: {error}") from None
        if network.prefixlen == 0:
            raise ValueError(f"{entry!r} is everybody, who could then name any address")
        if isinstance(network, ipaddress.IPv6Network) and network.subnet_of(_IPV4_IN_IPV6):
            raise ValueError(f"{entry!r} is of IPv4: write it so")
    return ",".join(entries)


def is_loopback(address: str) -> bool:
    """Whether nobody reaches this bind address from another machine."""
    return address == "localhost" or address.startswith("127.")
