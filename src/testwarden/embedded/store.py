"""The embedded network: a content store on 127.0.0.1 for the first run and for tests.

    GET  /{address}/{name}   content; `seed-<seed>-<size>` is generated, other addresses come from uploads; else 404
    PUT  /{name}             keeps the body: 201 {"address", "existed": false}; 200 with true if it was there already
    POST /quote              {"size": bytes, "md5": hex} → {"cost": ANT with 18 digits, "chunks": n}

Whatever it refuses has a status of 4xx or 5xx and a body {"error": sentence}.
"""

from __future__ import annotations

import json
import logging
import re
import socket
import socketserver
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from decimal import Decimal
from functools import partial
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

from testwarden import seeded
from testwarden.embedded.shelf import BLOCK, Shelf, ShelfFullError
from testwarden.model import KIB, MIB, FileSize

MOST_BODY = FileSize.HUGE.most
MOST_QUESTION = 4 * KIB
MOST_CONNECTIONS = 64
"""More than three times the workers that an agent can have; each takes a thread."""

SILENCE = 10.0
"""Seconds that a peer may neither send nor take a byte."""

CHUNK_PRICE = Decimal("0.000000000000004115")
"""ANT per chunk of 4 MiB. The number means nothing; it only has to be the same every time."""
LEAST_CHUNKS = 3
"""Self-encryption never makes fewer."""

_POLL = 0.2
_END = 3.0
_FILE = re.compile(r"/([^/]{1,200})/[^/]{1,1000}")
_NAME = re.compile(r"/[^/]{1,1000}")
_MD5 = re.compile(r"[0-9a-fA-F]{32}")
_Answer = tuple[HTTPStatus, dict[str, object]]
_log = logging.getLogger(__name__)


class EmbeddedStore:
    """The store as a context manager: inside, it answers at `url`; afterwards no thread, socket or file is left."""

    def __init__(self, folder: Path | None = None) -> None:
        """Given a folder on whose disk uploads shall lie (None: that of the system for temporary files)."""
        self._folder = folder
        self._stack = ExitStack()
        self._port = 0

    @property
    def address(self) -> tuple[str, int]:
        """Host and port; the port is one that was free, 0 before the start."""
        return "127.0.0.1", self._port

    @property
    def url(self) -> str:
        """`http://127.0.0.1:PORT`; empty before the start."""
        return f"http://127.0.0.1:{self._port}" if self._port else ""

    def __enter__(self) -> EmbeddedStore:
        """Start. Raise OSError if no port can be had."""
        with ExitStack() as stack:
            shelf = Shelf(self._folder)
            stack.callback(shelf.close)
            server = _Server(shelf)
            stack.callback(server.server_close)
            thread = threading.Thread(target=server.serve_forever, args=[_POLL], name="embedded-store", daemon=True)
            thread.start()
            stack.callback(thread.join)
            stack.callback(server.end)
            self._port = server.server_port
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()


