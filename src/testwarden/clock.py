"""The one door to time: what now is, on the wall's clock and on one that nobody can set."""

from __future__ import annotations

import time
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Protocol

from testwarden.model import Moment


class Clock(Protocol):
    """Says what now is."""

    def now(self) -> Moment:
        """Return this instant."""
        ...


class SystemClock:
    """The machine's clocks. CLOCK_BOOTTIME counts on through suspend (clock_gettime(2)); where it is missing, the
    monotonic clock stands in and a budget lasts longer by the time that the machine slept."""

    def __init__(self) -> None:
        self._boot = _boot_id()
        self._steady_clock = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)

    def now(self) -> Moment:
        """Return this instant."""
        return Moment(datetime.now(timezone.utc), time.clock_gettime(self._steady_clock), self._boot)


class ManualClock:
    """The twin for tests: stands still until it is moved."""

    def __init__(self, start: datetime) -> None:
        self._now = Moment(start, 1000.0, "manual")

    def now(self) -> Moment:
        """Return the instant it was set to."""
        return self._now

    def advance(self, seconds: float) -> Moment:
        """Move both clocks on and return the new instant."""
        return self.set(self._now.utc + timedelta(seconds=seconds))

    def set(self, utc: datetime) -> Moment:
        """Move both clocks to an instant and return it."""
        steady = self._now.steady + (utc - self._now.utc).total_seconds()
        self._now = Moment(utc, steady, self._now.boot)
        return self._now


def _boot_id() -> str:
    """Return a name for this boot: the kernel's own (random(4)), else the second it began in."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return f"since-{time.time() - time.monotonic():.0f}"
