"""How far apart the looks at the kill switch are."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from testwarden.safety.polling import FETCH_RESERVE, pace


def test_a_fresh_allowance_keeps_the_usual_pause() -> None:
    assert pace(75, 60, 3600).seconds == 75
    assert pace(15, 5000, 3600).seconds == 15


def test_without_an_allowance_the_usual_pause_holds() -> None:
    assert pace(1, None, 0).seconds == 1


def test_what_others_used_up_makes_the_looks_rarer() -> None:
    assert pace(75, 28, 3600).seconds == 180
    assert not pace(75, 28, 3600).advice


def test_less_than_one_look_in_four_minutes_advises_a_token() -> None:
    scarce = pace(75, 18, 3600)
    assert scarce.seconds == 360
    assert "token" in scarce.advice


def test_a_used_up_allowance_waits_for_its_renewal() -> None:
    assert pace(75, 0, 1800).seconds == 1801
    assert pace(75, 3, 30).seconds == 75


def test_a_renewal_that_lies_days_ahead_is_a_clock_or_an_answer_that_is_wrong() -> None:
    assert pace(75, 0, 1e10).seconds == 3601


@given(st.floats(1, 100), st.integers(0, 5000), st.floats(1, 3600))
def test_looks_never_use_what_the_fetch_needs(usual: float, remaining: int, resets_in: float) -> None:
    step = pace(usual, remaining, resets_in).seconds
    assert step >= usual
    looks = int(resets_in / step)
    assert looks <= max(0, remaining - FETCH_RESERVE) or step > resets_in or looks * usual > resets_in - usual