def price(size: int) -> tuple[Decimal, int]:
    """Given a size in bytes, return what storing it costs in ANT, and the number of chunks that it makes."""
    chunks = max(LEAST_CHUNKS, -(-size // (4 * MIB)))
    return CHUNK_PRICE * chunks, chunks


def size_asked(body: bytes) -> int:
    """Given the body of a question for a price, return the size in it. Raise ValueError with a sentence if bad."""
    try:
        question = json.loads(body)
    except (ValueError, RecursionError):
        raise ValueError("the body is not JSON") from None
    size, md5 = (question.get("size"), question.get("md5")) if isinstance(question, dict) else (None, None)
    if type(size) is not int or not 1 <= size <= FileSize.TERA.most:  # a bool is an int, but not a size
        raise ValueError(f"size must be a whole number of bytes from 1 to {FileSize.TERA.most}")
    if not isinstance(md5, str) or not _MD5.fullmatch(md5):
        raise ValueError("md5 must be 32 hex digits")
    return size


class _RefusedError(Exception):
    """A request that is answered with an error."""

    def __init__(self, status: HTTPStatus, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status


class _Server(ThreadingHTTPServer):
    """Listens on loopback, knows its connections and bounds their number."""

    daemon_threads = True
    request_queue_size = MOST_CONNECTIONS

    def __init__(self, shelf: Shelf) -> None:
        self._free = threading.BoundedSemaphore(MOST_CONNECTIONS)
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        super().__init__(("127.0.0.1", 0), partial(_Handler, shelf))

    def server_bind(self) -> None:
        """Leave out what HTTPServer adds: it asks the name service for this host's name, and that can take seconds."""
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = "127.0.0.1", int(self.server_address[1])

    def process_request(self, request: Any, client_address: Any) -> None:
        """Give the connection a thread of its own, or hang up if there are too many."""
        if not self._free.acquire(blocking=False):
            self.shutdown_request(request)
            return
        with self._lock:
            self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        """Close a connection. Every way out of a request leads through here, also when its thread could not start."""
        with self._lock:
            counted = request in self._open
            self._open.discard(request)
        super().shutdown_request(request)
        if counted:
            self._free.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A peer that hangs up is no news, and standard error belongs to the console."""
        del request, client_address
        _log.debug("a request to the embedded network ended early", exc_info=True)

    def end(self) -> None:
        """Accept nothing more, then hang up on everybody and wait for their threads."""
        self.shutdown()
        with self._lock:
            for connection in self._open:
                _hang_up(connection)
        ends = time.monotonic() + _END
        for _ in range(MOST_CONNECTIONS):
            self._free.acquire(timeout=max(0.0, ends - time.monotonic()))


class _Handler(BaseHTTPRequestHandler):
    """One connection. Its errors end it and nothing else."""

    protocol_version = "HTTP/1.1"
    server_version = "testwarden-embedded"
    sys_version = ""
    timeout: ClassVar[float] = SILENCE
    disable_nagle_algorithm = True

    def __init__(self, shelf: Shelf, *args: Any) -> None:
        self._shelf = shelf
        super().__init__(*args)

    def do_GET(self) -> None:
        match = _FILE.fullmatch(self.path)
        address = match[1] if match else ""
        made = seeded.parse_address(address)
        if made and made[1] <= FileSize.TERA.most:
            self._send(HTTPStatus.OK, "application/octet-stream", made[1], seeded.chunks(*made))
            return
        with self._shelf.reading(address) as content:
            if content is None:
                self._refuse(_RefusedError(HTTPStatus.NOT_FOUND, "nothing is stored at this address"))
            else:
                self._send(HTTPStatus.OK, "application/octet-stream", content.size, content.blocks)

    def do_PUT(self) -> None:
        self._answer(self._store)

    def do_POST(self) -> None:
        self._answer(self._quote)

    def _answer(self, work: Callable[[], _Answer]) -> None:
        try:
            status, answer = work()
        except _RefusedError as refused:
            self._refuse(refused)
        else:
            self._send_json(status, answer)

    def _store(self) -> _Answer:
        if not _NAME.fullmatch(self.path):
            raise _RefusedError(HTTPStatus.BAD_REQUEST, "PUT takes one name: /{name}")
        size = self._length(MOST_BODY)
        try:
            stored = self._shelf.put(size, self._body(size))
        except ShelfFullError:
            raise _RefusedError(HTTPStatus.SERVICE_UNAVAILABLE, "too much is being uploaded just now") from None
        except (ConnectionError, TimeoutError):
            raise  # the peer's, not the disk's; all are OSError
        except OSError as problem:
            raise _RefusedError(HTTPStatus.INSUFFICIENT_STORAGE, f"it cannot be kept: {problem.strerror}") from problem
        status = HTTPStatus.OK if stored.existed else HTTPStatus.CREATED
        return status, {"address": stored.address, "existed": stored.existed}

    def _quote(self) -> _Answer:
        if self.path != "/quote":
            raise _RefusedError(HTTPStatus.NOT_FOUND, "POST goes to /quote")
        body = b"".join(self._body(self._length(MOST_QUESTION)))
        try:
            cost, chunks = price(size_asked(body))
        except ValueError as bad:
            raise _RefusedError(HTTPStatus.BAD_REQUEST, str(bad)) from bad
        return HTTPStatus.OK, {"cost": f"{cost:.18f}", "chunks": chunks}

    def _length(self, most: int) -> int:
        """Return the length of the body. Raise _RefusedError if it has none, or more than `most` bytes."""
        text = self.headers.get("Content-Length")
        if text is None or "Transfer-Encoding" in self.headers:
            raise _RefusedError(HTTPStatus.LENGTH_REQUIRED, "a body needs a Content-Length, and no other encoding")
        if not re.fullmatch("[0-9]{1,18}", text):
            raise _RefusedError(HTTPStatus.BAD_REQUEST, "Content-Length must be a number")
        if int(text) > most:
            raise _RefusedError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"the body may have at most {most} bytes")
        return int(text)

    def _body(self, length: int) -> Iterator[bytes]:
        """Read the body piece by piece. Raise ConnectionError if the peer hangs up before its end."""
        while length:
            block = self.rfile.read(min(length, BLOCK))
            if not block:
                raise ConnectionError("the body ended early")
            length -= len(block)
            yield block

    def _send(self, status: HTTPStatus, kind: str, length: int, blocks: Iterable[bytes]) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(length))
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        for block in blocks:
            self.wfile.write(block)

    def _send_json(self, status: HTTPStatus, answer: dict[str, object]) -> None:
        body = json.dumps(answer).encode()
        self._send(status, "application/json", len(body), [body])

    def _refuse(self, refused: _RefusedError) -> None:
        """Answer and hang up: what is left of the body would be taken for the next request."""
        self.close_connection = True
        self._send_json(refused.status, {"error": str(refused)})

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Refuse what http.server itself cannot understand; it would do that in HTML."""
        del explain
        self._refuse(_RefusedError(HTTPStatus(code), message or HTTPStatus(code).phrase))

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name is http.server's
        """Say nothing: http.server writes every request to standard error."""


def _hang_up(connection: socket.socket) -> None:
    try:
        connection.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass  # it is closed already
