"""Whom a task may reach, as a control file writes it: host names and addresses, perhaps with a port, in one line."""

from __future__ import annotations

import ipaddress
import re

from testwarden.clients.http_targets import is_public
from testwarden.control.findings import shown

MOST_TARGETS = 50

_LABEL = r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
_NAME = rf"{_LABEL}(?:\.{_LABEL}){{0,126}}"
_MOST_NAME = 253
# Resolvers read `1`, `0x7f.1` and `127.1` as addresses (inet_aton): no name ends in a number.
_NUMBER = r"[0-9]+|0x[0-9a-f]*"
_PORT = r"[1-9][0-9]{0,4}"


def targets(text: str) -> tuple[str, ...]:
    """Given a list with commas, return its targets in lower case, each once: `name`, `*.name`, `192.0.2.1` or
    `2001:db8::1`, with `:port` where one is given (then IPv6 in brackets).

    Raise ValueError with the rest of a sentence that begins with the option's name.
    """
    parts = [part.strip() for part in text.split(",")]
    if len(parts) > MOST_TARGETS:
        raise ValueError(f"has {len(parts):,} targets; at most {MOST_TARGETS} are allowed")
    return tuple(dict.fromkeys(map(_target, parts)))


def _target(text: str) -> str:
    if "/" in text:
        raise ValueError(f"has the target {shown(text)}; it must be a host, without a scheme and a path")
    host, port = _split(text)
    if port is not None and not (re.fullmatch(_PORT, port) and int(port) <= 65535):
        raise ValueError(f"has the target {shown(text)}; its port must be a number from 1 to 65535")
    if not host:
        raise ValueError("has an empty target; between two commas there must be one")
    address = _address(host)
    if address is None:
        # A few letters beyond ASCII have a lower case within it, so that another host would be meant.
        return _named(host.lower() if host.isascii() else host, text) + (f":{port}" if port else "")
    if not is_public(str(address)):
        raise ValueError(f"has the target {shown(text)}; a control file can name public addresses only")
    if not port:
        return str(address)
    return f"[{address}]:{port}" if address.version == 6 else f"{address}:{port}"


def _split(text: str) -> tuple[str, str | None]:
    """Return the host and the port. A second colon without brackets belongs to an IPv6 address."""
    bracketed = re.fullmatch(r"\[([^\[\]]*:[^\[\]]*)\](?::(.*))?", text)
    if bracketed:
        return bracketed[1], bracketed[2]
    if text.count(":") != 1:
        return text, None
    host, _, port = text.partition(":")
    return host, port


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    # With a zone (`fe80::1%eth0`) it is an address of one link, and no name either.
    try:
        return ipaddress.ip_address(host) if "%" not in host else None
    except ValueError:
        return None


def _named(host: str, text: str) -> str:
    name = host.removeprefix("*.")
    if len(name) > _MOST_NAME or not re.fullmatch(_NAME, name) or re.fullmatch(_NUMBER, name.rpartition(".")[2]):
        raise ValueError(f"has the target {shown(text)}; it must be a host name or an address, with a :port or without")
    if name != host and "." not in name:
        raise ValueError(f"has the target {shown(text)}, which is too wide; write at least *.name.{name}")
    return host
