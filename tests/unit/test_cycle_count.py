from __future__ import annotations

from datetime import datetime, timedelta, timezone

from testwarden.running.cycle_count import CycleCount
from testwarden.safety.cycle import Cycle

NOON = datetime(2026, 11, 21, 12, tzinfo=timezone.utc)


def test_a_cycle_joined_in_its_window_is_not_whole() -> None:
    count = CycleCount(Cycle(60), NOON + timedelta(seconds=30))
    assert [count.ended(NOON + timedelta(seconds=60 * number)) for number in (1, 2, 3)] == [0, 1, 2]


def test_a_cycle_joined_in_its_fetch_period_is_whole() -> None:
    assert CycleCount(Cycle(60), NOON + timedelta(seconds=4)).ended(NOON + timedelta(seconds=60)) == 1


def test_a_clock_set_back_over_the_end_counts_nothing_twice() -> None:
    count = CycleCount(Cycle(60), NOON)
    end = NOON + timedelta(seconds=60)
    assert [count.ended(end), count.ended(end)] == [1, 1]
