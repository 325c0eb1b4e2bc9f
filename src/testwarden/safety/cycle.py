"""The hour and its phases, as pure functions of the time in UTC.

A cycle has sixty minutes: fetch period :00–:05, window :05–:55, cool-down :55–:00. A shortened cycle (embedded network
only) has sixty shorter minutes; what is said in minutes of the cycle shrinks with it, what is said in seconds does not.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from enum import Enum

from testwarden.model import require_aware

MINUTES = 60
WINDOW_OPENS = 5
WINDOW_ENDS = 55
KILL = 58

_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)


class Phase(str, Enum):
    """The part of the cycle that an instant lies in."""

    FETCH = "fetch period"
    WINDOW = "window"
    COOL_DOWN = "cool-down"


@dataclass(frozen=True)
class Cycle:
    """A cycle of so many seconds, aligned to the hour in UTC; 3600 must be a multiple of it."""

    seconds: int = 3600

    def __post_init__(self) -> None:
        if self.seconds <= 0 or 3600 % self.seconds:
            raise ValueError(f"3600 seconds are not a multiple of a cycle of {self.seconds}")

    @property
    def minute(self) -> timedelta:
        """How long one minute of the cycle takes."""
        return timedelta(seconds=self.seconds) / MINUTES

    def start(self, now: datetime) -> datetime:
        """Return the instant, in UTC, at which the cycle began that `now` lies in."""
        require_aware(now, "now")
        length = timedelta(seconds=self.seconds)
        return _EPOCH + (now - _EPOCH) // length * length

    def at(self, now: datetime, minute: float) -> datetime:
        """Return the instant of a minute (0 … 60) in the cycle that `now` lies in."""
        return self.start(now) + self.minute * minute

    def next_at(self, now: datetime, minute: float) -> datetime:
        """Return the first instant after `now` that is this minute of a cycle."""
        due = self.at(now, minute)
        return due if due > now else due + timedelta(seconds=self.seconds)

    def phase(self, now: datetime) -> Phase:
        """Return the phase that `now` lies in; the first instant of a phase belongs to it."""
        if now < self.at(now, WINDOW_OPENS):
            return Phase.FETCH
        return Phase.WINDOW if now < self.at(now, WINDOW_ENDS) else Phase.COOL_DOWN

    def window_opens(self, now: datetime) -> datetime:
        """Return when the next window opens, or `now` where it is open."""
        return now if self.phase(now) is Phase.WINDOW else self.next_at(now, WINDOW_OPENS)

    def seconds_to_kill(self, now: datetime) -> float:
        """Return the seconds until what is left of this cycle's children gets KILL; 0 when that has passed."""
        return max(0.0, (self.at(now, KILL) - now).total_seconds())

    def seconds_to_window_end(self, now: datetime) -> float:
        """Return the seconds until the window of this cycle ends; 0 when it has."""
        return max(0.0, (self.at(now, WINDOW_ENDS) - now).total_seconds())

    def task_start(self, now: datetime, minute: int, phase: float, delay: float) -> datetime:
        """Return when a task starts in the cycle that `now` lies in.

        Given its minute, the agent's own `phase` inside a minute (0 ≤ phase < 1) and a drawn `delay` in minutes. A
        start that would fall behind the window is drawn back into what is left of it, so that no offset loses a task.
        """
        left = WINDOW_ENDS - minute
        return self.at(now, minute + (phase + delay) % left if phase + delay >= left else minute + phase + delay)
