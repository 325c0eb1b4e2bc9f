"""The hour's phases, at each edge."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from testwarden.safety.cycle import Cycle, Phase

HOUR = Cycle()
MICROSECOND = timedelta(microseconds=1)


def utc(text: str) -> datetime:
    return datetime.strptime(text, "%Y-%m-%d %H:%M:%S.%f").replace(tzinfo=timezone.utc)


@pytest.mark.parametrize(
    ("moment", "phase"),
    [
        ("2026-11-21 09:00:00.000", Phase.FETCH),
        ("2026-11-21 09:04:59.999", Phase.FETCH),
        ("2026-11-21 09:05:00.000", Phase.WINDOW),
        ("2026-11-21 09:54:59.999", Phase.WINDOW),
        ("2026-11-21 09:55:00.000", Phase.COOL_DOWN),
        ("2026-11-21 09:58:00.000", Phase.COOL_DOWN),
        ("2026-11-21 09:59:59.999", Phase.COOL_DOWN),
        ("2026-11-21 23:59:59.999", Phase.COOL_DOWN),
        ("2026-11-22 00:00:00.000", Phase.FETCH),
        ("2026-11-22 00:05:00.000", Phase.WINDOW),
    ],
)
def test_the_phase_at_each_edge(moment: str, phase: Phase) -> None:
    assert HOUR.phase(utc(moment)) is phase


def test_the_phase_goes_by_utc_whatever_zone_the_time_is_told_in() -> None:
    kathmandu = timezone(timedelta(hours=5, minutes=45))
    assert HOUR.phase(utc("2026-11-21 09:05:00.000").astimezone(kathmandu)) is Phase.WINDOW


def test_a_naive_time_is_refused() -> None:
    with pytest.raises(ValueError, match="aware"):
        HOUR.phase(datetime(2026, 11, 21, 9, 5))  # noqa: DTZ001 - the naive time is the point


def test_kill_is_at_58_and_seconds_to_it_never_negative() -> None:
    assert HOUR.seconds_to_kill(utc("2026-11-21 09:55:00.000")) == 180
    assert HOUR.seconds_to_kill(utc("2026-11-21 09:58:00.000")) == 0
    assert HOUR.seconds_to_kill(utc("2026-11-21 09:59:00.000")) == 0


def test_seconds_until_the_window_ends_are_never_negative() -> None:
    assert HOUR.seconds_to_window_end(utc("2026-11-21 09:54:59.000")) == 1
    assert HOUR.seconds_to_window_end(utc("2026-11-21 09:56:00.000")) == 0


def test_a_shortened_cycle_scales_minutes() -> None:
    minute = Cycle(60)
    start = utc("2026-11-21 09:07:00.000")
    assert minute.at(start, 5) == start + timedelta(seconds=5)
    assert minute.phase(start + timedelta(seconds=5) - MICROSECOND) is Phase.FETCH
    assert minute.phase(start + timedelta(seconds=55)) is Phase.COOL_DOWN


@pytest.mark.parametrize("seconds", [0, -60, 7, 7200])
def test_a_cycle_that_does_not_fit_the_hour_is_refused(seconds: int) -> None:
    with pytest.raises(ValueError, match="multiple"):
        Cycle(seconds)


moments = st.datetimes(
    datetime(1971, 1, 1),  # noqa: DTZ001 - hypothesis adds the zone
    datetime(2199, 1, 1),  # noqa: DTZ001
    timezones=st.just(timezone.utc),
)
cycles = st.sampled_from([60, 120, 600, 3600]).map(Cycle)


@given(moments, cycles)
def test_every_instant_lies_in_its_cycle_and_the_next_minute_is_ahead(now: datetime, cycle: Cycle) -> None:
    assert cycle.start(now) <= now < cycle.start(now) + timedelta(seconds=cycle.seconds)
    assert now < cycle.next_at(now, 55) <= now + timedelta(seconds=cycle.seconds)


@given(moments, cycles, st.integers(5, 54), st.floats(0, 0.999), st.floats(0, 5))
def test_no_offset_moves_a_task_out_of_the_window(
    now: datetime, cycle: Cycle, minute: int, phase: float, delay: float
) -> None:
    start = cycle.task_start(now, minute, phase, delay)
    assert cycle.at(now, minute) <= start
    assert cycle.phase(start) is Phase.WINDOW
