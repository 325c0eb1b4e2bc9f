"""The only door: whatever runs, a task or one attempt of it, has a verdict from here.

`judge_now` is pure, as is `task_verdict.py`. `Gate` adds the ledger, which takes the budget in the same step that allows.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal

from testwarden.errors import LedgerError
from testwarden.model import AttemptResult, Decision, Moment, Origin, Task, Verdict
from testwarden.safety.budget import Caps, Entry, Ledger, Shortage, Usage
from testwarden.safety.cycle import Cycle, Phase
from testwarden.safety.kill_switch import KillSwitch
from testwarden.safety.limits import Limits
from testwarden.safety.task_verdict import Judged, judge_task

MOST_SKEW = 60.0
"""Seconds that the local clock may differ from the source's."""
STALE_CYCLES = 2
"""A control file that was not confirmed within so many cycles is not followed any more."""

_AGAIN = timedelta(seconds=10)
"""After a refusal that may end at any moment, a worker asks again so much later."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Confirmed:
    """A control file, and when the source last said that it is the newest one."""

    at: Moment
    not_after: datetime | None = None


@dataclass(frozen=True)
class Conditions:
    """What the gate looks at beside the budgets, at one moment."""

    switch: KillSwitch = KillSwitch()  # noqa: RUF009 - it is frozen
    skew: float | None = None
    """Seconds that the local clock is ahead of the source's; None where the source tells no time."""
    control: Confirmed | None = None
    paused: bool = False
    """By the operator."""
    disk_free: int = 0
    """Bytes."""


@dataclass(frozen=True)
class Needs:
    """What one attempt needs to start, beside the budgets."""

    keep_free: int
    """Bytes of disk that must stay free."""
    disk: int = 0
    """Bytes of disk that it takes."""
    window: bool = True
    """The window must be open."""
    control: bool = True
    """The control file that it comes from must still hold."""


@dataclass(frozen=True)
class Admission:
    """The answer to an attempt."""

    verdict: Verdict
    permit: int = 0
    """Names the attempt in the ledger, when it is allowed."""


def judge_now(conditions: Conditions, cycle: Cycle, needs: Needs, now: Moment) -> Verdict:
    """Given the conditions and what the attempt needs, return whether it may start at `now`. Which check comes first
    decides only which reason is told."""
    soon = now.utc + _AGAIN
    outside = outside_window(cycle, now.utc) if needs.window else None
    if outside is not None:
        return outside
    standing = conditions.switch.standing(now)
    if not standing.may_start:
        return _refused(standing.reason, soon)
    if conditions.paused:
        return _refused("paused by the operator", soon)
    if conditions.skew is not None and abs(conditions.skew) > MOST_SKEW:
        side = "ahead of" if conditions.skew > 0 else "behind"
        reason = f"the clock is {abs(conditions.skew):.0f} s {side} the source's; more than {MOST_SKEW:.0f} s: set it"
        return _refused(reason, soon)
    stale = _stale(conditions.control, cycle, now) if needs.control else ""
    if stale:
        return _refused(stale, soon)
    free = conditions.disk_free
    if free - needs.disk < needs.keep_free:
        reason = f"{free} bytes of disk are free, {needs.disk} are needed and {needs.keep_free} must stay free"
        return _refused(reason, soon)
    return Verdict(Decision.ALLOWED, "allowed")


def outside_window(cycle: Cycle, now: datetime) -> Verdict | None:
    """Return the refusal of whatever would start outside the window; None inside it."""
    if cycle.phase(now) is Phase.WINDOW:
        return None
    opens = cycle.window_opens(now)
    return _refused(f"outside the window, which opens at {opens:%H:%M:%S} UTC", opens)


def _stale(control: Confirmed | None, cycle: Cycle, now: Moment) -> str:
    if control is None:
        return "no control file was fetched yet"
    if control.not_after is not None and now.utc >= control.not_after:
        return f"the control file ended at {control.not_after:%Y-%m-%d %H:%M:%S} UTC (notAfter)"
    age = now.steady - control.at.steady
    if age > STALE_CYCLES * cycle.seconds:
        return f"the control file was last confirmed {age:.0f} s ago, more than {STALE_CYCLES} cycles"
    return ""


def _refused(reason: str, next_try: datetime | None = None) -> Verdict:
    return Verdict(Decision.REFUSED, reason, next_try)


