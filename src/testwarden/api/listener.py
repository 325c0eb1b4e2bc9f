"""The API's listening socket: whoever connects too often is hung up on, before TLS or HTTP spends anything on them."""

from __future__ import annotations

import ipaddress
import socket
from typing import Any

MOST_CONNECTIONS = 256
"""Of all callers together, TLS handshakes included."""
MOST_OF_ONE = 128
"""Of one caller: room for as many starts as there may be at once, and a stop beside them."""


class Listener(socket.socket):
    """A listening socket that accepts only so many connections."""

    def __init__(self, family: int, kind: int, protocol: int) -> None:
        """Given what `getaddrinfo` says of the address."""
        super().__init__(family, kind, protocol)
        self._open: list[tuple[socket.socket, str]] = []

    def accept(self) -> tuple[socket.socket, Any]:
        """Return the next connection and its peer's address. Raise ConnectionAbortedError where there is no room for it,
        which the event loop takes as it takes a caller who went away: it asks again."""
        connection, address = super().accept()
        peer = peer_of(address[0])
        self._open = [(other, its) for other, its in self._open if other.fileno() >= 0]
        of_one = sum(its == peer for _, its in self._open)
        if of_one >= MOST_OF_ONE or len(self._open) >= MOST_CONNECTIONS:
            connection.close()
            raise ConnectionAbortedError
        self._open.append((connection, peer))
        return connection, address


def peer_of(address: str) -> str:
    """Given an address, return whom it belongs to: with IPv6 one caller has a /64, and 127.0.0.0/8 is one machine."""
    found = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(found, ipaddress.IPv6Address):
        # On `::` callers by IPv4 come as ::ffff:a.b.c.d; they are not one /64.
        found = found.ipv4_mapped or found
    if found.is_loopback:
        return "loopback"
    return str(found) if found.version == 4 else str(ipaddress.ip_network((found, 64), strict=False))
