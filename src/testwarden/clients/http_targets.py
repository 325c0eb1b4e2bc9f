"""Where an HTTP attempt may go: to the operator's gateway, and to allowed hosts on public addresses."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import quote, urljoin, urlsplit

from testwarden.clients.dial import DialRefused

METADATA = frozenset(
    ipaddress.ip_address(text)
    for text in (
        "169.254.169.254",  # Amazon, Google, Microsoft, Oracle, DigitalOcean, OpenStack
        "fd00:ec2::254",  # Amazon
        "169.254.170.2",  # Amazon: credentials of a container
        "169.254.170.23",
        "fd00:ec2::23",
        "fd20:ce::254",  # Google
        "100.100.100.200",  # Alibaba
        "168.63.129.16",  # Microsoft: the virtual host, on what looks like a public address
        "192.0.0.192",  # Oracle, older
    )
)
"""Where a cloud tells its machines their secrets: reached by nobody, whatever the operator allows."""

_NAT64 = ipaddress.ip_network("64:ff9b::/96")
_NAT64_LOCAL = ipaddress.ip_network("64:ff9b:1::/48")
"""RFC 8215: of whoever runs the translator, so never the public internet's."""
_NOT_PUBLIC = (ipaddress.ip_network("192.0.0.0/24"), ipaddress.ip_network("192.88.99.0/24"))
"""Protocol assignments (RFC 6890) and the old 6to4 relays (RFC 7526): some versions of Python call parts of them global."""
_GLOBAL_UNICAST = ipaddress.ip_network("2000::/3")
_DEFAULT_PORTS = {"http": 80, "https": 443}


class TargetRefused(DialRefused):
    """The address is not one that an attempt may go to."""


@dataclass(frozen=True)
class Origin:
    """What decides whom a request reaches."""

    scheme: str
    host: str
    port: int

    @classmethod
    def of(cls, url: str) -> Origin:
        """Given an absolute URL, return its origin. Raise TargetRefused unless it is http(s) and without a password."""
        try:
            parts = urlsplit(url)
            host, port = parts.hostname or "", parts.port
        except ValueError as error:
            raise TargetRefused(f"{url[:100]!r} is not a URL: {error}") from error
        scheme = parts.scheme.lower()
        if scheme not in _DEFAULT_PORTS or not host:
            raise TargetRefused(f"{url[:100]!r} is not an http or https URL")
        if "@" in parts.netloc:
            raise TargetRefused("a URL with a user name or password is not used")
        return cls(scheme, _plain(host), port or _DEFAULT_PORTS[scheme])


@dataclass(frozen=True)
class Route:
    """Where one download starts and where it may lead."""

    url: str
    home: Origin | None
    """The operator's gateway, which may be anywhere; None where the catalogue names an absolute URL."""
    allowed_hosts: tuple[str, ...]

    def hop(self, location: str, base: str) -> str:
        """Given a redirect and the URL that it came from, return where it leads. Raise TargetRefused if not allowed."""
        url = urljoin(base, location)
        self.check(url)
        return url

    def check(self, url: str) -> None:
        """Raise TargetRefused unless a request may be sent to this URL."""
        origin = Origin.of(url)
        if origin != self.home:
            self._check_host(origin.host)

    def check_dial(self, host: str, port: int, addresses: Sequence[str]) -> None:
        """The dial policy: what counts is who is really dialled, not how the URL looked to whoever read it before."""
        if self.home is not None and (_plain(host), port) == (self.home.host, self.home.port):
            return
        self._check_host(host)
        for address in addresses:
            if not is_public(address):
                raise TargetRefused(f"{_plain(host)} leads to {address}, which is not a public address")

    def _check_host(self, host: str) -> None:
        if not host_allowed(host, self.allowed_hosts):
            raise TargetRefused(f"{_plain(host)} is not one of the allowed hosts")


def route_to(gateway: str, allowed_hosts: Sequence[str], address: str, name: str) -> Route:
    """Given the gateway's URL, the hosts that absolute URLs may have and a row of the catalogue, return the route.

    Raise TargetRefused for an address that may not be used.
    """
    hosts = tuple(allowed_hosts)
    if "://" in address:
        route = Route(address, None, hosts)
        route.check(address)
        return route
    base = gateway.rstrip("/")
    return Route(f"{base}/{_segment(address)}/{_segment(name)}", Origin.of(base), hosts)


def upload_url(gateway: str, name: str) -> str:
    """Given the gateway's URL and the name of a file, return where it is put."""
    return f"{gateway.rstrip('/')}/{_segment(name)}"


def host_allowed(host: str, allowed_hosts: Sequence[str]) -> bool:
    """Return whether a host is on a list of names; `*.example.org` stands for what is below example.org."""
    plain = _plain(host)
    for entry in allowed_hosts:
        pattern = _plain(entry)
        if plain == pattern or (pattern.startswith("*.") and plain.endswith(pattern[1:]) and plain != pattern[1:]):
            return True
    return False


def is_public(address: str) -> bool:
    """Return whether an IP address is on the public internet, also when it is an IPv4 address in an IPv6 wrapping.

    Python's `is_global` alone calls multicast and some reserved addresses global (documentation of `ipaddress`).
    """
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return False
    if isinstance(found, ipaddress.IPv6Address):
        inner = inner_ipv4(found)
        if inner is not None and found not in _NAT64_LOCAL:
            return is_public(str(inner))
        if found not in _GLOBAL_UNICAST:
            return False
    if found in METADATA or any(found in network for network in _NOT_PUBLIC):
        return False
    return found.is_global and not (found.is_multicast or found.is_reserved or found.is_private)


def inner_ipv4(address: ipaddress.IPv6Address) -> ipaddress.IPv4Address | None:
    """Return the IPv4 address that packets to this IPv6 address end at: mapped, NAT64 (RFC 6052, and 8215 with
    the address at its end) or 6to4 (RFC 3056)."""
    if address in _NAT64 or address in _NAT64_LOCAL:
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour


def _segment(text: str) -> str:
    """Quote one segment of a path. Raise TargetRefused for what would name another place."""
    if text in ("", ".", ".."):
        raise TargetRefused(f"{text!r} is not an address or name")
    return quote(text, safe="")


def _plain(host: str) -> str:
    return host.strip("[]").rstrip(".").lower()
