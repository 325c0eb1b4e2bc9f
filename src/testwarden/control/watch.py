"""The look-out: asks the source about the kill switch, at the pace that its allowance permits."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from testwarden.clients.stop import Stop
from testwarden.clock import Clock
from testwarden.control.source import Source
from testwarden.errors import SourceError, SourceRateLimited
from testwarden.model import Moment
from testwarden.safety.kill_switch import KillSwitch, Standing, SwitchState
from testwarden.safety.polling import LONGEST, Pace, pace
from testwarden.safety.situation import Situation

_log = logging.getLogger(__name__)


class Watch:
    """Keeps the situation's kill switch and clock skew up to date, and has them enforced at once."""

    def __init__(
        self,
        source: Source,
        situation: Situation,
        clock: Clock,
        remember: Callable[[str], None],
        enforce: Callable[[], None],
    ) -> None:
        """Given the source, where to put what it says, the clock, what keeps the held switch across restarts, and what
        to call after each look, so that an active switch stops what runs."""
        self._source = source
        self._situation = situation
        self._clock = clock
        self._remember = remember
        self._enforce = enforce
        self._one_look = threading.Lock()
        self._advised = ""
        self._retry_at: float | None = None

    def look(self, *, thorough: bool, at_fetch: bool = False) -> Standing:
        """Look once; return what is known afterwards. `at_fetch`: this is the look of the fetch at :00."""
        with self._one_look:
            now, before, after = self._ask(thorough=thorough, at_fetch=at_fetch)
        standing = after.standing(now)
        self._tell(before, after, now)
        self._enforce()
        return standing

    def _ask(self, *, thorough: bool, at_fetch: bool) -> tuple[Moment, KillSwitch, KillSwitch]:
        self._retry_at = None
        try:
            issues = self._source.look(thorough=thorough).issues
        except SourceError as problem:
            why = str(problem)
            now = self._clock.now()
            if isinstance(problem, SourceRateLimited) and problem.resets is not None:
                self._retry_at = now.steady + (problem.resets - now.utc).total_seconds()
            before, after = self._situation.change_switch(lambda switch: switch.after_failure(why))
        else:
            now = self._clock.now()
            before, after = self._situation.change_switch(
                lambda switch: switch.after_look(issues, now, at_fetch=at_fetch)
            )
        answer = self._source.last_answer
        self._situation.update(skew=answer.skew if answer else None)
        if before.held != after.held:
            self._remember(after.held)
        return now, before, after

    def _tell(self, before: KillSwitch, after: KillSwitch, now: Moment) -> None:
        was, now_is = before.standing(now), after.standing(now)
        if after.failure and after.failure != before.failure:
            _log.warning("the kill switch could not be looked at: %s; next look in %.0f s", after.failure, self.pause())
        if before.failure and not after.failure:
            _log.info("the kill switch can be looked at again")
        if was.state is now_is.state and before.held == after.held and before.issues == after.issues:
            return
        level = logging.INFO if now_is.state is SwitchState.CLEAR else logging.WARNING
        _log.log(level, "%s", now_is.reason)

    def pause(self) -> float:
        """Return the seconds until the next look."""
        now = self._clock.now()
        step = self._pace(now)
        if step.advice and not self._advised:
            _log.warning("%s", step.advice)
        self._advised = step.advice
        if self._retry_at is not None:
            return max(step.seconds, min(LONGEST, self._retry_at - now.steady))
        return step.seconds

    def _pace(self, now: Moment) -> Pace:
        answer = self._source.last_answer
        if answer is None or answer.allowance is None:
            return pace(self._source.poll_seconds, None, 0)
        resets_in = (answer.allowance.resets - now.utc).total_seconds()
        return pace(self._source.poll_seconds, answer.allowance.remaining, resets_in)

    def run(self, stop: Stop) -> None:
        """Go on looking until a stop is requested; the first look is one pause away."""
        while not stop.wait(self.pause()):
            self.look(thorough=False)
