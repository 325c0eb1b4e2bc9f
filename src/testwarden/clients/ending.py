"""When a client that runs is asked to end, and when it is made to: pure decisions, the time is an argument."""

from __future__ import annotations

import math
import signal
from enum import Enum

from testwarden.clients.stop import Stop
from testwarden.errors import ProcessError

ANSWER_PATIENCE = 10.0
"""Seconds after KILL in which the keeper has to report the end. It waits for at most keeper.LINGER itself."""


class Why(str, Enum):
    """Why a client ended."""

    FINISHED = "finished"
    """By itself, or by a signal that was not ours."""
    STOPPED = "stopped"
    TIMED_OUT = "timed_out"


class Ending:
    """When one client is asked to end, when again, and when it is made to."""

    def __init__(self, deadline: float, grace: float, *, second_term: bool = False) -> None:
        """Given the monotonic second of its time limit, the seconds between TERM and KILL then, and whether there is
        another TERM half-way between them, for programs that take it as `now, at last`."""
        self.why = Why.FINISHED
        self._deadline = deadline
        self._kill_at = deadline + grace
        self._asks_again = second_term
        self._asked_at: float | None = None
        """When it was asked, as long as it is to be asked again."""
        self._killed_at: float | None = None

    def next_due(self, stop: Stop) -> float:
        """Return the monotonic second at which there is something to do unless something happens before."""
        if self._killed_at is not None:
            return self._killed_at + ANSWER_PATIENCE
        return self._deadline if self.why is Why.FINISHED else min(self._end(stop), self._second_term(stop))

    def due(self, now: float, stop: Stop) -> signal.Signals | None:
        """Return the signal that is to be sent now, if any. Raise ProcessError when KILL was to no avail."""
        if self.why is Why.FINISHED:
            if not stop.requested and now < self._deadline:
                return None
            self.why = Why.STOPPED if stop.requested else Why.TIMED_OUT
            self._asked_at = now if self._asks_again else None
            return signal.SIGTERM
        if self._killed_at is None and now >= self._end(stop):
            self._killed_at = now
            return signal.SIGKILL
        if self._killed_at is None and now >= self._second_term(stop):
            self._asked_at = None
            return signal.SIGTERM
        if self._killed_at is not None and now >= self._killed_at + ANSWER_PATIENCE:
            raise ProcessError("the keeper of child processes does not answer")
        return None

    def _end(self, stop: Stop) -> float:
        return min(self._kill_at, stop.kill_at)

    def _second_term(self, stop: Stop) -> float:
        return math.inf if self._asked_at is None else (self._asked_at + self._end(stop)) / 2
