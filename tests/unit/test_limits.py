from __future__ import annotations

from dataclasses import fields, replace
from decimal import Decimal

import pytest

from testwarden.model import FileSize, TestType
from testwarden.safety.limits import AT_LEAST, AT_MOST, BUILT_IN, BUILT_IN_TYPES, GB, Limits, TypeLimits


def test_the_built_in_numbers_are_those_of_the_design() -> None:
    rows = {row.type: (row.attempts, row.workers, row.seconds, row.vus, row.rate) for row in BUILT_IN.types}
    assert rows == {
        TestType.DOWNLOAD: (360, 10, None, None, None),
        TestType.QUOTE: (240, 10, 600, None, None),
        TestType.UPLOAD: (120, 10, None, None, None),
        TestType.K6: (12, 2, 600, 20, 20),
    }
    assert (BUILT_IN.workers, BUILT_IN.retry, BUILT_IN.offset, BUILT_IN.time_offset, BUILT_IN.pause) == (
        20,
        5,
        5,
        5,
        10,
    )
    assert (BUILT_IN.largest_filesize, BUILT_IN.keep_disk_free) == (FileSize.LARGE, 10_000_000_000)
    assert BUILT_IN.spend_per_day is None


@pytest.mark.parametrize("name", AT_MOST)
def test_what_is_used_up_can_be_lowered_and_not_raised(name: str) -> None:
    built_in = getattr(BUILT_IN, name)
    assert getattr(replace(BUILT_IN, **{name: built_in - 1}), name) == built_in - 1
    with pytest.raises(ValueError, match=f"{name}: {built_in + 1} is above the built-in limit of {built_in}"):
        replace(BUILT_IN, **{name: built_in + 1})
    with pytest.raises(ValueError, match="below zero"):
        replace(BUILT_IN, **{name: -1})


@pytest.mark.parametrize("name", AT_LEAST)
def test_what_is_left_alone_can_be_raised_and_not_lowered(name: str) -> None:
    built_in = getattr(BUILT_IN, name)
    assert getattr(replace(BUILT_IN, **{name: built_in + 1}), name) == built_in + 1
    with pytest.raises(ValueError, match=f"{name}: .* is below the built-in minimum of {built_in}"):
        replace(BUILT_IN, **{name: built_in - 1})


@pytest.mark.parametrize(
    ("row", "sentence"),
    [
        (TypeLimits(TestType.DOWNLOAD, 361, 10, None), "download: attempts: 361 is above the built-in limit of 360"),
        (TypeLimits(TestType.UPLOAD, 120, 11, None), "upload: workers: 11 is above the built-in limit of 10"),
        (TypeLimits(TestType.QUOTE, 240, 10, 601), "quote: seconds: 601 is above the built-in limit of 600"),
        (TypeLimits(TestType.QUOTE, 240, 10, None), "quote: seconds: the built-in limit of 600 cannot be taken away"),
        (TypeLimits(TestType.DOWNLOAD, -1, 10, None), "download: attempts: -1 is below zero"),
        (TypeLimits(TestType.IPERF, 1, 1, 1), "iperf: this release has no limits for this kind of test"),
        (TypeLimits(TestType.K6, 12, 2, 600, 21, 20), "k6: vus: 21 is above the built-in limit of 20"),
        (TypeLimits(TestType.K6, 12, 2, 600, 20, 21), "k6: rate: 21 is above the built-in limit of 20"),
        (TypeLimits(TestType.K6, 12, 2, 600, None, 20), "k6: vus: the built-in limit of 20 cannot be taken away"),
        (TypeLimits(TestType.K6, 12, 2, 600, 20, None), "k6: rate: the built-in limit of 20 cannot be taken away"),
    ],
)
def test_a_row_above_the_built_in_one_is_refused(row: TypeLimits, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        Limits(types=(row,))


def test_a_row_can_be_lowered_and_given_an_end() -> None:
    row = TypeLimits(TestType.DOWNLOAD, attempts=0, workers=1, seconds=60)
    assert Limits(types=(row,)).of(TestType.DOWNLOAD) == row
    assert Limits(types=(row,)).of(TestType.UPLOAD) is None


def test_two_rows_for_one_kind_are_refused() -> None:
    with pytest.raises(ValueError, match="one row"):
        Limits(types=(*BUILT_IN_TYPES, TypeLimits(TestType.DOWNLOAD, 1, 1, None)))


def test_every_number_has_its_direction() -> None:
    """Fails when a new number is added without saying which way is stricter."""
    free = {"types", "largest_filesize", "spend_per_day", "targets", "own"}
    assert {field.name for field in fields(Limits)} == free | set(AT_MOST) | set(AT_LEAST)


def test_a_size_is_allowed_by_its_largest_file() -> None:
    allowed = {size for size in FileSize if BUILT_IN.allows_size(size)}
    assert allowed == {
        FileSize.TINY,
        FileSize.SMALL,
        FileSize.MEDIUM,
        FileSize.LARGE,
        FileSize.CHUNKA,
        FileSize.CHUNKB,
    }
    assert replace(BUILT_IN, largest_filesize=FileSize.TERA).allows_size(FileSize.TERA)
    assert not replace(BUILT_IN, largest_filesize=FileSize.TINY).allows_size(FileSize.CHUNKA)


@pytest.mark.parametrize("amount", ["-0.1", "NaN", "Infinity"])
def test_a_cap_that_is_no_amount_is_refused(amount: str) -> None:
    with pytest.raises(ValueError, match="not an amount of ANT"):
        Limits(spend_per_day=Decimal(amount))


def test_a_cap_on_bytes_is_below_what_the_attempts_alone_would_allow() -> None:
    downloads = BUILT_IN.of(TestType.DOWNLOAD)
    assert downloads is not None
    assert BUILT_IN.bytes_per_day == 200 * GB < 24 * downloads.attempts * FileSize.LARGE.most
