"""What a run's proxy let through and what it refused, and how fast and how much it may let through."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from testwarden.errors import TestwardenError

MOST_LISTED = 100
"""Different refusals that are remembered; all are counted."""
MOST_TEXT = 200
"""Characters of one of them."""


class CapReached(TestwardenError):
    """As many bytes as this run may move have been moved."""


class Account:
    """Counts. Threads may share it."""

    def __init__(self, most_bytes: int | None = None) -> None:
        """Given how many bytes may be moved, both directions together; None: any."""
        self._most_bytes = most_bytes
        self._lock = threading.Lock()
        self._moved = 0
        self._refusals = 0
        self._refused: dict[str, None] = {}

    @property
    def moved(self) -> int:
        """Bytes that went between the proxy and the targets. What a connection had under way may exceed the cap."""
        return self._moved

    @property
    def refusals(self) -> int:
        """How many requests were refused."""
        return self._refusals

    @property
    def refused(self) -> tuple[str, ...]:
        """`host:port: why`, each once, in the order in which they came, the first MOST_LISTED."""
        with self._lock:
            return tuple(self._refused)

    def refuse(self, host: str, port: int, why: str) -> str:
        """Count a refusal; return it as one line."""
        place = f"[{host}]" if ":" in host else host
        line = f"{place}:{port}: {why}"[:MOST_TEXT]
        with self._lock:
            self._refusals += 1
            if len(self._refused) < MOST_LISTED:
                self._refused[line] = None
        return line

    def check(self) -> None:
        """Raise CapReached if nothing more may be moved."""
        self.move(0)

    def move(self, size: int) -> None:
        """Count bytes. Raise CapReached if the cap was reached before."""
        with self._lock:
            if self._most_bytes is not None and self._moved >= self._most_bytes:
                raise CapReached(f"the {self._most_bytes} bytes that this run may move are used up")
            self._moved += size


class Pace:
    """A token bucket that delays: who comes too early is told how long to wait.

    It holds a tenth of a second's tokens, at least one. With none to spare, a program that keeps exactly to the rate
    would carry every hiccup along for the rest of its run, and measure our delay. So in any second start no more than
    the rate and a tenth of it, and in any longer time the rate holds to within that tenth.
    """

    def __init__(self, rate: int | None, monotonic: Callable[[], float] = time.monotonic) -> None:
        """Given how many may start in a second; None: any."""
        self._rate = rate
        self._interval = 1 / rate if rate else 0.0
        self._slack = self._interval * max(1, (rate or 0) // 10)
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._full_at = monotonic()

    @property
    def bounded(self) -> bool:
        """Whether there is a rate."""
        return self._interval > 0

    def another(self) -> Pace:
        """Return one of the same rate, for something else that is counted by itself."""
        return Pace(self._rate, self._monotonic)

    def take(self) -> float:
        """Take a token, or the next that will be there; return in how many seconds it is."""
        with self._lock:
            now = self._monotonic()
            self._full_at = max(self._full_at, now) + self._interval
            return max(0.0, self._full_at - self._slack - now)
