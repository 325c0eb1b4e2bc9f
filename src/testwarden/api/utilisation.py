"""How busy this machine is, without waiting for it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import psutil

LEAST = 0.5
"""Seconds between two looks at the processors: over less, the kernel's counters are too coarse."""


class Meter:
    """Says how busy processors and memory are. Called from many threads at once.

    psutil's own `cpu_percent` measures since the last call of the same thread; here the threads differ.
    """

    def __init__(
        self,
        busy: Callable[[], tuple[float, float]] | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Given what returns seconds of processor time so far, busy and in all, and a clock."""
        self._busy = busy or processor_seconds
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._last = self._busy()
        self._looked = monotonic()
        self._percent = 0

    def cpu(self) -> int:
        """Return how busy the processors were since the last look, in percent of all of them."""
        with self._lock:
            if self._monotonic() - self._looked >= LEAST:
                self._look()
            return self._percent

    def memory(self) -> int:
        """Return how much of the memory is used, in percent."""
        return int(psutil.virtual_memory().percent)

    def _look(self) -> None:
        now = self._busy()
        busy, total = now[0] - self._last[0], now[1] - self._last[1]
        self._percent = min(max(round(100 * busy / total), 0), 100) if total > 0 else 0
        self._last, self._looked = now, self._monotonic()


def processor_seconds() -> tuple[float, float]:
    """Return seconds that all processors have spent, busy and in all. Guests' time is part of user time already."""
    times = psutil.cpu_times()
    guests = getattr(times, "guest", 0.0) + getattr(times, "guest_nice", 0.0)
    total = float(sum(times)) - guests
    return total - times.idle - getattr(times, "iowait", 0.0), total
