"""One connection of the proxy, read by heads, lines and bodies: nothing without a bound in bytes and in time."""

from __future__ import annotations

import select
import socket
import time
from collections.abc import Callable, Iterator

from testwarden.clients.http_heads import MOST_HEAD, BadMessageError, Body, Framing, check_trailer, chunk_size

BLOCK = 64 * 1024
"""Bytes that are read at once."""
MOST_LINE = 4 * 1024
"""Bytes of the line before a chunk, or of one after the last."""
MOST_TRAILERS = 32
HEAD_PATIENCE = 10.0
"""Seconds from the first byte of a head to its last."""
PATIENCE = 60.0
"""Seconds in which the other side has to send or take something, in the middle of a message."""
LINGER = 1.0
"""Seconds for which an ended connection is heard out."""
MOST_LINGER = 1024 * 1024
"""Bytes of it."""


class Truncated(OSError):
    """The connection ended in the middle of a message."""


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
        sock.settimeout(PATIENCE)

    def has_more(self) -> bool:
        """Return whether something that was received waits to be read."""
        return bool(self._buffer)

    def stirs(self) -> bool:
        """Return whether the other side has sent something or hung up."""
        return bool(self._buffer) or self._wait(select.POLLIN, 0) != 0

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

    def linger(self) -> None:
        """Say that nothing more comes and hear out what the other side still sends, within bounds.

        A connection that is closed while something is unread is reset, and the last answer is lost with it.
        """
        self.sock.shutdown(socket.SHUT_WR)
        until, left = time.monotonic() + LINGER, MOST_LINGER
        while left > 0 and (size := self._receive(until - time.monotonic())):
            left -= size
            self._buffer.clear()

    def send_unless_answered(self, data: bytes) -> bool:
        """Send until the other side sends something or hangs up; return whether it took everything before."""
        self._count(len(data))
        view = memoryview(data)
        while view:
            events = self._wait(select.POLLIN | select.POLLOUT, PATIENCE)
            if not events:
                raise TimeoutError("the other side takes nothing")
            if events & ~select.POLLOUT:
                return False
            view = view[self.sock.send(view) :]
        return True

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

    def _wait(self, events: int, patience: float) -> int:
        poll = select.poll()
        poll.register(self.sock, events)
        return next((found for _, found in poll.poll(patience * 1000)), 0)


def relay(source: Wire, body: Body, send: Callable[[bytes], bool], head: bytes, *, chunked: bool) -> bool:
    """Send a head and then the body that follows in `source`; return whether all was sent.

    `send` says whether to go on; `chunked`, whether the body gets chunks of ours. Raise as Wire does.
    """
    if not source.has_more() and not body.empty:
        if not send(head):  # what is already there goes with it in one packet; what is not, keeps nobody waiting
            return False
        head = b""
    for piece in source.pieces(body):
        if not send(head + (b"%x\r\n%s\r\n" % (len(piece), piece) if chunked else piece)):
            return False
        head = b""
    head += b"0\r\n\r\n" if chunked else b""
    return send(head) if head else True


def tunnel(one: Wire, other: Wire, patience: float) -> None:
    """Carry bytes both ways until both sides have ended, or nothing was carried for so many seconds."""
    ways = [_OneWay(one, other), _OneWay(other, one)]
    while any(not way.over for way in ways):
        poll = select.poll()
        wanted: dict[int, int] = {}
        for way in ways:
            for fd, events in way.wants():
                wanted[fd] = wanted.get(fd, 0) | events
        for fd, events in wanted.items():
            poll.register(fd, events)
        ready = dict(poll.poll(patience * 1000))
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
        self._source_fd, self._sink_fd = source.sock.fileno(), sink.sock.fileno()

    def wants(self) -> Iterator[tuple[int, int]]:
        if self._pending:
            yield self._sink_fd, select.POLLOUT
        elif not self._ended:
            yield self._source_fd, select.POLLIN

    def move(self, ready: dict[int, int]) -> None:
        if not self._pending and not self._ended and ready.get(self._source_fd, 0) & ~select.POLLOUT:
            self._pending = self._source.take()
            self._ended = not self._pending
        if self._pending and ready.get(self._sink_fd, 0) & ~select.POLLIN:
            self._pending = self._pending[self._sink.give(self._pending) :]
        if self._ended and not self.over:
            self._sink.sock.shutdown(socket.SHUT_WR)
            self.over = True
