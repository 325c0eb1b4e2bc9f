"""Downloads and uploads over HTTP: GET {gateway}/{address}/{name} or an absolute URL, PUT {gateway}/{name}."""

from __future__ import annotations

import hashlib
import http.client
import json
import socket
import ssl
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any, ClassVar

import requests
import urllib3.exceptions

from testwarden.clients.client import Order
from testwarden.clients.dial import DialPolicy, DialRefused, Resolve
from testwarden.clients.exchange import End, ExchangeEnded
from testwarden.clients.http_session import CHUNK, BodyRefused, BoundedSession, body_of, explain
from testwarden.clients.http_targets import Origin, Route, TargetRefused, route_to, upload_url
from testwarden.clients.stop import Stop
from testwarden.model import AttemptResult, CatalogueFile, Outcome, TestType

MOST_REDIRECTS = 5
MOST_ANSWER = 64 * 1024
"""Bytes of an answer that is read for what it says, not stored."""

_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_STORED = frozenset({200, 201, 204})
_EXISTS = 409

_TROUBLE: tuple[tuple[tuple[type[Exception], ...], Outcome, bool], ...] = (
    # first match wins; RequestException is an OSError, so what is meant for the disk comes last
    ((DialRefused, BodyRefused), Outcome.CLIENT_ERROR, False),
    ((requests.exceptions.InvalidURL, requests.exceptions.InvalidHeader), Outcome.CLIENT_ERROR, False),
    ((urllib3.exceptions.LocationParseError,), Outcome.CLIENT_ERROR, False),
    (
        (requests.RequestException, urllib3.exceptions.HTTPError, http.client.HTTPException),
        Outcome.NETWORK_ERROR,
        True,
    ),
    ((OSError,), Outcome.CLIENT_ERROR, False),
)


@dataclass
class _Moved:
    """Bytes of the content that went over the wire, counted while they go."""

    bytes: int = 0


Work = Callable[[BoundedSession, _Moved], AttemptResult]


