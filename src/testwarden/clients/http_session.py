"""The one door to HTTP: a requests session whose exchanges end by themselves, whatever the other side does.

An exchange has a total deadline, ends with a `Stop` within a fraction of a second, reads no more than it was told to,
and dials only what a policy agreed to. There are no retries, no cookies and never a password from a `.netrc`.
"""

from __future__ import annotations

import socket
import ssl
import weakref
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from http.cookiejar import DefaultCookiePolicy
from typing import Any, cast

import requests
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import ConnectTimeoutError, NameResolutionError, NewConnectionError

from testwarden import __version__
from testwarden.clients.dial import DialPolicy, Resolve, SocketOptions, dial
from testwarden.clients.exchange import Guard, guarded
from testwarden.clients.stop import Stop
from testwarden.errors import TestwardenError

CHUNK = 256 * 1024
"""Bytes that are read or sent at once."""


class BodyRefused(TestwardenError):
    """The body of the answer is not what was asked for."""


def user_agent(repository: str, agent: str) -> str:
    """Given the control repository (`owner/name`) and the agent's name, return what every request carries.

    Who is hit reads there what does it and where the switch is. What a header cannot carry becomes `?`.
    """
    name = "".join(letter if letter.isascii() and letter.isprintable() else "?" for letter in agent)
    return f"testwarden/{__version__} (+https://github.com/{repository}/issues; agent {name})"


def body_of(response: requests.Response, most_bytes: int) -> Iterator[bytes]:
    """Yield the body as it comes, byte for byte. Raise BodyRefused before more than `most_bytes` were yielded."""
    length = response.headers.get("Content-Length", "")
    if length.isdecimal() and int(length) > most_bytes:
        raise BodyRefused(f"the answer has {length} bytes, {most_bytes} are allowed")
    received = 0
    for chunk in _chunks(response):
        received += len(chunk)
        if received > most_bytes:
            raise BodyRefused(f"the answer has more than the allowed {most_bytes} bytes")
        yield chunk


def beginning_of(response: requests.Response, most_bytes: int) -> bytes:
    """Return the body, or its first `most_bytes` where it is longer; the rest is not read."""
    received = bytearray()
    for chunk in _chunks(response):
        received += chunk
        if len(received) >= most_bytes:
            break
    return bytes(received[:most_bytes])


def _chunks(response: requests.Response) -> Iterator[bytes]:
    encoding = response.headers.get("Content-Encoding", "identity")
    if encoding.strip().lower() != "identity":
        raise BodyRefused(f"the answer is encoded as {encoding[:40]!r}, which was not asked for")
    yield from response.raw.stream(CHUNK, decode_content=False)


def explain(error: BaseException) -> str:
    """Given an exception of requests or urllib3, return what lies at its bottom, in one line."""
    for _ in range(10):
        inner = _inner(error)
        if inner is None:
            break
        error = inner
    return one_line(str(error)) or type(error).__name__


def one_line(text: str) -> str:
    """Given text from outside, return it fit for a log and a terminal: one line, printable, at most 200 characters."""
    return "".join(letter if letter.isprintable() else "?" for letter in " ".join(text.split()))[:200]


def _inner(error: BaseException) -> BaseException | None:
    inside = (error.__cause__, getattr(error, "reason", None), *error.args)
    return next((candidate for candidate in inside if isinstance(candidate, BaseException)), None)


class BoundedSession(requests.Session):
    """A session for one exchange at a time, each inside `bounded`."""

    def __init__(
        self,
        agent: str,
        *,
        policy: DialPolicy | None = None,
        environment: bool = False,
        tls: ssl.SSLContext | None = None,
        resolve: Resolve = socket.getaddrinfo,
    ) -> None:
        """Given the User-Agent; what may be dialled (None: anything); whether proxies and certificates named by the
        environment are used; the TLS settings (None: those of requests) and the resolver."""
        super().__init__()
        self.trust_env = environment
        # A session that has an `auth` does not look into .netrc, not even when it trusts the environment.
        self.auth = _add_nothing
        # Encoded bodies would have to be unpacked, and what unpacks to more than memory holds is an old trick.
        self.headers.update({"User-Agent": agent, "Accept-Encoding": "identity"})
        self.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
        self._dialler = _Dialler(policy, resolve)
        self.mount("http://", _Adapter(self._dialler, tls))
        self.mount("https://", _Adapter(self._dialler, tls))

    @contextmanager
    def bounded(self, seconds: float, stop: Stop | None = None) -> Iterator[None]:
        """While inside, requests can be made; all of them, with their bodies, take at most so many seconds.

        Raise ExchangeEnded when the time is over or `stop` is requested.
        """
        with guarded(seconds, stop) as guard:
            self._dialler.guard = guard
            try:
                yield
            finally:
                self._dialler.guard = None

    def close(self) -> None:
        """Close every connection now; urllib3 leaves it to the garbage collector."""
        super().close()
        for connection in list(self._dialler.connections):
            connection.close()


