"""The look-out, against the twin of a source."""

from __future__ import annotations

import logging
from datetime import datetime, timedelta, timezone

import pytest

from testwarden.clients.stop import Stop
from testwarden.clock import ManualClock
from testwarden.control.source import Allowance, Answer, Fetched, Look
from testwarden.control.watch import Watch
from testwarden.errors import SourceError, SourceRateLimited, SourceUnavailable
from testwarden.safety.gate import Conditions
from testwarden.safety.kill_switch import KillSwitch, SwitchIssue, SwitchState
from testwarden.safety.situation import Situation

NOON = datetime(2026, 11, 21, 12, tzinfo=timezone.utc)
ISSUE = SwitchIssue(7, "kill-switch", "reporter", NOON, "https://example.org/7")


class Scripted:
    """A source that answers what the test says."""

    description = "scripted"
    poll_seconds = 75.0

    def __init__(self) -> None:
        self.answer: tuple[SwitchIssue, ...] | SourceError = ()
        self.last_answer: Answer | None = None
        self.looks: list[bool] = []

    def fetch(self) -> Fetched:
        raise SourceUnavailable

    def look(self, *, thorough: bool) -> Look:
        self.looks.append(thorough)
        if isinstance(self.answer, SourceError):
            raise self.answer
        return Look(self.answer)

    def close(self) -> None: ...


class House:
    def __init__(self, held: str = "") -> None:
        self.clock = ManualClock(NOON)
        self.source = Scripted()
        self.situation = Situation(Conditions(switch=KillSwitch(held=held)), lambda: 0)
        self.notes: list[str] = []
        self.enforced: list[SwitchState] = []
        self.watch = Watch(self.source, self.situation, self.clock, self.notes.append, self._enforce)

    def _enforce(self) -> None:
        self.enforced.append(self.situation.conditions().switch.standing(self.clock.now()).state)


def test_an_open_issue_is_enforced_at_once_and_remembered() -> None:
    house = House()
    house.watch.look(thorough=True)
    house.source.answer = (ISSUE,)
    house.watch.look(thorough=False)
    assert house.enforced == [SwitchState.CLEAR, SwitchState.ACTIVE]
    assert "issue 7" in house.notes[-1]


def test_only_the_look_of_the_fetch_lets_go_and_forgets() -> None:
    house = House()
    house.source.answer = (ISSUE,)
    house.watch.look(thorough=True)
    house.source.answer = ()
    assert house.watch.look(thorough=True).state is SwitchState.ACTIVE
    assert house.watch.look(thorough=True, at_fetch=True).state is SwitchState.CLEAR
    assert house.notes[-1] == ""


def test_a_switch_that_was_held_before_a_restart_is_held_after_it() -> None:
    house = House(held="issue 7")
    assert house.watch.look(thorough=True).state is SwitchState.ACTIVE


def test_a_failure_keeps_the_answer_and_says_what_comes_next(caplog: pytest.LogCaptureFixture) -> None:
    house = House()
    house.watch.look(thorough=True)
    house.source.answer = SourceUnavailable("no route to host")
    with caplog.at_level(logging.INFO):
        assert house.watch.look(thorough=False).may_start
    assert "no route to host; next look in 75 s" in caplog.text


def test_the_same_failure_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    house = House()
    house.source.answer = SourceUnavailable("no route to host")
    for _ in range(5):
        house.watch.look(thorough=False)
    assert caplog.text.count("no route to host; next look") == 1


def test_a_scarce_allowance_slows_the_looks_and_advises_once(caplog: pytest.LogCaptureFixture) -> None:
    house = House()
    house.source.last_answer = Answer(Allowance(60, 18, NOON + timedelta(hours=1)), 0.0)
    assert house.watch.pause() == 360
    assert house.watch.pause() == 360
    assert caplog.text.count("set a token") == 1


def test_rate_limited_without_headers_waits_until_the_reset_that_the_error_names() -> None:
    house = House()
    house.source.answer = SourceRateLimited("wait", NOON + timedelta(seconds=200))
    house.watch.look(thorough=False)
    assert house.watch.pause() == pytest.approx(200)


def test_the_clock_s_skew_reaches_the_situation() -> None:
    house = House()
    house.source.last_answer = Answer(None, 90.0)
    house.watch.look(thorough=True)
    assert house.situation.conditions().skew == 90.0


def test_it_goes_on_looking_until_it_is_stopped() -> None:
    house = House()

    class ThreeRounds(Stop):
        rounds = 0

        def wait(self, seconds: float) -> bool:
            self.rounds += 1
            house.clock.advance(seconds)
            return self.rounds > 3

    house.watch.run(ThreeRounds())
    assert house.source.looks == [False] * 3
    assert house.clock.now().utc == NOON + timedelta(seconds=4 * 75)
