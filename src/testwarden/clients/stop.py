"""Asking a running attempt to stop: what every client listens to, whatever it drives."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class Stop:
    """A request to stop that threads can wait for, with its reason and with when patience ends.

    A second request never postpones the first: the earlier `kill_at` wins, and the first reason stays.
    """

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._event = threading.Event()
        self._lock = threading.Lock()
        self._listeners: list[Callable[[], None]] = []
        self._reason = ""
        self._kill_at = float("inf")
        self._kills = 0

    @property
    def requested(self) -> bool:
        return self._event.is_set()

    @property
    def reason(self) -> str:
        """Why, for a person; empty as long as nobody asked."""
        return self._reason

    @property
    def kill_at(self) -> float:
        """Monotonic second at which a client that was asked politely is killed; infinite as long as nobody asked."""
        return self._kill_at

    def request(self, reason: str, grace: float) -> None:
        """Given why and how many seconds a client gets between being asked and being killed, wake everybody who waits."""
        with self._lock:
            self._kill_at = min(self._kill_at, self._monotonic() + grace)
            self._reason = self._reason or reason
            self._event.set()
            listeners = list(self._listeners)
        for listener in listeners:
            listener()

    def note_kill(self) -> None:
        """Note that a client did not end when it was asked to, and was killed."""
        with self._lock:
            self._kills += 1

    @property
    def kills(self) -> int:
        """How many clients had to be killed."""
        return self._kills

    def wait(self, seconds: float) -> bool:
        """Wait for at most so many seconds; return whether a stop was requested."""
        return self._event.wait(max(0.0, seconds))

    @contextmanager
    def listener(self, call: Callable[[], None]) -> Iterator[None]:
        """While inside, `call` runs at each request, in the requester's thread; at once if there was one already."""
        with self._lock:
            self._listeners.append(call)
            asked_before = self._event.is_set()
        if asked_before:
            call()
        try:
            yield
        finally:
            with self._lock:
                self._listeners.remove(call)
