"""What stands in front of every route: the guard, the bound on bodies, headers for browsers, the access log."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from testwarden.api.guard import Asked, Guard, Refusal, most_body, too_long
from testwarden.clients.http_session import one_line

BODY_SECONDS = 10.0
"""How long a body may take to come."""
_DRAIN_SECONDS = 1.0
_DRAIN_BYTES = 8 * 1024 * 1024
"""What of a refused body is read and thrown away: whoever still sends when the connection closes loses the answer."""
_HEADERS = (
    (b"content-security-policy", b"default-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cache-control", b"no-store"),
)
_log = logging.getLogger(__name__)


class Refused(Exception):
    """The body was refused while it came."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.sentence)
        self.refusal = refusal


class Gone(Exception):
    """The caller went away before the body was there."""


class Guarded:
    """An ASGI application in front of another one."""

    def __init__(self, app: ASGIApp, guard: Guard) -> None:
        self._app = app
        self._guard = guard

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or let the application do it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began = time.monotonic()
        answer = _Answer(send)
        try:
            await self._one(scope, receive, answer)
        finally:
            took = (time.monotonic() - began) * 1000
            _log.debug("%s %s: %s, %.0f ms", scope["method"], one_line(scope["path"]), answer.status or "-", took)

    async def _one(self, scope: Scope, receive: Receive, answer: _Answer) -> None:
        asked = asked_of(scope)
        refusal = self._guard.judge(asked)
        if refusal is not None:
            await _drain(receive, asked)
            await answer.refuse(refusal, asked.path)
            return
        try:
            whole = await asyncio.wait_for(_body(receive, asked.path), BODY_SECONDS)
        except Refused as problem:
            await _drain(receive, asked)
            await answer.refuse(problem.refusal, asked.path)
            return
        except asyncio.TimeoutError:
            await answer.refuse(Refusal(408, f"the body did not come within {BODY_SECONDS:.0f} s"), asked.path)
            return
        except Gone:
            return
        try:
            await self._app(scope, _replayed(whole, receive), answer)
        except Exception as problem:
            _log.exception("%s %s could not be answered", asked.method, one_line(asked.path))
            if answer.status:
                raise  # it has begun: the server closes the connection, so that it does not look complete
            await answer.refuse(Refusal(500, f"the agent has a fault: {type(problem).__name__}"), asked.path)


class _Answer:
    """Sends, adds what every answer has, and remembers the status."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self.status = 0

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            message = {**message, "headers": [*message.get("headers", ()), *_HEADERS]}
        await self._send(message)

    async def refuse(self, refusal: Refusal, path: str) -> None:
        body = json.dumps(refusal.body(path)).encode()
        own = [(name.lower().encode(), value.encode()) for name, value in refusal.headers]
        length = (b"content-length", str(len(body)).encode())
        headers = [(b"content-type", b"application/json"), length, (b"connection", b"close"), *own]
        await self({"type": "http.response.start", "status": refusal.status, "headers": headers})
        await self({"type": "http.response.body", "body": body})


def asked_of(scope: Scope) -> Asked:
    """Given what the server says of a request, return its head."""
    headers = tuple((name.decode("latin-1").lower(), value.decode("latin-1")) for name, value in scope["headers"])
    return Asked(scope["method"], scope["path"], headers)


async def _body(receive: Receive, path: str) -> bytes:
    """Return the body, which is within the bound. Raise Refused or Gone."""
    whole = bytearray()
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise Gone
        whole += message.get("body", b"")
        if len(whole) > most_body(path):
            raise Refused(too_long(path))
        if not message.get("more_body", False):
            return bytes(whole)


async def _drain(receive: Receive, asked: Asked) -> None:
    if asked.first("expect"):
        return  # the caller waits to be told whether to send at all
    try:
        await asyncio.wait_for(_throw_away(receive), _DRAIN_SECONDS)
    except asyncio.TimeoutError:
        pass  # then the answer may be lost with the connection; nobody is owed more patience


async def _throw_away(receive: Receive) -> None:
    count = 0
    while count < _DRAIN_BYTES:
        message: dict[str, Any] = dict(await receive())
        count += len(message.get("body", b""))
        if not message.get("more_body", False):
            return


def _replayed(whole: bytes, receive: Receive) -> Receive:
    """Return what gives the application the body, and then what the server says: that the caller went away."""
    waiting: list[Message] = [{"type": "http.request", "body": whole, "more_body": False}]

    async def next_message() -> Message:
        return waiting.pop() if waiting else await receive()

    return next_message
