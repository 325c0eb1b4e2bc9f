"""For Prometheus, without the API: `[prometheus] listen`, a little server of its own that answers `GET /metrics` and nothing
else. Importing this file imports nothing of the extra.

It has no token and no TLS, so it listens on loopback only. Who wants to scrape from another machine uses the API's /metrics.
"""

from __future__ import annotations

import ipaddress
import logging
import socket
import socketserver
import threading
from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from typing import TYPE_CHECKING, Protocol

from testwarden.api.config import Address
from testwarden.api.door import Door
from testwarden.errors import TestwardenError

if TYPE_CHECKING:
    from testwarden.api.metrics import AgentMetrics

MOST_CALLERS = 8
"""Answered at one moment; further ones are hung up on."""
PATIENCE = 10.0
"""Seconds that a caller may be silent."""
STOP_SECONDS = 2.0
"""What `stop` takes at most."""
_LOOK = 0.1
"""Seconds between two looks at whether to stop."""
_CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_log = logging.getLogger(__name__)


class PrometheusRefused(TestwardenError):
    """The server for Prometheus cannot be started."""


class Scraped(Protocol):
    """What is answered with."""

    def exposition(self) -> bytes:
        """Return what a scrape gets."""
        ...


def build_metrics(door: Door) -> AgentMetrics:
    """Given the agent, return its metrics, for this server and the API's. Raise PrometheusRefused without the extra."""
    try:
        from testwarden.api.metrics import AgentMetrics
    except ImportError as problem:
        raise PrometheusRefused(
            f"prometheus.listen is set, but {problem.name} is missing: pip install 'testwarden[prometheus]'"
        ) from problem
    return AgentMetrics(door)


def address_of(listen: str) -> Address:
    """Given `host:port`, return where to listen. Raise PrometheusRefused, one sentence, unless it is loopback."""
    host, _, port = listen.strip().rpartition(":")
    host = host.removeprefix("[").removesuffix("]").lower()
    # What a hosts file calls localhost may be anything.
    address = Address("127.0.0.1" if host == "localhost" else host, int(port) if port.isdecimal() else -1)
    if not address.loopback or not 0 <= address.port <= 65535:
        raise PrometheusRefused(
            f"prometheus.listen = {listen[:100]!r}: allowed is a loopback address with a port, as 127.0.0.1:9464; other "
            "machines can be served by the API's /metrics, with api.token and TLS"
        )
    return address


class PrometheusServer:
    """Answers scrapes in threads of its own. Use `start` and `stop` once each."""

    def __init__(self, listen: str, metrics: Scraped, died: Callable[[BaseException], None]) -> None:
        """Given `host:port` (0: any free port), what is answered with, and what is called when the server ends without
        being asked to."""
        self._listen = listen
        self._metrics = metrics
        self._died = died
        self._server: _Server | None = None
        self._thread: threading.Thread | None = None
        self.url = ""
        """Where it answers, once it was started."""

    def start(self) -> None:
        """Listen and answer. Raise PrometheusRefused, one sentence, if it may not or cannot."""
        address = address_of(self._listen)
        try:
            self._server = _Server(address, self._metrics)
        except OSError as problem:
            raise PrometheusRefused(
                f"prometheus.listen = {self._listen} cannot be listened on: {problem.strerror}"
            ) from problem
        self._thread = threading.Thread(target=self._run, args=(self._server,), name="prometheus", daemon=True)
        self._thread.start()
        host = f"[{address.host}]" if ":" in address.host else address.host
        self.url = f"http://{host}:{self._server.server_address[1]}/metrics"
        _log.info("Prometheus can scrape %s", self.url)

    def stop(self) -> None:
        """Answer nobody any more; return within STOP_SECONDS. It may be called more than once."""
        server, self._server = self._server, None
        if server is None or self._thread is None:
            return
        server.shutdown()
        self._thread.join(STOP_SECONDS)
        server.server_close()

    def _run(self, server: _Server) -> None:
        try:
            server.serve_forever(_LOOK)
        except BaseException as problem:  # noqa: BLE001 - whatever ends it, the agent must know
            self._died(problem)


class _Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True

    def __init__(self, address: Address, metrics: Scraped) -> None:
        self.address_family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
        self.metrics = metrics
        self._places = threading.BoundedSemaphore(MOST_CALLERS)
        super().__init__((address.host, address.port), _Handler)

    def process_request(self, request: socket.socket | tuple[bytes, socket.socket], client_address: object) -> None:
        """Answer in a thread, if there is a place; hang up otherwise."""
        if self._places.acquire(blocking=False):
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    def process_request_thread(
        self, request: socket.socket | tuple[bytes, socket.socket], client_address: object
    ) -> None:
        """Answer, and give the place back."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._places.release()

    def handle_error(self, _request: object, client_address: object) -> None:
        """Say what went wrong with one caller; the library would print it."""
        _log.warning("a scrape by %s got no answer", client_address, exc_info=True)


class _Handler(BaseHTTPRequestHandler):
    timeout = PATIENCE
    server: _Server

    def do_GET(self) -> None:
        """Answer a scrape."""
        if not _is_us(self.headers.get("Host", "")):
            self.send_error(HTTPStatus.FORBIDDEN)
        elif self.path.partition("?")[0] != "/metrics":
            self.send_error(HTTPStatus.NOT_FOUND)
        else:
            self._answer(self.server.metrics.exposition())

    def _answer(self, body: bytes) -> None:
        self.send_response(HTTPStatus.OK)
        self.send_header("Content-Type", _CONTENT_TYPE)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def version_string(self) -> str:
        """Return what the Server header says: not which Python this is."""
        return "testwarden"

    def log_message(self, *_what: object) -> None:
        """Say nothing: what callers send must not fill the log."""


def _is_us(host: str) -> bool:
    """Whether a Host header names this machine. A page elsewhere whose name was made to lead here (DNS rebinding) does not."""
    name = host.rpartition(":")[0] if not host.endswith("]") and ":" in host else host
    try:
        return name.lower() == "localhost" or ipaddress.ip_address(name.strip("[]")).is_loopback
    except ValueError:
        return False
