"""Loopback ports for programs that listen: none is lent twice at the same time."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from testwarden.errors import ProcessError


class PortPool:
    """Lends ports of a range. Called from many threads at once."""

    def __init__(self, first: int, last: int) -> None:
        """Given the range, both ends included. Raise ValueError if it is none."""
        if not 0 < first <= last < 65536:
            raise ValueError(f"{first}–{last} is no range of ports")
        self._first = first
        self._size = last - first + 1
        self._next = 0
        self._lent: set[int] = set()
        self._lock = threading.Lock()

    @property
    def percent(self) -> int:
        """How much of the range is lent, in whole percent, rounded up: 0 means none, 100 means all or nearly so."""
        with self._lock:
            return -(-len(self._lent) * 100 // self._size)

    @contextmanager
    def lend(self) -> Iterator[int]:
        """While inside, the port is the borrower's. Raise ProcessError if all are lent or in use by others."""
        port = self.take()
        try:
            yield port
        finally:
            self.give_back(port)

    def take(self) -> int:
        """Return a port on which nobody listens, lent until it is given back. Raise ProcessError if there is none.

        The search goes on where the last one ended: a port that somebody else takes in the moment between looking and
        listening is not the next one to be lent again.
        """
        with self._lock:
            for _ in range(self._size):
                port = self._first + self._next
                self._next = (self._next + 1) % self._size
                if port not in self._lent and _is_free(port):
                    self._lent.add(port)
                    return port
        last = self._first + self._size - 1
        raise ProcessError(f"no free port on 127.0.0.1 between {self._first} and {last}")

    def give_back(self, port: int) -> None:
        """Given a port that was taken, let others have it."""
        with self._lock:
            self._lent.discard(port)


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        # Where nobody listens, connections that linger after their end are no hindrance to whoever will.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
