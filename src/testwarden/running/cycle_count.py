"""Counts whole cycles: those that were seen from their beginning."""

from __future__ import annotations

from datetime import datetime

from testwarden.safety.cycle import Cycle, Phase


class CycleCount:
    """Not for several threads: the timetable calls it at :00."""

    def __init__(self, cycle: Cycle, now: datetime) -> None:
        """Given the cycle and now. A cycle that is joined after its fetch period is not whole."""
        self._cycle = cycle
        self._joined_in_time = cycle.phase(now) is Phase.FETCH
        self._last: datetime | None = None
        self._whole = 0

    def ended(self, now: datetime) -> int:
        """A cycle has ended just before `now`; return how many whole ones there were."""
        begin = self._cycle.start(now)
        if begin != self._last:  # else the clock was set back over the end of a cycle
            self._last = begin
            self._whole += self._joined_in_time
            self._joined_in_time = True
        return self._whole
