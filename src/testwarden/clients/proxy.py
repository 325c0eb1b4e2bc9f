"""The allow-list proxy: the only way out of a cage, one for each run.

It takes `http://` requests and CONNECT on listening sockets that it is handed, asks the allow-list about every one of
them, also on a connection that was used before, and dials the very address that was judged. What it refuses it answers
with 403 and one line that says why. The rate counts requests, and where there is a rate also the TLS records of application
data that a client sends through a tunnel, which has to be TLS then; CONNECTs are counted by themselves, or a program that
keeps to the rate would carry the opening of its tunnels along for the rest of its run. Too fast is delayed, not refused:
a refusal would be an answer that the target never gave.

Each connection has a thread, and one connection's errors end only that one. To targets, connections are kept and used
again by whichever client comes next.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from testwarden.clients.allow_list import AllowList, Way
from testwarden.clients.dial import DialRefused, Resolve, dial
from testwarden.clients.exchange import ExchangeEnded, guarded
from testwarden.clients.http_heads import BadMessageError, Framing, Request, Response, request_of, response_of
from testwarden.clients.http_wire import Answered, NotTls, Truncated, Wire, relay, tunnel
from testwarden.clients.proxy_account import Account, CapReached, Pace
from testwarden.clients.stop import Stop
from testwarden.errors import TestwardenError

MOST_CONNECTIONS = 256
"""Connections from inside at a time."""
MOST_IDLE = 64
"""Connections to targets that are kept for later."""
IDLE = 300.0
"""Seconds for which a client may say nothing between two requests, or in a tunnel."""
ANSWER_PATIENCE = 120.0
"""Seconds until a target has to begin its answer. k6 itself waits for 60, unless the script says otherwise."""
DIAL_PATIENCE = 10.0
"""Seconds to look up a name and connect."""
END_PATIENCE = 5.0
"""Seconds to wait for threads whose sockets were shut down. Only one that waits for the system's resolver takes long."""
BREATH = 0.05
"""Seconds to wait when no connection can be taken, as when this process has no descriptor left."""

REPEATABLE = (b"GET", b"HEAD", b"OPTIONS")
"""Methods that may be tried again on another connection; RFC 9110 §9.2.2."""
MOST_INTERIM = 8
"""Answers that announce an answer (1xx), before it."""

