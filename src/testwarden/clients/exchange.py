"""Ending an exchange over the network from outside: at its deadline, or as soon as a stop is requested.

Time limits of sockets bound the pause between two bytes, not the whole: a server that sends one byte every few seconds
outlives them. So the sockets of an exchange are shut down from another thread, which wakes whoever waits for them, in
`connect`, in a TLS handshake, in headers or in a body alike.
"""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from enum import Enum

from testwarden.clients.stop import Stop
from testwarden.errors import TestwardenError


class End(str, Enum):
    """Why an exchange was ended by us."""

    DEADLINE = "deadline"
    STOP = "stop"


class ExchangeEnded(TestwardenError):
    """The exchange was ended by us before it was over."""

    def __init__(self, why: End) -> None:
        super().__init__("it took too long" if why is End.DEADLINE else "it was asked to stop")
        self.why = why


class Guard:
    """Knows the sockets of one exchange and shuts them down when it has to end."""

    def __init__(self, seconds: float, monotonic: Callable[[], float] = time.monotonic) -> None:
        """Given how many seconds the exchange may take in all, from now."""
        self._monotonic = monotonic
        self._ends_at = monotonic() + seconds
        self._lock = threading.Lock()
        self._copies: list[socket.socket] = []
        self._ended: End | None = None

    @property
    def ended(self) -> End | None:
        """Why the exchange was ended, or None as long as it may go on."""
        return self._ended

    def remaining(self) -> float:
        """Return how many seconds are left, never less than 0."""
        return max(0.0, self._ends_at - self._monotonic())

    def check(self) -> None:
        """Raise ExchangeEnded if the exchange was ended."""
        if self._ended is not None:
            raise ExchangeEnded(self._ended)

    def adopt(self, sock: socket.socket) -> None:
        """Watch over a socket, also while it is still connecting.

        What is kept is a copy of the file descriptor. The number of the original may belong to somebody else's socket
        a moment after its owner closed it, and a TLS socket takes the original over; a copy always reaches it.
        """
        copy = socket.socket(fileno=os.dup(sock.fileno()))
        with self._lock:
            self._copies.append(copy)
            if self._ended is not None:
                _shut(copy)

    def end(self, why: End) -> None:
        """End the exchange: whoever waits for one of its sockets wakes up. The first reason stays."""
        with self._lock:
            self._ended = self._ended or why
            for copy in self._copies:
                _shut(copy)

    def release(self) -> None:
        """Let go of all sockets."""
        with self._lock:
            while self._copies:
                self._copies.pop().close()


def _shut(sock: socket.socket) -> None:
    try:
        sock.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass  # It is closed or was never connected: nobody waits for it.


@contextmanager
def guarded(seconds: float, stop: Stop | None) -> Iterator[Guard]:
    """While inside, the sockets that the guard adopts live for at most so many seconds, and end with `stop`.

    Raise ExchangeEnded on leaving whenever we ended the exchange, whatever it looked like inside: a body without a
    length that we cut off looks complete.
    """
    guard = Guard(seconds)
    timer = threading.Timer(seconds, guard.end, [End.DEADLINE])
    timer.daemon = True
    timer.start()
    try:
        with stop.listener(lambda: guard.end(End.STOP)) if stop else nullcontext():
            yield guard
    except Exception as error:
        if guard.ended is None or isinstance(error, ExchangeEnded):
            raise
        raise ExchangeEnded(guard.ended) from error
    finally:
        timer.cancel()
        timer.join()
        guard.release()
    guard.check()