class Gate:
    """Judges tasks and attempts, and takes the budget of what it allows."""

    def __init__(
        self,
        limits: Limits,
        cycle: Cycle,
        ledger: Ledger,
        conditions: Callable[[], Conditions],
        impossible: Callable[[Task], str],
    ) -> None:
        """Given the limits in force, the cycle, the ledger, how to ask for the conditions, and what says
        why a task cannot run here at all (empty: it can)."""
        self.limits = limits
        self.cycle = cycle
        self._ledger = ledger
        self._conditions = conditions
        self._impossible = impossible

    def judge(self, task: Task) -> Judged:
        """Return the verdict on a task."""
        return judge_task(task, self.limits, self._impossible(task))

    def may_start(self, origin: Origin, now: Moment) -> Verdict:
        """Return whether a test of this origin could start at this moment, as far as no budget says otherwise."""
        return judge_now(self._conditions(), self.cycle, self._needs(origin, 0), now)

    def ready(self, now: Moment) -> Verdict:
        """Return whether a task could start at this moment, were the window open."""
        return judge_now(self._conditions(), self.cycle, Needs(self.limits.keep_disk_free, window=False), now)

    def workers(self, origin: Origin, wanted: int, running: int) -> int:
        """Given the workers that a task wants and those of its origin that run, return how many may start."""
        most = self.limits.workers if origin is Origin.PUBLIC else self.limits.own.at_once
        return max(0, min(wanted, most - running))

    def windowed(self, origin: Origin) -> bool:
        """Return whether tests of this origin end with the window."""
        return origin is Origin.PUBLIC or self.limits.own.window

    def _needs(self, origin: Origin, disk: int) -> Needs:
        return Needs(self.limits.keep_disk_free, disk, self.windowed(origin), control=origin is Origin.PUBLIC)

    def admit(self, entry: Entry, disk: int, now: Moment) -> Admission:
        """Given an attempt and the bytes of disk that it needs, allow it and take its budget, or refuse it."""
        verdict = judge_now(self._conditions(), self.cycle, self._needs(entry.origin, disk), now)
        if verdict.refused:
            return Admission(verdict)
        row = self.limits.of(entry.type)
        attempts = self.limits.own.attempts if entry.origin is Origin.OWN else row.attempts if row else 0
        caps = Caps(attempts, self.limits.bytes_per_day)
        try:
            answer = self._ledger.spend(entry, caps, now)
        except LedgerError as problem:
            # What cannot be written down does not start: the budget would not be durable.
            return Admission(_refused(f"the ledger cannot be written: {problem}", now.utc + _AGAIN))
        if isinstance(answer, Shortage):
            return Admission(_refused(answer.reason, answer.next_try))
        return Admission(verdict, answer.permit)

    def settle(self, permit: int, result: AttemptResult, now: Moment) -> None:
        """Given how an attempt ended, note it. Where that fails the reservation stands, which is the safe side."""
        try:
            self._ledger.settle(permit, result.bytes, result.outcome.value, now.utc, final=result.bytes_known)
        except LedgerError as problem:
            _log.warning("an attempt could not be settled, so it counts as reserved: %s", problem)

    def reserve_funds(self, permit: int, quoted: Decimal, now: Moment) -> Verdict:
        """Given what an upload was quoted, in ANT, take it out of the operator's cap, with a margin; or refuse."""
        if self.limits.spend_per_day is None:
            return _refused("limits.spend_per_day is not set, so nothing may be spent")
        try:
            short = self._ledger.reserve_funds(
                permit, quoted * self.limits.spend_margin, self.limits.spend_per_day, now
            )
        except LedgerError as problem:
            return _refused(f"the ledger cannot be written: {problem}")
        return Verdict(Decision.ALLOWED, "within limits.spend_per_day") if short is None else _refused(short.reason)

    def settle_funds(self, permit: int, paid: Decimal) -> None:
        """Given what an upload paid, in ANT, note it instead of the reservation."""
        try:
            self._ledger.settle_funds(permit, paid)
        except LedgerError as problem:
            _log.warning("what an upload paid could not be noted, so the reservation stands: %s", problem)

    def usage(self, now: Moment) -> Usage:
        """Return what the hour and the day that end now have used. Raise LedgerError if it cannot be read."""
        return self._ledger.usage(now)