def _add_nothing(request: requests.PreparedRequest) -> requests.PreparedRequest:
    return request


class _Dialler:
    """What the connections of a session have in common."""

    def __init__(self, policy: DialPolicy | None, resolve: Resolve) -> None:
        self.guard: Guard | None = None
        self.connections: weakref.WeakSet[HTTPConnection] = weakref.WeakSet()
        self._policy = policy
        self._resolve = resolve

    def current(self) -> Guard:
        if self.guard is None:
            raise RuntimeError("a request outside of BoundedSession.bounded() would have no end")
        return self.guard

    def dial(self, host: str, port: int, options: SocketOptions) -> socket.socket:
        return dial(host, port, options, guard=self.current(), policy=self._policy, resolve=self._resolve)


class _Connection(HTTPConnection):
    """Dials through the session's dialler instead of by itself."""

    dialler: _Dialler

    def _new_conn(self) -> socket.socket:
        try:
            return self.dialler.dial(self._dns_host, self.port, self.socket_options or ())
        except socket.gaierror as error:
            raise NameResolutionError(self.host, self, error) from error
        except TimeoutError as error:
            raise ConnectTimeoutError(self, f"{self.host}:{self.port} does not answer") from error
        except OSError as error:
            raise NewConnectionError(self, str(error)) from error

    def request(self, *args: Any, **kwargs: Any) -> None:
        # A connection that was kept alive belongs to an earlier exchange until this one adopts it.
        if self.sock is not None:
            self.dialler.current().adopt(self.sock)
        super().request(*args, **kwargs)


class _TlsConnection(_Connection, HTTPSConnection):
    """The same; in the order of inheritance, what is above dials and what is below adds TLS."""


class _Pool(HTTPConnectionPool):
    ConnectionCls = _Connection

    def __init__(self, dialler: _Dialler, *args: Any, **kwargs: Any) -> None:
        self._dialler = dialler
        super().__init__(*args, **kwargs)

    def _new_conn(self) -> Any:
        connection = cast(_Connection, super()._new_conn())
        connection.dialler = self._dialler
        self._dialler.connections.add(connection)
        return connection


class _TlsPool(_Pool, HTTPSConnectionPool):
    ConnectionCls = _TlsConnection


class _Adapter(HTTPAdapter):
    def __init__(self, dialler: _Dialler, tls: ssl.SSLContext | None) -> None:
        self._dialler = dialler
        self._tls = tls
        super().__init__(pool_connections=4, pool_maxsize=1)

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        if self._tls is not None:
            kwargs["ssl_context"] = self._tls
        super().init_poolmanager(*args, blocksize=CHUNK, **kwargs)
        self._use_our_pools(self.poolmanager)

    def proxy_manager_for(self, *args: Any, **kwargs: Any) -> Any:
        manager = super().proxy_manager_for(*args, **kwargs)
        self._use_our_pools(manager)
        return manager

    def cert_verify(self, *args: Any, **kwargs: Any) -> None:
        # Given TLS settings name their certificates already; requests would read its bundle for each connection again.
        if self._tls is None:
            super().cert_verify(*args, **kwargs)  # type: ignore[no-untyped-call]  # the stubs leave it open

    def send(self, request: requests.PreparedRequest, *args: Any, **kwargs: Any) -> requests.Response:
        guard = self._dialler.current()
        guard.check()
        # The guard ends the exchange; this is a second line, should its thread not get to run.
        kwargs["timeout"] = guard.remaining() + 1
        return super().send(request, *args, **kwargs)

    def _use_our_pools(self, manager: Any) -> None:
        pools: Mapping[str, Any] = {"http": partial(_Pool, self._dialler), "https": partial(_TlsPool, self._dialler)}
        manager.pool_classes_by_scheme = pools
