"""The client's address and scheme behind a proxy.

What refuses, counts and logs by address must not take all clients for one; and a browser that speaks HTTPS to the proxy
must be told so by its cookies.
"""

import asyncio
import logging
import time
from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

logger = logging.getLogger(__name__)

# In the scope: whether a trusted proxy has passed the request on.
PROXIED = "labelpod.proxied"
# So long the address of a name is believed, in seconds, and so long an answer about it is waited for.
_BELIEVED, _PATIENCE = 5.0, 1.0
_SCHEMES = ("http", "https")


class TrustedProxy:
    """Takes what a trusted proxy passes on for a request of the client that it names in X-Forwarded-For.

    Whether the client speaks HTTPS is what the proxy says in X-Forwarded-Proto. From anybody else the headers are only
    words: whoever connects could name any address.

    Args:
        app: what is behind it.
        proxies: addresses and networks of the proxies.
        names: of further ones; a container that starts anew may have another address.
        in_pod: whether a proxy whose address nobody tells is the only way in: then the scheme is anybody's to say.

    """

    def __init__(
        self,
        app: ASGIApp,
        proxies: Sequence[IPv4Network | IPv6Network],
        names: Sequence[str] = (),
        in_pod: bool = False,
    ) -> None:
        self._app = app
        self._proxies = proxies
        self._names = names
        self._in_pod = in_pod
        self._warned = False
        self._named: set[IPv4Address | IPv6Address] = set()
        self._asked = float("-inf")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, with the client's address and scheme."""
        peer = _address(scope["client"][0]) if scope.get("client") else None
        if self._names and time.monotonic() - self._asked > _BELIEVED:
            self._asked = time.monotonic()
            found = {address for name in self._names for address in await _addresses(name)}
            self._named = found or self._named  # an answer that does not come says nothing of where they are
        trusted = peer is not None and self._trusts(peer)
        if peer and trusted:
            scope[PROXIED] = True
            scope["client"] = (str(self._client(peer, _listed(scope, "x-forwarded-for"))), 0)
        # The last is the word of the proxy that connects; what comes before, somebody has told it.
        scheme = _listed(scope, "x-forwarded-proto")[-1].lower()
        if (trusted or self._in_pod) and scheme in _SCHEMES:
            scope["scheme"] = scheme
        elif scheme == "https" != scope.get("scheme"):
            self._warn()
        await self._app(scope, receive, send)

    def _warn(self) -> None:
        """Say once what whoever has put a proxy in front would look for."""
        if not self._warned:
            self._warned = True
            logger.warning(
                "Somebody whom LABELPOD_TRUSTED_PROXY does not name says that browsers speak HTTPS to them: if it is "
                "your proxy, name it, or cookies and addresses are those of plain HTTP"
            )

    def _client(self, peer: IPv4Address | IPv6Address, named: Sequence[str]) -> IPv4Address | IPv6Address:
        """The last address that no trusted proxy has: each proxy adds who connects to it, after what that one says."""
        for name in reversed(named):
            address = _address(name)
            if address is None:
                break
            peer = address
            if not self._trusts(peer):
                break
        return peer

    def _trusts(self, address: IPv4Address | IPv6Address) -> bool:
        return address in self._named or any(address in network for network in self._proxies)


def _listed(scope: Scope, header: str) -> list[str]:
    """The values of a header that may come several times, or hold several; [""] if it does not come."""
    return [value.strip() for value in ",".join(Headers(scope=scope).getlist(header)).split(",")]


async def _addresses(name: str) -> set[IPv4Address | IPv6Address]:
    """The addresses of a name; none if nobody knows it, or not in time."""
    try:
        found = await asyncio.wait_for(asyncio.get_running_loop().getaddrinfo(name, None), _PATIENCE)
    except OSError:
        return set()
    return {address for each in found if (address := _address(str(each[4][0])))}


def _address(text: str) -> IPv4Address | IPv6Address | None:
    try:
        address = ip_address(text)
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address
