"""When is fetched, and how patiently: at the start, at :00, and when the operator asks."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Callable
from datetime import datetime

from testwarden.clients.stop import Stop
from testwarden.clock import Clock
from testwarden.control.fetch import Reading, back_off, read, try_patiently
from testwarden.control.kept_files import KeptFiles
from testwarden.control.source import Source
from testwarden.control.watch import Watch
from testwarden.safety.cycle import Cycle
from testwarden.safety.gate import Confirmed
from testwarden.safety.situation import Situation

_log = logging.getLogger(__name__)


class Fetching:
    """Fetches, one at a time, so that an older commit never replaces a newer one."""

    def __init__(
        self,
        source: Source,
        watch: Watch,
        situation: Situation,
        clock: Clock,
        cycle: Cycle,
        stop: Stop,
        adopt: Callable[[Reading], None],
        kept: KeptFiles | None = None,
    ) -> None:
        """Given the source, the look-out for the kill switch, where to note what was confirmed, the clock, the cycle,
        what ends all patience, what follows a new reading from then on, and what keeps files between fetches."""
        self._source = source
        self._watch = watch
        self._situation = situation
        self._clock = clock
        self._cycle = cycle
        self._stop = stop
        self._adopt = adopt
        self._kept = kept
        self._fetching = threading.Lock()
        self._asked = threading.Lock()

    def first(self) -> None:
        """Try until there is a control file, whoever brings it."""

        def unless_there_is_one() -> None:
            if self._situation.known().control is None:
                self._once()

        self._try(unless_there_is_one, lambda: float("inf"))

    def at_hour(self) -> bool:
        """Look at the kill switch, which only this look may end, and fetch; return whether that worked."""
        for pause in back_off():
            self._watch.look(thorough=True, at_fetch=True)
            failed = bool(self._situation.known().switch.failure)
            if not failed or pause > self._seconds_to_window() or self._stop.wait(pause):
                break
        return self._try(self._once, self._seconds_to_window)

    def now(self) -> None:
        """Look and fetch at once, as the operator asked. It does not end an active kill switch."""
        if not self._asked.acquire(blocking=False):
            _log.info("a fetch is under way already")
            return
        with contextlib.ExitStack() as stack:
            stack.callback(self._asked.release)
            self._watch.look(thorough=True)
            self._try(self._once, lambda: 0.0)

    def _try(self, attempt: Callable[[], None], seconds_left: Callable[[], float]) -> bool:
        return try_patiently(attempt, self._stop, seconds_left, lambda: self._clock.now().utc)

    def _once(self) -> None:
        """Raise SourceError."""
        with self._fetching:
            asked = self._clock.now()
            reading = read(self._source, self._kept)
            self._situation.update(control=Confirmed(asked, reading.control.not_after))
            for finding in reading.findings:
                _log.warning("%s", finding)
            self._adopt(reading)

    def _seconds_to_window(self) -> float:
        now: datetime = self._clock.now().utc
        return (self._cycle.window_opens(now) - now).total_seconds()
