"""What the looks at the kill switch let happen."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

from hypothesis import given
from hypothesis import strategies as st

from testwarden.model import Moment
from testwarden.safety.kill_switch import KillSwitch, SwitchIssue, SwitchState

NOON = datetime(2026, 11, 21, 12, tzinfo=timezone.utc)
ISSUE = SwitchIssue(7, "kill-switch: it hurts", "reporter", NOON, "https://example.org/7")


def at(seconds: float, wall: float | None = None) -> Moment:
    return Moment(NOON + timedelta(seconds=seconds if wall is None else wall), 1000.0 + seconds, "boot")


def clear(seconds: float = 0) -> KillSwitch:
    return KillSwitch().after_look((), at(seconds), at_fetch=False)


def test_nothing_starts_before_the_first_answer() -> None:
    standing = KillSwitch().standing(at(0))
    assert standing.state is SwitchState.UNKNOWN
    assert not standing.may_start
    assert standing.must_stop


def test_the_first_clear_answer_lets_tests_start() -> None:
    assert clear().standing(at(1)).may_start


def test_an_issue_stops_at_once_and_says_which_and_by_whom() -> None:
    standing = clear().after_look((ISSUE,), at(10), at_fetch=False).standing(at(10))
    assert standing.state is SwitchState.ACTIVE
    assert standing.must_stop
    assert not standing.may_start
    assert "issue 7" in standing.reason
    assert "reporter" in standing.reason


def test_after_it_is_closed_nothing_starts_until_the_fetch() -> None:
    closed = clear().after_look((ISSUE,), at(10), at_fetch=False).after_look((), at(20), at_fetch=False)
    assert not closed.standing(at(20)).may_start
    assert "next fetch at :00" in closed.standing(at(20)).reason
    assert closed.after_look((), at(30), at_fetch=True).standing(at(30)).may_start


def test_an_issue_that_is_open_at_the_fetch_goes_on_holding() -> None:
    switch = clear().after_look((ISSUE,), at(10), at_fetch=False).after_look((ISSUE,), at(30), at_fetch=True)
    assert not switch.standing(at(30)).may_start


def test_active_since_is_the_first_look_that_saw_it() -> None:
    switch = clear().after_look((ISSUE,), at(10), at_fetch=False).after_look((ISSUE,), at(30), at_fetch=False)
    assert switch.active_since == at(10)


def test_one_failed_look_stops_nothing() -> None:
    standing = clear().after_failure("no route").standing(at(75))
    assert standing.may_start
    assert not standing.must_stop


def test_patience_to_start_ends_after_300_seconds_and_to_run_after_600() -> None:
    switch = clear().after_failure("no route")
    assert switch.standing(at(300)).may_start
    assert not switch.standing(at(300.001)).may_start
    assert not switch.standing(at(600)).must_stop
    assert switch.standing(at(600.001)).must_stop
    assert "no route" in switch.standing(at(400)).reason


def test_a_good_answer_after_a_long_silence_lets_tests_start_again() -> None:
    assert clear().after_failure("x").after_look((), at(4000), at_fetch=False).standing(at(4000)).may_start


def test_a_clock_set_back_does_not_make_an_old_answer_new() -> None:
    assert not clear().standing(at(301, wall=-5400)).may_start


looks = st.lists(
    st.tuples(st.floats(0.1, 400), st.sampled_from(["clear", "open", "fetch-clear", "fetch-open", "failure"])),
    max_size=30,
)


@given(looks)
def test_against_a_plain_model_any_history_is_fail_closed(history: list[tuple[float, str]]) -> None:
    switch, time, good, held = KillSwitch(), 0.0, None, False
    for pause, event in history:
        time += pause
        if event == "failure":
            switch = switch.after_failure("x")
        else:
            open_now = event.endswith("open")
            switch = switch.after_look((ISSUE,) if open_now else (), at(time), at_fetch=event.startswith("fetch"))
            good = time
            held = open_now or (held and not event.startswith("fetch"))
        for later in (0, 299, 301, 599, 601):
            standing = switch.standing(at(time + later))
            fresh = good is not None and time + later - good <= 300
            assert standing.may_start == (fresh and not held)
            assert standing.must_stop == (held or good is None or time + later - good > 600)
