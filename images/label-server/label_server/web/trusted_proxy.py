"""The client's address behind a proxy: what refuses, counts and logs by address must not take all clients for one."""

from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

# In the scope: whether a trusted proxy has passed the request on.
PROXIED = "labelpod.proxied"


class TrustedProxy:
    """Takes what a trusted proxy passes on for a request of the client that it names in X-Forwarded-For.

    From anybody else the header is only words: whoever connects could name any address.

    Args:
        app: what is behind it.
        proxies: addresses and networks of the proxies.

    """

    def __init__(self, app: ASGIApp, proxies: Sequence[IPv4Network | IPv6Network]) -> None:
        self._app = app
        self._proxies = proxies

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, with the client's address."""
        peer = _address(scope["client"][0]) if scope.get("client") else None
        if peer and self._trusts(peer):
            scope[PROXIED] = True
            named = ",".join(Headers(scope=scope).getlist("x-forwarded-for")).split(",")
            scope["client"] = (str(self._client(peer, named)), 0)
        await self._app(scope, receive, send)

    def _client(self, peer: IPv4Address | IPv6Address, named: Sequence[str]) -> IPv4Address | IPv6Address:
        """The last address that no trusted proxy has: each proxy adds who connects to it, after what that one says."""
        for name in reversed(named):
            address = _address(name.strip())
            if address is None:
                break
            peer = address
            if not self._trusts(peer):
                break
        return peer

    def _trusts(self, address: IPv4Address | IPv6Address) -> bool:
        return any(address in network for network in self._proxies)


def _address(text: str) -> IPv4Address | IPv6Address | None:
    try:
        address = ip_address(text)
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address
