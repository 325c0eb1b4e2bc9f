"""An HTTP server on 127.0.0.1 that answers as a test tells it to, and keeps what it was asked."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

Reply = tuple[int, dict[str, str], bytes]
Script = Callable[[str, str, bytes], Reply]
"""Given method, path and body, return status, headers and body."""


class ScriptedHttp(ThreadingHTTPServer):
    """`asked` holds method, path, headers and body of each request."""

    daemon_threads = True

    def __init__(self, script: Script) -> None:
        self.script = script
        self.asked: list[tuple[str, str, dict[str, str], bytes]] = []
        super().__init__(("127.0.0.1", 0), _Handler)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    server: ScriptedHttp
    protocol_version = "HTTP/1.1"

    def _answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
        self.server.asked.append((self.command, self.path, dict(self.headers), body))
        status, headers, content = self.server.script(self.command, self.path, body)
        self.send_response(status)
        for name, value in {"Content-Length": str(len(content)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_PUT = do_POST = _answer  # noqa: N815 - http.server names them

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextmanager
def scripted_http(script: Script) -> Iterator[ScriptedHttp]:
    """While inside, a server answers by the script."""
    with ScriptedHttp(script) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
