"""Timestamps that are never the same twice, so that no point overwrites another."""

from __future__ import annotations

from array import array
from collections.abc import Iterable

REMEMBERED = 65_536
"""How many stamps back a new one is compared with, at least."""
_MOST = 2 * REMEMBERED


class Stamps:
    """Gives each sample a timestamp of its own. Not thread-safe.

    A stamp above all others needs no comparing and is only noted, which is what nearly always happens and must be fast. The
    set to compare with is made when one comes that is not.
    """

    def __init__(self, used: Iterable[int]) -> None:
        """Given the newest stamps that are in the files already, oldest first."""
        self._noted = array("q", used)
        self._newest = max(self._noted, default=-1)
        self._known: set[int] | None = None
        """What was noted up to `_compared`, once it was needed."""
        self._compared = 0
        self._next: dict[int, int] = {}

    def free(self, stamp: int) -> int:
        """Given when an attempt ended (ns), return that or, if it was used, the next free nanosecond; note it.

        Raise OverflowError for a stamp beyond 64 bits.
        """
        if stamp <= self._newest:
            stamp = self._next_free(stamp)
        self._noted.append(stamp)
        if stamp > self._newest:
            self._newest = stamp
        if len(self._noted) >= _MOST:
            self._forget()
        return stamp

    def _forget(self) -> None:
        del self._noted[:-REMEMBERED]
        self._known, self._compared = None, 0
        self._next.clear()

    def _next_free(self, wanted: int) -> int:
        if self._known is None:
            self._known = set()
        self._known.update(self._noted[self._compared :])
        self._compared = len(self._noted)
        # Many samples of one instant (a clock that stands still) must not each walk over all the others.
        stamp = self._next.get(wanted, wanted)
        while stamp in self._known:
            stamp += 1
        if stamp != wanted:
            self._next[wanted] = stamp + 1
        return stamp
