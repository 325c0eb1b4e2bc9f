"""What the operator decides about the API, and where it may listen. Nothing here needs the API's packages."""

from __future__ import annotations

import ipaddress
import ssl
from dataclasses import dataclass, field
from pathlib import Path

from testwarden.errors import TestwardenError


class ApiRefused(TestwardenError):
    """The API cannot be started."""


@dataclass(frozen=True)
class ApiConfig:
    """The API's settings."""

    listen: str
    """`host:port`; an IPv6 address in brackets. Port 0: any free one."""
    scripts: Path
    """Folder for the scripts that callers save; made when it is missing."""
    agent: str
    """The User-Agent with which scripts are fetched."""
    token: str | None = field(default=None, repr=False)
    """What callers must show as `Authorization: Bearer …`; None: nothing."""
    tls_cert: Path | None = None
    """PEM file with the certificate and its chain; together with `tls_key`."""
    tls_key: Path | None = None
    hosts: tuple[str, ...] = ()
    """Names beside addresses and `localhost` by which callers reach this agent: what a `Host` header may say."""


@dataclass(frozen=True)
class Address:
    """Where to listen."""

    host: str
    port: int

    @property
    def loopback(self) -> bool:
        """Whether nobody but this machine can connect. A name is not trusted to mean it."""
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False


def address_of(config: ApiConfig) -> Address:
    """Given the settings, return where to listen. Raise ApiRefused, one sentence, unless that is safe and possible."""
    address = _parsed(config.listen)
    if config.token is not None and not _can_be_sent(config.token):
        raise ApiRefused("api.token cannot be sent in a header: allowed are printable ASCII characters without spaces")
    if (config.tls_cert is None) != (config.tls_key is None):
        raise ApiRefused("api.tls_cert and api.tls_key belong together: one of them is not set")
    if not address.loopback and (config.token is None or config.tls_cert is None):
        raise ApiRefused(
            f"api.listen = {config.listen} can be reached from other machines: that needs api.token and api.tls_cert "
            "with api.tls_key; without them, listen on 127.0.0.1"
        )
    _check_files(config)
    return address


def _parsed(listen: str) -> Address:
    host, separator, port = listen.strip().rpartition(":")
    host = host.removeprefix("[").removesuffix("]").lower()
    if not separator or not host or not port.isdecimal() or int(port) > 65535:
        raise ApiRefused(f"api.listen = {listen[:100]!r}: allowed is an address and a port, as 127.0.0.1:8888")
    # What a hosts file calls localhost may be anything.
    return Address("127.0.0.1" if host == "localhost" else host, int(port))


def _can_be_sent(token: str) -> bool:
    return token.isascii() and token.isprintable() and token != "" and " " not in token


def _check_files(config: ApiConfig) -> None:
    if config.tls_cert is None or config.tls_key is None:
        return
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(config.tls_cert, config.tls_key, lambda: "")
    except (OSError, ValueError) as problem:  # ssl.SSLError is an OSError
        raise ApiRefused(
            f"api.tls_cert = {config.tls_cert} and api.tls_key = {config.tls_key} cannot be used: {problem}"
        ) from problem
