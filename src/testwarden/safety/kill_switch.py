"""The kill switch: what the looks at it mean, and what may therefore run. Fail closed.

All ages are measured on the steady clock, so that a wall clock that is set back cannot make an old answer look new.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from enum import Enum

from testwarden.model import Moment

START_PATIENCE = 300.0
"""Seconds: when the last good answer is older, nothing starts."""
STOP_PATIENCE = 600.0
"""Seconds: when the last good answer is older, running tests are stopped."""


@dataclass(frozen=True)
class SwitchIssue:
    """One open kill-switch issue."""

    number: int
    title: str
    author: str
    opened: datetime
    url: str

    def __str__(self) -> str:
        name = f"issue {self.number}" if self.number else "the entry"
        return f"{name} “{self.title}” by {self.author}, {self.url}"


class SwitchState(str, Enum):
    """What is known of the kill switch."""

    CLEAR = "clear"
    ACTIVE = "active"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class KillSwitch:
    """All that the looks so far have taught. Make the next one with `after_look` and `after_failure`."""

    issues: tuple[SwitchIssue, ...] = ()
    """The open issues at the last good look."""
    held: str = ""
    """Set from the first open issue until a fetch at :00 finds none: what is held, for a person."""
    active_since: Moment | None = None
    last_good: Moment | None = None
    failure: str = ""
    """Why the newest look failed; empty if it was good."""

    def after_look(self, issues: tuple[SwitchIssue, ...], now: Moment, *, at_fetch: bool) -> KillSwitch:
        """Given the open kill-switch issues of a good look, return what is known now.

        `at_fetch`: this look belongs to the fetch at :00, the only one that may end an active switch.
        """
        seen = replace(self, issues=issues, last_good=now, failure="")
        if issues:
            return replace(seen, held=str(issues[0]), active_since=self.active_since or now)
        if at_fetch:
            return replace(seen, held="", active_since=None)
        return seen

    def after_failure(self, why: str) -> KillSwitch:
        """Given why a look failed, return what is known now: the same, only not renewed."""
        return replace(self, failure=why)

    def standing(self, now: Moment) -> Standing:
        """Return what this means at `now`."""
        if self.held:
            return self._active()
        if self.last_good is None:
            why = f" ({self.failure})" if self.failure else ""
            return Standing(SwitchState.UNKNOWN, False, True, f"no answer about the kill switch yet{why}")
        age = now.steady - self.last_good.steady
        if age > START_PATIENCE:
            why = f" ({self.failure})" if self.failure else ""
            reason = f"the last answer about the kill switch is {age:.0f} s old, the most is {START_PATIENCE:.0f}{why}"
            return Standing(SwitchState.UNKNOWN, False, age > STOP_PATIENCE, reason)
        return Standing(SwitchState.CLEAR, True, False, "the kill switch is clear")

    def _active(self) -> Standing:
        if self.issues:
            return Standing(SwitchState.ACTIVE, False, True, f"the kill switch is active: {self.issues[0]}")
        reason = f"the kill switch was active ({self.held}) and testing resumes with the next fetch at :00"
        return Standing(SwitchState.ACTIVE, False, True, reason)


@dataclass(frozen=True)
class Standing:
    """What the kill switch lets happen at one instant."""

    state: SwitchState
    may_start: bool
    must_stop: bool
    reason: str
