"""InfluxDB 2 as far as writing goes: /ping, /health and /api/v2/write, with its answers. It cannot be installed here."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import parse_qs, urlsplit

from standins.scripted_http import Reply, ScriptedHttp, scripted_http

TOKEN, ORG, BUCKET = "the-token", "the-org", "the-bucket"


class InfluxTwo:
    """What the server holds, and what it answers. `troubles` are the answers to the next writes, before it stores again."""

    def __init__(self) -> None:
        self.points: dict[bytes, bytes] = {}
        self.troubles: list[Reply] = []
        self.version = "v2.7.11"
        self.hates: bytes | None = None
        """A line with this in it is of the wrong type."""
        self.hold = threading.Event()
        """Writes wait for it."""
        self.hold.set()
        self.server: ScriptedHttp

    @property
    def url(self) -> str:
        return self.server.url

    @property
    def writes(self) -> int:
        """How many writes were asked for."""
        return sum(path.startswith("/api/v2/write") for _, path, _, _ in self.server.asked)

    def answer(self, method: str, path: str, body: bytes) -> Reply:
        """As the documentation of InfluxDB 2.7 has it."""
        asked = urlsplit(path)
        if asked.path == "/ping":
            return 204, {"X-Influxdb-Build": "OSS", "X-Influxdb-Version": self.version}, b""
        if asked.path == "/health":
            return 200, {}, json.dumps({"name": "influxdb", "status": "pass", "version": self.version}).encode()
        if (method, asked.path) != ("POST", "/api/v2/write"):
            return _error(404, "not found", "path not found")
        self.hold.wait(20)
        return self._write({name: values[0] for name, values in parse_qs(asked.query).items()}, body)

    def _write(self, query: dict[str, str], body: bytes) -> Reply:
        headers = self.server.asked[-1][2]
        if headers.get("Authorization") != f"Token {TOKEN}":
            return _error(401, "unauthorized", "unauthorized access")
        if query.get("org") != ORG:
            return _error(404, "not found", f'organization name "{query.get("org", "")}" not found')
        if query.get("bucket") != BUCKET:
            return _error(404, "not found", f'bucket "{query.get("bucket", "")}" not found')
        if query.get("precision") != "ns":
            return _error(400, "invalid", "invalid precision")
        if self.troubles:
            return self.troubles.pop(0)
        return self._store(body)

    def _store(self, body: bytes) -> Reply:
        dropped = 0
        for line in body.splitlines():
            if self.hates is not None and self.hates in line:
                dropped += 1
            else:
                self.points[line.split(b" ", 1)[0] + line.rsplit(b" ", 1)[1]] = line
        if dropped:
            message = "failure writing points to database: partial write: field type conflict: input field"
            return _error(422, "unprocessable entity", f"{message} dropped={dropped}")
        return 204, {}, b""


def _error(status: int, code: str, message: str) -> Reply:
    return status, {"Content-Type": "application/json"}, json.dumps({"code": code, "message": message}).encode()


@contextmanager
def influx_two() -> Iterator[InfluxTwo]:
    """While inside, such a server runs, with an organisation, a bucket and a token."""
    held = InfluxTwo()
    with scripted_http(held.answer) as held.server:
        yield held