AT_ONCE = (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
"""An answer's last part does not wait until its first has been confirmed."""

_EXHAUSTED = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
_REASONS = {400: b"Bad Request", 403: b"Forbidden", 502: b"Bad Gateway", 503: b"Service Unavailable"}
_log = logging.getLogger(__name__)


class UpstreamFailed(TestwardenError):
    """The target could not be reached, or what it answered is not HTTP."""


class Proxy:
    """A context manager: inside, what is handed to `listen` is served; afterwards no thread or socket is left."""

    def __init__(
        self,
        allowed: AllowList,
        account: Account,
        pace: Pace,
        resolve: Resolve = socket.getaddrinfo,
        most_connections: int = MOST_CONNECTIONS,
    ) -> None:
        """Given what may be reached, what counts, what slows down, and what looks names up."""
        self._allowed = allowed
        self._account = account
        self._pace = pace
        self._tunnels = pace.another()
        self._resolve = resolve
        self._most = most_connections
        self._stop = Stop()
        self._lock = threading.Lock()
        self._sockets: set[socket.socket] = set()
        self._threads: set[threading.Thread] = set()
        self._idle: dict[Way, list[Wire]] = {}

    def __enter__(self) -> Proxy:
        return self

    def __exit__(self, *_: object) -> None:
        """End everything."""
        self._stop.request("the run is over", 0)
        with self._lock:
            for sock in self._sockets:
                _shut(sock)
            threads = list(self._threads)
        until = time.monotonic() + END_PATIENCE
        for thread in threads:
            thread.join(max(0.0, until - time.monotonic()))
        with self._lock:
            while self._sockets:
                self._sockets.pop().close()

    def listen(self, listener: socket.socket) -> None:
        """Given a listening socket, own it and serve who connects, until the end or until it is shut down."""
        self._start(listener, self._accept)

    def _start(self, sock: socket.socket, work: Callable[[socket.socket], None]) -> None:
        """Own a socket and work on it in a thread; it is closed afterwards."""

        def run() -> None:
            try:
                work(sock)
            finally:
                self._drop(sock)
                with self._lock:
                    self._threads.discard(thread)

        thread = threading.Thread(target=run, name="cage-proxy", daemon=True)
        with self._lock:
            if self._stop.requested:
                sock.close()
                return
            try:
                thread.start()
            except RuntimeError:  # no thread can be had
                sock.close()
                return
            self._threads.add(thread)
            self._sockets.add(sock)

    def _own(self, sock: socket.socket) -> None:
        with self._lock:
            self._sockets.add(sock)
            if self._stop.requested:
                _shut(sock)

    def _drop(self, sock: socket.socket) -> None:
        with self._lock:
            self._sockets.discard(sock)
        sock.close()

    def _accept(self, listener: socket.socket) -> None:
        listener.settimeout(None)
        while not self._stop.requested:
            try:
                sock, _ = listener.accept()
            except OSError as error:
                if error.errno in _EXHAUSTED:
                    self._stop.wait(BREATH)
                elif error.errno != errno.ECONNABORTED:
                    return  # it was shut down
                continue
            if len(self._threads) > self._most:
                _dismiss(sock)
            else:
                self._start(sock, self._serve)

    def _serve(self, sock: socket.socket) -> None:
        try:
            sock.setsockopt(*AT_ONCE)
            client = Wire(sock)
            while not self._stop.requested and self._answer_one(client):
                pass
        except OSError:
            _log.debug("a connection of a cage's proxy ended early", exc_info=True)

    def _answer_one(self, client: Wire) -> bool:
        """Answer a request; return whether the connection goes on."""
        try:
            head = client.head(IDLE)
            if head is None:
                return False
            request = request_of(head)
        except BadMessageError as error:
            return _answer(client, 400, str(error), lasting=False)
        lasting = request.lasting and request.body.empty and not request.connects
        try:
            return self._carry_out(client, request)
        except BadMessageError as error:
            return _answer(client, 400, str(error), lasting=False)
        except (DialRefused, CapReached) as error:
            return _answer(client, 403, self._refuse(request, error), lasting=lasting)
        except UpstreamFailed as error:
            return _answer(client, 502, f"{request.host}:{request.port}: {error}", lasting=lasting)

    def _refuse(self, request: Request, error: Exception) -> str:
        return self._account.refuse(request.host, request.port, str(error))

    def _carry_out(self, client: Wire, request: Request) -> bool:
        """Do what is asked for if it may be; return whether the connection goes on. Raise only before an answer began,
        or OSError."""
        self._account.check()
        way = self._allowed.way(request.host, request.port)
        pace = self._tunnels if request.connects else self._pace
        if self._stop.wait(pace.take()):
            return False
        return self._tunnel(client, request, way) if request.connects else self._forward(client, request, way)

    def _tunnel(self, client: Wire, request: Request, way: Way) -> bool:
        upstream = self._dial(way)
        try:
            with self._answering(request):
                client.send(b"HTTP/1.1 200 Connection established\r\n\r\n")
                tunnel(client, upstream, IDLE, self._pace.take if self._pace.bounded else None)
        finally:
            self._drop(upstream.sock)
        return False

    def _forward(self, client: Wire, request: Request, way: Way) -> bool:
        """Send the request on and its answer back; return whether the client's connection goes on."""
        if request.waits:
            client.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        upstream, complete, response = self._ask(client, request, way)
        lasting = request.lasting and complete and response.body.framing is not Framing.CLOSE
        reusable = False
        try:
            with self._answering(request):
                _pass_back(client, request, upstream, response, lasting=lasting)
            reusable = complete and response.lasting
        finally:
            self._keep(way, upstream) if reusable else self._drop(upstream.sock)
        return lasting

    @contextmanager
    def _answering(self, request: Request) -> Iterator[None]:
        """While inside, an answer is under way: it cannot be replaced by another, only broken off."""
        try:
            yield
        except (CapReached, NotTls) as error:
            raise Truncated(self._refuse(request, error)) from error
        except BadMessageError as error:
            raise Truncated(str(error)) from error

    def _ask(self, client: Wire, request: Request, way: Way) -> tuple[Wire, bool, Response]:
        """Return the connection that the request went over, whether all of it did, and the head of the answer.

        A connection that was kept may have ended unnoticed; where no body has gone with it, another one is tried.
        """
        kept = self._kept(way)
        if kept is not None:
            try:
                return self._ask_over(kept, client, request)
            except UpstreamFailed:
                if not request.body.empty or request.method not in REPEATABLE:
                    raise
        return self._ask_over(self._dial(way), client, request)

    def _ask_over(self, upstream: Wire, client: Wire, request: Request) -> tuple[Wire, bool, Response]:
        with contextlib.ExitStack() as undo:
            undo.callback(self._drop, upstream.sock)
            try:
                complete = _pass_on(client, request, upstream)
                response = _response(upstream, request.method)
            except OSError as error:
                raise UpstreamFailed(error.strerror or str(error)) from error
            undo.pop_all()
        return upstream, complete, response

    def _dial(self, way: Way) -> Wire:
        """Connect. Raise DialRefused where the address may not be reached, UpstreamFailed where that fails."""
        try:
            with guarded(DIAL_PATIENCE, self._stop) as guard:
                sock = dial(way.host, way.port, [AT_ONCE], guard=guard, policy=way.policy, resolve=self._resolve)
                self._own(sock)
        except (OSError, UnicodeError, ExchangeEnded) as error:
            raise UpstreamFailed(getattr(error, "strerror", None) or str(error)) from error
        return Wire(sock, self._account.move)

    def _keep(self, way: Way, wire: Wire) -> None:
        """Keep a connection for the next request to the same place, or close it."""
        with self._lock:
            if sum(map(len, self._idle.values())) < MOST_IDLE and not self._stop.requested:
                self._idle.setdefault(way, []).append(wire)
                return
        self._drop(wire.sock)

    def _kept(self, way: Way) -> Wire | None:
        """Return a connection that was kept and over which nothing has come since, such as the news of its end."""
        while True:
            with self._lock:
                wires = self._idle.get(way, [])
                wire = wires.pop() if wires else None
                if not wires:
                    self._idle.pop(way, None)
            if wire is None or not wire.stirs():
                return wire
            self._drop(wire.sock)


def _response(upstream: Wire, method: bytes) -> Response:
    """Return the head of the answer to a request with this method, without those that only announce it."""
    for _ in range(MOST_INTERIM):
        try:
            head = upstream.head(ANSWER_PATIENCE)
            if head is None:
                raise Truncated("it hung up without an answer")
            response = response_of(head, method)
        except BadMessageError as error:
            raise UpstreamFailed(f"its answer is not understood: {error}") from error
        if response.status >= 200:
            return response
    raise UpstreamFailed("it announces an answer and does not give it")


def _pass_on(client: Wire, request: Request, upstream: Wire) -> bool:
    """Send a request to its target; return whether the whole of it went before the answer came."""
    chunked = request.body.framing is Framing.CHUNKS
    try:
        with client.unless_answered(upstream):
            relay(client, request.body, upstream.send_unless_answered, request.onward(), chunked=chunked)
    except Answered:
        return False
    return True


def _pass_back(client: Wire, request: Request, upstream: Wire, response: Response, *, lasting: bool) -> None:
    chunked = request.modern and response.body.framing is Framing.CHUNKS
    head = response.onward(lasting=lasting, modern=request.modern)
    relay(upstream, response.body, client.send, head, chunked=chunked)


def _answer(client: Wire, status: int, line: str, *, lasting: bool) -> bool:
    """Answer with one line of text; return `lasting`, whether the connection goes on."""
    client.send(_one_line(status, line, lasting=lasting))
    return lasting


def _one_line(status: int, line: str, *, lasting: bool) -> bytes:
    body = " ".join(line.split()).encode("ascii", "replace") + b"\n"
    close = b"" if lasting else b"Connection: close\r\n"
    head = b"HTTP/1.1 %d %s\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n%s\r\n"
    return head % (status, _REASONS[status], len(body), close) + body


def _dismiss(sock: socket.socket) -> None:
    """Hang up on somebody for whom there is no room. What is sent fits into the empty buffer, so it keeps nobody."""
    with sock, contextlib.suppress(OSError):
        sock.settimeout(0)
        sock.send(_one_line(503, "too many connections at a time", lasting=False))


def _shut(sock: socket.socket) -> None:
    with contextlib.suppress(OSError):  # it is closed or was never connected: nobody waits for it
        sock.shutdown(socket.SHUT_RDWR)
