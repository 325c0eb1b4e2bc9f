"""One connection of the proxy, read by heads, lines and bodies: nothing without a bound in bytes and in time."""

from __future__ import annotations

import select
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from testwarden.clients.http_heads import MOST_HEAD, BadMessageError, Body, Framing, check_trailer, chunk_size
from testwarden.errors import TestwardenError

BLOCK = 64 * 1024
"""Bytes that are read at once."""
MOST_LINE = 4 * 1024
"""Bytes of the line before a chunk, or of one after the last."""
MOST_TRAILERS = 32
HEAD_PATIENCE = 10.0
"""Seconds from the first byte of a head to its last."""
PATIENCE = 60.0
"""Seconds in which the other side has to send or take something, in the middle of a message."""


class Truncated(OSError):
    """The connection ended in the middle of a message."""


class Answered(TestwardenError):
    """The target of a request answers before it has the whole of it."""


def uncounted(size: int) -> None:
    """Count no bytes."""
    del size


class Wire:
    """A connection. Every method raises OSError when it breaks (TimeoutError: when nothing happens for too long)."""

    def __init__(self, sock: socket.socket, count: Callable[[int], None] = uncounted) -> None:
        """Given the connection, and what is told how many bytes went through it; it may raise to end the exchange."""
        self.sock = sock
        self._count = count
        self._buffer = bytearray()
        self._answerer: socket.socket | None = None
        sock.settimeout(PATIENCE)

    def has_more(self) -> bool:
        """Return whether something that was received waits to be read."""
        return bool(self._buffer)

    def stirs(self) -> bool:
        """Return whether the other side has sent something or hung up."""
        return bool(self._buffer) or bool(_wait({self.sock: select.POLLIN}, 0))

    def head(self, patience: float) -> bytes | None:
        """Given how many seconds it may take to begin, return a head without the blank line at its end.

        None where the connection ends before it begins. Raise BadMessageError where it is too large.
        """
        until, end = time.monotonic() + patience, -1
        began = False
        while (end := self._buffer.find(b"\r\n\r\n")) < 0:
            if self._buffer and not began:
                began, until = True, time.monotonic() + HEAD_PATIENCE
            if len(self._buffer) > MOST_HEAD:
                break
            if not self._receive(until - time.monotonic()):
                if self._buffer:
                    raise Truncated("the connection ended in a head")
                return None
        if not 0 <= end <= MOST_HEAD:
            raise BadMessageError(f"the head has more than {MOST_HEAD} bytes")
        head = bytes(self._buffer[:end])
        del self._buffer[: end + 4]
        return head

    def pieces(self, body: Body) -> Iterator[bytes]:
        """Yield a body as it comes, without the framing of its chunks. Raise BadMessageError where that is wrong."""
        if body.framing is Framing.LENGTH:
            yield from self._exactly(body.length)
        elif body.framing is Framing.CHUNKS:
            yield from self._chunks()
        else:
            while piece := self._some(BLOCK):
                yield piece

    def rest(self) -> bytes:
        """Return what was received and not read."""
        rest, self._buffer = bytes(self._buffer), bytearray()
        return rest

    def take(self, most: int = BLOCK) -> bytes:
        """Return what has arrived, or the next that arrives; nothing at the end of the connection."""
        if self._answerer:
            sources = {self.sock: select.POLLIN, self._answerer: select.POLLIN}
            if self._answerer in _wait(sources, self.sock.gettimeout()):
                raise Answered
        data = self.sock.recv(most)
        self._count(len(data))
        return data

    def give(self, data: bytes) -> int:
        """Send as much as is taken now; return how many bytes."""
        size = self.sock.send(data)
        self._count(size)
        return size

    def send(self, data: bytes) -> None:
        """Send it all."""
        self._count(len(data))
        self.sock.sendall(data)

    @contextmanager
    def unless_answered(self, target: Wire) -> Iterator[None]:
        """While inside, a request goes from here to its target. As soon as that answers or hangs up, raise Answered."""
        self._answerer = target.sock
        try:
            yield
        finally:
            self._answerer = None

    def send_unless_answered(self, data: bytes) -> None:
        """Send it all. Raise Answered as soon as the other side sends something or hangs up."""
        self._count(len(data))
        view = memoryview(data)
        while view:
            events = _wait({self.sock: select.POLLIN | select.POLLOUT}, PATIENCE)
            if not events:
                raise TimeoutError("the other side takes nothing")
            if events[self.sock] & ~select.POLLOUT:
                raise Answered
            view = view[self.sock.send(view) :]

    def _chunks(self) -> Iterator[bytes]:
        while size := chunk_size(self._line()):
            yield from self._exactly(size)
            if self._line():
                raise BadMessageError("a chunk does not end where it should")
        for _ in range(MOST_TRAILERS):
            line = self._line()
            if not line:
                return
            check_trailer(line)
        raise BadMessageError("too much follows the last chunk")

    def _exactly(self, size: int) -> Iterator[bytes]:
        while size:
            piece = self._some(min(size, BLOCK))
            if not piece:
                raise Truncated("the connection ended in a body")
            size -= len(piece)
            yield piece

    def _some(self, most: int) -> bytes:
        """Return between one and so many bytes; none at the end of the connection."""
        if not self._buffer:
            self.sock.settimeout(PATIENCE)
            return self.take(most)
        piece = bytes(self._buffer[:most])
        del self._buffer[:most]
        return piece

    def _line(self) -> bytes:
        until = time.monotonic() + PATIENCE
        while (end := self._buffer.find(b"\r\n")) < 0 and len(self._buffer) <= MOST_LINE:
            if not self._receive(until - time.monotonic()):
                raise Truncated("the connection ended in a body")
        if not 0 <= end <= MOST_LINE:
            raise BadMessageError("a line in a body is too long")
        line = bytes(self._buffer[:end])
        del self._buffer[: end + 2]
        return line

    def _receive(self, patience: float) -> int:
        """Receive something within so many seconds; return how many bytes, 0 at the end of the connection."""
        if patience <= 0:
            raise TimeoutError("nothing came")
        self.sock.settimeout(patience)
        data = self.take()
        self._buffer += data
        return len(data)