class HttpClient:
    """Implements Client on an HTTP gateway. One attempt is one session: no connection outlives it."""

    name: str = "http"
    paying: bool = False
    unsupported: ClassVar[Mapping[TestType, str]] = {TestType.QUOTE: "an HTTP gateway names no price"}
    """Why tasks of a type cannot run with this client, for the gate."""

    def __init__(
        self,
        gateway: str,
        agent: str,
        *,
        allowed_hosts: Sequence[str] = (),
        tls: ssl.SSLContext | None = None,
        resolve: Resolve = socket.getaddrinfo,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        """Given the gateway's URL, the User-Agent (`user_agent()`) and the hosts that absolute URLs of a catalogue may
        have; then the TLS settings (None: those of requests), the resolver and the clock for `exec_time`.

        Raise TargetRefused if the gateway is no http(s) URL.
        """
        self._gateway = gateway
        self._home = Origin.of(gateway)
        self._agent = agent
        self._allowed_hosts = tuple(allowed_hosts)
        self._tls = tls
        self._resolve = resolve
        self._clock = clock

    def download(self, file: CatalogueFile, order: Order, stop: Stop) -> AttemptResult:
        """See Client."""
        try:
            route = route_to(self._gateway, self._allowed_hosts, file.address, file.name)
        except TargetRefused as refused:
            return AttemptResult(Outcome.CLIENT_ERROR, str(refused))

        def work(session: BoundedSession, moved: _Moved) -> AttemptResult:
            with follow(session, route) as response:
                if response.status_code != http.client.OK:
                    return status_result(response.status_code, reading=True)
                with (order.folder / "download").open("xb") as out:
                    for chunk in body_of(response, order.most_bytes):
                        out.write(chunk)
                        moved.bytes += len(chunk)
            return AttemptResult(Outcome.OK)

        return self._attempt(work, order.timeout, stop, route.check_dial)

    def quote(self, content: Path, order: Order, stop: Stop) -> AttemptResult:
        """Refuse: see `unsupported`."""
        del content, order, stop
        return AttemptResult(Outcome.CLIENT_ERROR, self.unsupported[TestType.QUOTE])

    def upload(self, content: Path, order: Order, stop: Stop) -> AttemptResult:
        """See Client."""
        url = upload_url(self._gateway, content.name)

        def work(session: BoundedSession, moved: _Moved) -> AttemptResult:
            with _Content(content, moved) as body, session.put(url, data=body, **_PLAIN) as response:
                if response.status_code == _EXISTS:
                    return AttemptResult(Outcome.OK, address=stored_at(response))
                if response.status_code not in _STORED:
                    return status_result(response.status_code, reading=False)
                return AttemptResult(Outcome.OK, address=stored_at(response))

        return self._attempt(work, order.timeout, stop, self._check_dial_home)

    def _check_dial_home(self, host: str, port: int, addresses: Sequence[str]) -> None:
        Route(self._gateway, self._home, ()).check_dial(host, port, addresses)

    def _attempt(self, work: Work, seconds: float, stop: Stop, policy: DialPolicy) -> AttemptResult:
        """Do the work in a session of its own, turn whatever goes wrong into an outcome, and measure."""
        moved = _Moved()
        session = BoundedSession(self._agent, policy=policy, tls=self._tls, resolve=self._resolve)
        started = self._clock()
        try:
            with session, session.bounded(seconds, stop):
                result = work(session, moved)
        except ExchangeEnded as ended:
            result = ended_result(ended.why, seconds, stop.reason)
        except Exception as error:  # noqa: BLE001 - the edge: no other side may bring a worker down
            result = trouble_result(error)
        return replace(result, exec_time=self._clock() - started, bytes=moved.bytes)


class EmbeddedClient(HttpClient):
    """The HTTP client on the embedded network's store, which also names a price: POST {gateway}/quote."""

    name = "embedded"
    unsupported: ClassVar[Mapping[TestType, str]] = {}

    def quote(self, content: Path, order: Order, stop: Stop) -> AttemptResult:
        """See Client."""
        url = upload_url(self._gateway, "quote")
        try:
            question = {"size": content.stat().st_size, "md5": _md5(content, stop)}
        except OSError as error:
            return trouble_result(error)

        def work(session: BoundedSession, moved: _Moved) -> AttemptResult:
            del moved  # a quote moves no content
            with session.post(url, json=question, **_PLAIN) as response:
                if response.status_code != http.client.OK:
                    return status_result(response.status_code, reading=False)
                return price_result(b"".join(body_of(response, MOST_ANSWER)))

        return self._attempt(work, order.timeout, stop, self._check_dial_home)


_PLAIN: Mapping[str, Any] = {"stream": True, "allow_redirects": False}


def follow(session: BoundedSession, route: Route) -> requests.Response:
    """Get the route's URL and follow redirects as far as the route allows; return the last answer, its body unread.

    Raise TargetRefused for a redirect to where the route may not lead, or for too many.
    """
    url = route.url
    for _ in range(MOST_REDIRECTS + 1):
        response = session.get(url, **_PLAIN)
        location = response.headers.get("Location")
        if response.status_code not in _REDIRECTS or location is None:
            return response
        response.close()
        url = route.hop(location, url)
    raise TargetRefused(f"more than {MOST_REDIRECTS} redirects")


def status_result(status: int, *, reading: bool) -> AttemptResult:
    """Given the status of an answer that is no success, and whether content was asked for, return what it means."""
    reason = f"HTTP {status} {http.client.responses.get(status, '')}".rstrip()
    if reading and status in (404, 410):
        return AttemptResult(Outcome.DATA_LOSS, reason)
    if status in (408, 429) or 500 <= status <= 599:
        return AttemptResult(Outcome.NETWORK_ERROR, reason, mendable=True)
    if 400 <= status <= 499:
        return AttemptResult(Outcome.CLIENT_ERROR, reason)
    return AttemptResult(Outcome.UNKNOWN_ERROR, reason)


def ended_result(why: End, seconds: float, reason: str) -> AttemptResult:
    """Given why we ended an exchange, its time limit and the stop's reason, return the result."""
    if why is End.DEADLINE:
        return AttemptResult(Outcome.CLIENT_KILLED, f"not done within {seconds:g} s", mendable=True)
    return AttemptResult(Outcome.CLIENT_KILLED, reason)


def trouble_result(error: Exception) -> AttemptResult:
    """Given what an exchange raised, return what it means."""
    for types, outcome, mendable in _TROUBLE:
        if isinstance(error, types):
            return AttemptResult(outcome, explain(error), mendable=mendable and not _untrusted(error))
    return AttemptResult(Outcome.UNKNOWN_ERROR, f"{type(error).__name__}: {explain(error)}")


def _untrusted(error: BaseException | None) -> bool:
    """Whether a certificate was refused: it is no better on the next try."""
    while error is not None:
        if isinstance(error, ssl.SSLCertVerificationError):
            return True
        error = error.__cause__ or error.__context__
    return False


def price_result(body: bytes) -> AttemptResult:
    """Given the answer to a quote, `{"cost": "0.000000000000012345", …}`, return it with the price in ANT."""
    try:
        cost = Decimal(str(json.loads(body)["cost"]))
    except (ValueError, KeyError, TypeError, InvalidOperation, RecursionError):
        return AttemptResult(Outcome.UNKNOWN_ERROR, "the answer names no price")
    if not cost.is_finite() or cost < 0:
        return AttemptResult(Outcome.UNKNOWN_ERROR, f"{str(cost)[:40]} is not a price")
    return AttemptResult(Outcome.OK, cost=cost)


def stored_at(response: requests.Response) -> str | None:
    """Given the answer to an upload, return the address: from JSON `{"address": …}`, Location or a line of text."""
    text = b"".join(body_of(response, MOST_ANSWER)).decode("utf-8", "replace").strip()
    try:
        answer = json.loads(text)
    except (ValueError, RecursionError):
        answer = None
    if isinstance(answer, dict) and isinstance(answer.get("address"), str):
        return str(answer["address"])
    location = response.headers.get("Location")
    if location:
        return location
    return text if text and answer is None and text.isprintable() and len(text) <= 200 else None


def _md5(content: Path, stop: Stop) -> str:
    """Return the md5 of a file in hex; a stop cuts it short, because the exchange that follows ends at once then."""
    digest = hashlib.md5(usedforsecurity=False)
    with content.open("rb") as file:
        while not stop.requested and (chunk := file.read(CHUNK)):
            digest.update(chunk)
    return digest.hexdigest()


class _Content:
    """A file as the body of a request: streamed, and counted as it goes."""

    def __init__(self, path: Path, moved: _Moved) -> None:
        self._file = path.open("rb")
        self._size = path.stat().st_size
        self._moved = moved

    def __enter__(self) -> _Content:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def __len__(self) -> int:
        return self._size

    def __iter__(self) -> Iterator[bytes]:
        while chunk := self._file.read(CHUNK):
            yield chunk
            self._moved.bytes += len(chunk)
