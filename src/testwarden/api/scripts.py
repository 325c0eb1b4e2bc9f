"""Scripts and test data from outside: fetched by URL, or saved by a caller.

The operator's orchestrator serves its scripts in the operator's own network, so private and loopback addresses are
fine here. Where a cloud's machines learn secrets about themselves is not.
"""

from __future__ import annotations

import hashlib
import ipaddress
import re
import socket
import ssl
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urljoin

import requests

from testwarden.api.guard import MOST_SCRIPT
from testwarden.clients.dial import Resolve
from testwarden.clients.http_session import BoundedSession, body_of, explain, one_line
from testwarden.clients.http_targets import METADATA, Origin, TargetRefused, inner_ipv4
from testwarden.clients.stop import Stop
from testwarden.errors import TestwardenError
from testwarden.model import MIB

MOST_AMMO = 32 * MIB
"""Bytes of one file of test data."""
SECONDS = 10.0
"""For script and data together."""
MOST_REDIRECTS = 5
MOST_SAVED = 100
"""Saved scripts that are kept; beyond, the oldest are deleted."""

_REDIRECTS = (301, 302, 303, 307, 308)
SAVED_NAME = r"^saved-[0-9a-f]{16}\.js$"
"""What a saved script is called."""


class ScriptError(TestwardenError):
    """The script cannot be had."""


@dataclass(frozen=True)
class Wanted:
    """One file to fetch."""

    name: str
    """How the caller calls it, for errors."""
    url: str
    most_bytes: int


def script_wanted(name: str, url: str) -> Wanted:
    """Given what the caller calls it and its URL, return what to fetch."""
    return Wanted(name, url, MOST_SCRIPT)


def data_wanted(name: str, url: str) -> Wanted:
    """The same for test data."""
    return Wanted(name, url, MOST_AMMO)


class Fetcher:
    """Fetches over HTTP, within bounds. Called from many threads at once."""

    def __init__(
        self, agent: str, stop: Stop, *, seconds: float = SECONDS, resolve: Resolve = socket.getaddrinfo
    ) -> None:
        """Given the User-Agent, what ends all fetches, how long one call of `fetch` may take, and the resolver."""
        self._agent = agent
        self._stop = stop
        self._seconds = seconds
        self._resolve = resolve
        # Reading the certificates takes longer than a whole start may.
        self._tls = ssl.create_default_context()

    def fetch(self, wanted: Sequence[Wanted]) -> list[bytes]:
        """Given some files, return their contents in the same order. Raise ScriptError, which names the file."""
        session = BoundedSession(self._agent, policy=refuse_link_local, tls=self._tls, resolve=self._resolve)
        current = ""
        try:
            with session, session.bounded(self._seconds, self._stop):
                contents = []
                for one in wanted:
                    current = f"{one.name} {one_line(one.url)!r}"
                    contents.append(_get(session, one))
                return contents
        except (TestwardenError, requests.RequestException, OSError, ValueError) as error:
            why = str(error) if isinstance(error, TestwardenError) else explain(error)
            raise ScriptError(f"{current} cannot be fetched: {one_line(why)}") from error


def _get(session: BoundedSession, wanted: Wanted) -> bytes:
    url = wanted.url
    for _ in range(MOST_REDIRECTS + 1):
        Origin.of(url)  # raises for what is not http(s) or has a password
        with session.get(url, stream=True, allow_redirects=False) as response:
            location = response.headers.get("Location")
            if response.status_code not in _REDIRECTS or location is None:
                if response.status_code != 200:
                    raise TargetRefused(f"HTTP status {response.status_code}")
                return b"".join(body_of(response, wanted.most_bytes))
        url = urljoin(url, location)
    raise TargetRefused(f"more than {MOST_REDIRECTS} redirects")


def refuse_link_local(host: str, port: int, addresses: Sequence[str]) -> None:
    """The dial policy: raise TargetRefused for link-local and metadata addresses, and for what names no machine."""
    del port  # none makes it better
    for address in addresses:
        if not may_be_dialled(address):
            raise TargetRefused(f"{one_line(host)} leads to {address}, which no script is fetched from")


def may_be_dialled(address: str) -> bool:
    """Given an IP address, with or without a zone, return whether a script may be fetched from it."""
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    if isinstance(found, ipaddress.IPv6Address):
        inner = inner_ipv4(found)
        if inner is not None:
            return may_be_dialled(str(inner))
    return not (found.is_link_local or found.is_multicast or found.is_unspecified or found in METADATA)


class Shelf:
    """The folder of saved scripts. Names are ours alone, so that none can lead out of it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = threading.Lock()

    def save(self, script: bytes) -> Path:
        """Given a script, return where it is kept; the same script is kept once. Raise ScriptError where it cannot."""
        if not script.strip():
            raise ScriptError("the script is empty")
        path = self._folder / f"saved-{hashlib.sha256(script).hexdigest()[:16]}.js"
        try:
            with self._lock:
                self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
                new = path.with_suffix(".new")
                new.write_bytes(script)
                new.replace(path)
                self._delete_oldest()
        except OSError as problem:
            raise ScriptError(f"the script cannot be saved: {problem.strerror}") from problem
        return path

    def read(self, name: str) -> bytes:
        """Given the name of a saved script, return it. Raise ScriptError if there is none."""
        if re.fullmatch(SAVED_NAME, name) is None:
            raise ScriptError(f"{one_line(name)!r} is not the name of a saved script, as saved-0123456789abcdef.js")
        try:
            return (self._folder / name).read_bytes()
        except OSError as problem:
            raise ScriptError(f"there is no saved script {name}") from problem

    def _delete_oldest(self) -> None:
        kept = sorted(self._folder.glob("saved-*.js"), key=lambda path: (path.stat().st_mtime_ns, path.name))
        for path in kept[:-MOST_SAVED]:
            path.unlink()