def relay(source: Wire, body: Body, send: Callable[[bytes], None], head: bytes, *, chunked: bool) -> None:
    """Send a head and then the body that follows in `source`. `chunked`: in chunks of ours. Raise as Wire does."""
    if not source.has_more() and not body.empty:
        send(head)  # what is already there goes with it in one packet; what is not, keeps nobody waiting
        head = b""
    for piece in source.pieces(body):
        send(head + (b"%x\r\n%s\r\n" % (len(piece), piece) if chunked else piece))
        head = b""
    head += b"0\r\n\r\n" if chunked else b""
    if head:
        send(head)


def _wait(wanted: dict[socket.socket, int], patience: float | None) -> dict[socket.socket, int]:
    """Given sockets with events, return those of which something happened within so many seconds, with what it was."""
    poll, by_number = select.poll(), {sock.fileno(): sock for sock in wanted}
    for sock, events in wanted.items():
        poll.register(sock, events)
    found = poll.poll(None if patience is None else patience * 1000)
    return {by_number[number]: events for number, events in found}


def tunnel(one: Wire, other: Wire, patience: float) -> None:
    """Carry bytes both ways until both sides have ended, or nothing was carried for so many seconds."""
    ways = [_OneWay(one, other), _OneWay(other, one)]
    while any(not way.over for way in ways):
        wanted: dict[socket.socket, int] = {}
        for way in ways:
            for sock, events in way.wants():
                wanted[sock] = wanted.get(sock, 0) | events
        ready = _wait(wanted, patience)
        if not ready:
            raise TimeoutError("nothing went through the tunnel")
        for way in ways:
            way.move(ready)


class _OneWay:
    """One direction of a tunnel. It takes nothing more while the far side does not take what it has."""

    def __init__(self, source: Wire, sink: Wire) -> None:
        self._source, self._sink = source, sink
        self._pending = source.rest()
        self._ended = False
        self.over = False

    def wants(self) -> Iterator[tuple[socket.socket, int]]:
        if self._pending:
            yield self._sink.sock, select.POLLOUT
        elif not self._ended:
            yield self._source.sock, select.POLLIN

    def move(self, ready: dict[socket.socket, int]) -> None:
        if not self._pending and not self._ended and ready.get(self._source.sock, 0) & ~select.POLLOUT:
            self._pending = self._source.take()
            self._ended = not self._pending
        if self._pending and ready.get(self._sink.sock, 0) & ~select.POLLIN:
            self._pending = self._pending[self._sink.give(self._pending) :]
        if self._ended and not self.over:
            self._sink.sock.shutdown(socket.SHUT_WR)
            self.over = True
