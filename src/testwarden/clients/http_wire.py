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
RECORD_HEAD = 5
"""Bytes before a TLS record: its type, its version, its length."""
MOST_RECORD = 16384 + 2048
"""Bytes of a TLS record, encrypted; RFC 5246 §6.2.3. TLS 1.3 allows fewer."""
HANDSHAKE_RECORDS = 16
"""Records of a tunnel that pass without a token because they are a handshake or an alert."""
PATIENCE = 60.0
"""Seconds in which the other side has to send or take something, in the middle of a message."""

_GONE = select.POLLHUP | select.POLLERR | select.POLLNVAL
_CHANGE, _HANDSHAKE, _APPLICATION = 20, 22, 23
_RECORD_TYPES = (_CHANGE, 21, _HANDSHAKE, _APPLICATION)
"""Change of cipher, alert, handshake, application data."""
_VERSION = 3
"""First byte of the version of TLS, all of them."""


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


def tunnel(client: Wire, target: Wire, patience: float, take: Callable[[], float] | None = None) -> None:
    """Carry bytes both ways until both sides have ended, or nothing was carried for so many seconds.

    With `take`, which returns in how many seconds the next may go, the client has to speak TLS and is slowed down (see
    Records). Raise NotTls where it does not.
    """
    ways = [_OneWay(client, target, Records(take) if take else None), _OneWay(target, client)]
    while any(not way.over for way in ways):
        wanted: dict[socket.socket, int] = {}
        for way in ways:
            for sock, events in way.wants():
                wanted[sock] = wanted.get(sock, 0) | events
        held = min((way.held for way in ways if way.held), default=None)
        ready = _wait(wanted, patience if held is None else held)
        if not ready and held is None:
            raise TimeoutError("nothing went through the tunnel")
        for way in ways:
            way.move(ready)


class NotTls(TestwardenError):
    """What a client sends through a tunnel is not TLS."""


class Records:
    """Cuts what a client sends through a tunnel into TLS records, and says when each may go on; RFC 8446 §5.

    Each record of application data takes a token: HTTP/1.1 writes at least one a request, HTTP/2 at least one a request
    (it flushes), a WebSocket at least one a message. So there are never more of these than tokens, whatever is inside.
    The end of a handshake of TLS 1.3 looks like application data and takes none: it comes right after a change of cipher,
    where older versions have a record of type 22.
    """

    def __init__(self, take: Callable[[], float], monotonic: Callable[[], float] = time.monotonic) -> None:
        """Given what takes a token, and returns in how many seconds it is there."""
        self._take = take
        self._monotonic = monotonic
        self._came = bytearray()
        self._free = HANDSHAKE_RECORDS
        self._go_at: float | None = None
        self._before = 0
        """Type of the record before; 0: none."""
        self._finished = False

    @property
    def held(self) -> float:
        """Seconds until a record that is held may go; 0: none is held."""
        return 0.0 if self._go_at is None else max(self._go_at - self._monotonic(), 0.001)

    def put(self, data: bytes) -> None:
        """Take what came."""
        self._came += data

    def get(self) -> bytes:
        """Return the next record if all of it came and it may go on, else nothing. Raise NotTls."""
        size = self._size()
        if not size or len(self._came) < size:
            return b""
        if self._go_at is None:
            self._go_at = self._monotonic() + self._delay()
        if self._go_at > self._monotonic():
            return b""
        self._go_at = None
        self._finished = self._finished or self._came[0] == _APPLICATION
        self._before = self._came[0]
        record = bytes(self._came[:size])
        del self._came[:size]
        return record

    def _size(self) -> int:
        """Return the size of the next record, 0 where that is not known yet. Raise NotTls."""
        if not self._came:
            return 0
        allowed = _RECORD_TYPES if self._before else (_HANDSHAKE,)
        if self._came[0] not in allowed or (len(self._came) > 1 and self._came[1] != _VERSION):
            raise NotTls("what goes through a tunnel has to be TLS where requests are counted")
        if len(self._came) < RECORD_HEAD:
            return 0
        size = int.from_bytes(self._came[3:RECORD_HEAD], "big")
        if size > MOST_RECORD:
            raise NotTls(f"a TLS record of {size} bytes is none")
        return RECORD_HEAD + size

    def _delay(self) -> float:
        """Take a token for the next record, or let it pass as one of a handshake; return how long it has to wait."""
        kind = self._came[0]
        if kind == _APPLICATION and self._before == _CHANGE and not self._finished:
            return 0.0
        if kind != _APPLICATION and self._free:
            self._free -= 1
            return 0.0
        return self._take()


class _OneWay:
    """One direction of a tunnel. It takes nothing more while the far side does not take what it has, or while a record
    is held."""

    def __init__(self, source: Wire, sink: Wire, records: Records | None = None) -> None:
        self._source, self._sink = source, sink
        self._records = records
        self._pending = b""
        self._ended = False
        self.over = False
        self._put(source.rest())

    @property
    def held(self) -> float:
        """Seconds until it goes on by itself; 0: it does not."""
        return self._records.held if self._records and not self._pending else 0.0

    def wants(self) -> Iterator[tuple[socket.socket, int]]:
        if self._pending:
            yield self._sink.sock, select.POLLOUT
        elif self.held:
            yield self._sink.sock, 0  # only the news that it is gone
        elif not self._ended:
            yield self._source.sock, select.POLLIN

    def move(self, ready: dict[socket.socket, int]) -> None:
        if self.held and ready.get(self._sink.sock, 0) & _GONE:
            raise Truncated("the connection ended while a record was held")
        if not (self._pending or self._ended or self.held) and ready.get(self._source.sock, 0) & ~select.POLLOUT:
            data = self._source.take()
            self._ended = not data
            self._put(data)
        if self._pending and ready.get(self._sink.sock, 0) & ~select.POLLIN:
            self._pending = self._pending[self._sink.give(self._pending) :]
        self._next()
        if self._ended and not self._pending and not self.held and not self.over:
            self._sink.sock.shutdown(socket.SHUT_WR)
            self.over = True

    def _put(self, data: bytes) -> None:
        if self._records:
            self._records.put(data)
            self._next()
        else:
            self._pending = data

    def _next(self) -> None:
        if self._records and not self._pending:
            self._pending = self._records.get()
