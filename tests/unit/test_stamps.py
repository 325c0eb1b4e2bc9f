from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from testwarden.metrics.stamps import REMEMBERED, Stamps


def test_a_free_stamp_stays_what_it_is_and_a_used_one_moves_to_the_next_free() -> None:
    stamps = Stamps([10, 12])
    assert [stamps.free(stamp) for stamp in (9, 10, 10, 11, 20, 20, 9)] == [9, 11, 13, 14, 20, 21, 15]


@given(st.lists(st.integers(0, 40), max_size=60), st.lists(st.integers(0, 40), max_size=60))
def test_no_stamp_is_ever_given_twice(used: list[int], wanted: list[int]) -> None:
    stamps = Stamps(used)
    given_out = [stamps.free(stamp) for stamp in wanted]
    assert len({*used, *given_out}) == len({*used}) + len(wanted)
    assert all(got >= stamp for got, stamp in zip(given_out, wanted, strict=True))


def test_as_many_are_remembered_as_promised_and_not_without_end() -> None:
    stamps = Stamps([])
    for stamp in range(2 * REMEMBERED):
        stamps.free(stamp)
    newest = 2 * REMEMBERED - 1
    assert stamps.free(newest - REMEMBERED + 1) > newest
    assert stamps.free(0) == 0


def test_a_clock_that_stands_still_costs_no_walk_over_all_before() -> None:
    stamps = Stamps([])
    assert [stamps.free(7) for _ in range(REMEMBERED)] == list(range(7, 7 + REMEMBERED))
