"""The trigger that knows the cycle."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

from hypothesis import given
from hypothesis import strategies as st

from testwarden.running.scheduler import EachCycle
from testwarden.safety.cycle import Cycle

NOON = datetime(2026, 11, 21, 12, tzinfo=timezone.utc)
HOUR = timedelta(hours=1)


def test_it_fires_at_its_minute_of_every_cycle() -> None:
    trigger = EachCycle(Cycle(), 55)
    first = trigger.get_next_fire_time(None, NOON)
    assert first == NOON + timedelta(minutes=55)
    assert trigger.get_next_fire_time(first, first) == first + HOUR


def test_asked_a_moment_early_it_does_not_fire_twice() -> None:
    trigger = EachCycle(Cycle(), 55)
    due = NOON + timedelta(minutes=55)
    assert trigger.get_next_fire_time(due, due - timedelta(milliseconds=1)) == due + HOUR


def test_what_was_missed_in_a_suspend_is_not_made_up_for() -> None:
    trigger = EachCycle(Cycle(), 0)
    assert trigger.get_next_fire_time(NOON, NOON + 5 * HOUR + timedelta(minutes=1)) == NOON + 6 * HOUR


@given(st.floats(0, 59.9), st.sampled_from([60, 3600]), st.integers(0, 10**7))
def test_each_firing_is_ahead_and_at_most_one_cycle_away(minute: float, seconds: int, later: int) -> None:
    trigger = EachCycle(Cycle(seconds), minute)
    now = NOON + timedelta(seconds=later)
    due = trigger.get_next_fire_time(None, now)
    assert now < due <= now + timedelta(seconds=seconds)
