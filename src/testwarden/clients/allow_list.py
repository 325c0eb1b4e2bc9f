"""The allow-list: what a program in a cage may reach. Pure decisions; who dials asks twice, for the name and for what it
leads to."""

from __future__ import annotations

import contextlib
import ipaddress
import re
import socket
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import idna
import psutil

from testwarden.clients.dial import DialPolicy
from testwarden.clients.http_targets import METADATA, TargetRefused, host_allowed, inner_ipv4, is_public

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_NUMERIC = re.compile(r"(0x[0-9a-f]*|[0-9]+)(\.(0x[0-9a-f]*|[0-9]+)){0,3}")
_NAME = re.compile(r"(?=.{1,253}$)[a-z0-9_-]{1,63}(\.[a-z0-9_-]{1,63})*")
_WITH_PORT = re.compile(r"(?P<host>\[[^\[\]]*\]|[^:\[\]]*)(:(?P<port>[0-9]{1,5}))?")


def canonical(host: str) -> str:
    """Given a host as somebody wrote it, return the one way in which we write it; IPv6 without brackets.

    Names are lower case, in Punycode and without a dot at the end. An IPv4 address may be written in any way that a
    resolver takes for one (`127.1`, `0x7f000001`), or be wrapped in IPv6. Raise ValueError where it is no host.
    """
    if host.startswith("["):
        return _canonical_address(host[1:].removesuffix("]"))
    text = host if host.isascii() else idna.encode(host, uts46=True).decode()
    text = text.lower().removesuffix(".")
    with contextlib.suppress(ValueError):
        return _canonical_address(text)
    if _NUMERIC.fullmatch(text):
        return _from_numbers(text)
    if _NAME.fullmatch(text):
        return text
    raise ValueError(f"{host[:100]!r} is neither a host name nor an address")


@dataclass(frozen=True)
class Target:
    """One entry of the list."""

    host: str
    """As `canonical` writes it; `*.example.org` stands for what is below example.org."""
    port: int | None
    """None: any port."""

    @classmethod
    def parse(cls, text: str) -> Target:
        """Given `host`, `host:port`, `*.host`, `[IPv6]:port` or an IPv6 address, return what it means.

        Raise ValueError with a sentence where it is none of these.
        """
        text = text.strip()
        with contextlib.suppress(ValueError):
            return cls(_canonical_address(text), None)
        found = _WITH_PORT.fullmatch(text)
        if not found:
            raise ValueError(f"{text[:100]!r} is not a target: write host, host:port or *.host")
        host, port = found["host"], int(found["port"]) if found["port"] else None
        if port is not None and not 1 <= port <= 65535:
            raise ValueError(f"{text[:100]!r} is not a target: a port is from 1 to 65535")
        below = host.startswith("*.")
        plain = canonical(host[2:] if below else host)
        if below and _is_address(plain):
            raise ValueError(f"{text[:100]!r} is not a target: nothing is below an address")
        return cls(f"*.{plain}" if below else plain, port)

    def covers(self, host: str, port: int) -> bool:
        """Given a host as `canonical` writes it, return whether this entry allows it."""
        if self.port not in (None, port):
            return False
        return host_allowed(host, [self.host])


@dataclass(frozen=True)
class Way:
    """Where to dial for what was asked for."""

    host: str
    port: int
    policy: DialPolicy | None
    """Judges what the name turns out to lead to. None: a place that the agent itself has named."""


@dataclass(frozen=True)
class AllowList:
    """What may be reached."""

    targets: tuple[Target, ...]
    private: bool = False
    """Whether private, loopback and link-local addresses may be reached."""
    names: Mapping[str, tuple[str, int]] = field(default_factory=dict)
    """Names that only the agent knows, in lower case → host and port, which may be loopback. They have to be targets."""
    lan: tuple[Network, ...] = ()
    """The networks that this machine is in. They count as private, whatever their addresses look like."""

    def way(self, host: str, port: int) -> Way:
        """Given whom a program wants to reach, return where to dial. Raise TargetRefused if that is not allowed."""
        try:
            plain = canonical(host)
        except ValueError as error:
            raise TargetRefused(str(error)) from error
        if not any(target.covers(plain, port) for target in self.targets):
            raise TargetRefused("it is not one of the targets")
        if plain in self.names:
            return Way(*self.names[plain], None)
        return Way(plain, port, self._judge)

    def _judge(self, host: str, port: int, addresses: Sequence[str]) -> None:
        """The dial policy: raise TargetRefused unless every address that the host has may be reached."""
        del host, port
        for text in addresses:
            if why := self._objection(text):
                raise TargetRefused(f"it leads to {text}, {why}")

    def _objection(self, text: str) -> str:
        """Given an address, return why it may not be reached; empty if it may."""
        try:
            address = _unwrapped(ipaddress.ip_address(text))
        except ValueError:
            return "which is no address"
        if address in METADATA:
            return "where a cloud keeps secrets"
        if self.private:
            strange = address.is_multicast or address.is_unspecified or (address.version == 4 and address.is_reserved)
            return "which is no address of one machine" if strange else ""
        if not is_public(text):
            return "which is not a public address"
        return "which is in this machine's own network" if any(address in network for network in self.lan) else ""


def own_networks() -> tuple[Network, ...]:
    """Return the networks that this machine's interfaces are in now."""
    return tuple(_networks())


def _networks() -> Iterator[Network]:
    for addresses in psutil.net_if_addrs().values():
        for found in addresses:
            if found.family in (socket.AF_INET, socket.AF_INET6):
                address = ipaddress.ip_address(found.address.partition("%")[0])
                mask = int(ipaddress.ip_address(found.netmask)) if found.netmask else (1 << address.max_prefixlen) - 1
                yield ipaddress.ip_network((address, f"{mask:b}".count("1")), strict=False)


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _canonical_address(text: str) -> str:
    if "%" in text:
        raise ValueError("an address with a zone is not used")
    address = ipaddress.ip_address(text)
    return str((address.version == 6 and address.ipv4_mapped) or address)


def _from_numbers(text: str) -> str:
    """Return the IPv4 address that these numbers are to a resolver (inet_aton(3)). Raise ValueError if none."""
    try:
        return str(ipaddress.IPv4Address(socket.inet_aton(text)))
    except OSError:
        raise ValueError(f"{text[:100]!r} is not an address") from None


def _unwrapped(address: Address) -> Address:
    return (isinstance(address, ipaddress.IPv6Address) and inner_ipv4(address)) or address
