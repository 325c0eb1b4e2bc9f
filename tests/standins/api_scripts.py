"""An operator's server of scripts, as an orchestrator has one."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from standins.raw_server import RawServer, raw_server, read_request, trickle
from standins.scripted_http import ScriptedHttp, scripted_http

SCRIPT = b"export const options = { scenarios: { alilo_load: { executor: 'x' } } }\n"
AMMO = b'{"users": []}'
MIB = 1024 * 1024
METADATA = "http://169.254.169.254/latest/meta-data/"

FILES: dict[str, tuple[int, dict[str, str], bytes]] = {
    "/script.js": (200, {}, SCRIPT),
    "/ammo.json": (200, {}, AMMO),
    "/moved.js": (302, {"Location": "/script.js"}, b""),
    "/round.js": (302, {"Location": "/round.js"}, b""),
    "/metadata.js": (302, {"Location": METADATA}, b""),
    "/file.js": (301, {"Location": "file:///etc/passwd"}, b""),
    "/big.js": (200, {}, b"/" * (MIB + 1)),
    "/largest.js": (200, {}, b"/" * MIB),
    "/big.json": (200, {}, b" " * (32 * MIB + 1)),
    "/packed.js": (200, {"Content-Encoding": "gzip"}, b"x"),
}


@contextmanager
def script_server() -> Iterator[ScriptedHttp]:
    """While inside, a server on loopback has FILES."""
    with scripted_http(lambda _, path, __: FILES.get(path, (404, {}, b"not here"))) as server:
        server.handle_error = lambda *_: None  # what is too long is left half read: that is no error here
        yield server


@contextmanager
def trickling() -> Iterator[str]:
    """While inside, a server sends a script at a byte every few milliseconds, for longer than anybody waits."""

    def talk(sock: socket.socket) -> None:
        read_request(sock)
        sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
        trickle(sock, b"/" * 100000)

    with raw_server(talk) as server:
        yield f"http://127.0.0.1:{server.port}/script.js"


@contextmanager
def silent() -> Iterator[tuple[str, threading.Event, threading.Event]]:
    """While inside, a server takes requests and answers when told to: its URL, `asked`, and `answer` to set."""
    asked, answer = threading.Event(), threading.Event()

    def talk(sock: socket.socket) -> None:
        read_request(sock)
        asked.set()
        answer.wait(20)
        sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n/")

    server: RawServer
    with raw_server(talk) as server:
        try:
            yield f"http://127.0.0.1:{server.port}/script.js", asked, answer
        finally:
            answer.set()
