"""From lines to tallies: what is counted, and what becomes of lines that are strange, bad, old or there twice."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from standins.samples import MINUTE, NOON, SAMPLES, SECOND, a_sample
from testwarden.metrics.line_protocol import Identity, LineWriter
from testwarden.model import FileSize, Outcome, Sample, TestType
from testwarden.report.reading import MOST_SERIES, Reading
from testwarden.report.tallies import MOST_REASONS, Series, Tally, joined

NOW = datetime(2026, 10, 27, 18, tzinfo=timezone.utc)
FILE = Path("metrics.csv")
HOUR = NOON // 3600 // SECOND
TINY = Series("host", "download", "tiny")


def line(agent: str = "host", **changes: object) -> bytes:
    sample = a_sample(**changes)
    return LineWriter(Identity(agent)).line(sample, sample.ended_ns)[0].removesuffix(b"\n")


def reading_of(*lines: bytes, since: datetime | None = None) -> Reading:
    reading = Reading(NOW, since)
    reading.read(FILE, enumerate(lines, start=1))
    return reading


def only(reading: Reading) -> Tally:
    (tally,) = reading.samples.tallies.values()
    return tally


def test_attempts_are_counted_by_hour_and_outcome_with_their_bytes_and_durations() -> None:
    reading = reading_of(
        line(ended_ns=NOON),
        line(ended_ns=NOON + 1, exec_time=0.5, bytes=93),
        line(ended_ns=NOON + 60 * MINUTE, outcome=Outcome.DATA_LOSS, exec_time=7.0, bytes=0, attempt=2),
    )
    tally = reading.samples.tallies[TINY]
    assert sorted(tally.hours) == [HOUR, HOUR + 1]
    assert tally.hours[HOUR].ended == {"ok": 2}
    assert tally.hours[HOUR + 1].ended == {"data_loss": 1}
    assert (tally.hours[HOUR].bytes, tally.retries, list(tally.times)) == (100, 1, [1_250_000, 500_000, 7_000_000])
    assert tally.hours[HOUR].throughput == pytest.approx(100 / 1.75)
    assert list(tally.rates) == pytest.approx([7 / 1.25, 93 / 0.5])
    assert tally.hours[HOUR + 1].throughput is None, "what failed says nothing about throughput"
    assert reading.account.counted == 3


@given(st.lists(SAMPLES, max_size=20))
def test_whatever_the_recorder_writes_is_understood_as_it_was_meant(samples: list[Sample]) -> None:
    dated = [replace(sample, ended_ns=NOON + number) for number, sample in enumerate(samples)]
    dated = [replace(sample, md5_valid=False) if sample.outcome is Outcome.MD5_INVALID else sample for sample in dated]
    writer = LineWriter(Identity('a,b= "c"\\'))
    reading = reading_of(*(writer.line(sample, sample.ended_ns)[0].removesuffix(b"\n") for sample in dated))
    total = joined(tally.total for tally in reading.samples.tallies.values())
    assert total.ended == Counter(sample.outcome.value for sample in samples)
    assert total.bytes == sum(sample.bytes for sample in samples)
    assert (reading.account.counted, reading.account.bad) == (len(samples), 0)


def test_a_bad_line_is_counted_and_named_and_the_rest_goes_on() -> None:
    half = line()[:61]
    reading = reading_of(
        half, b"", b"# a remark", b"\xff\xfe", line(), line(ended_ns=NOON + 1) + b"junk", line(ended_ns=NOON + 2)
    )
    assert (reading.account.counted, reading.account.bad) == (2, 3)
    assert [(bad.path, bad.number) for bad in reading.account.named] == [(FILE, 1), (FILE, 4), (FILE, 6)]
    assert reading.account.named[0].text == half[:59].decode() + "…"


@pytest.mark.parametrize(
    "wrong",
    [
        line().replace(b"ok=true,", b""),
        line().replace(b"ok=true", b"ok=1i"),
        line().replace(b"bytes=7i", b"bytes=-7i"),
        line().replace(b"bytes=7i", b'bytes="many"'),
        line().replace(b"exec_time=1.250000", b"exec_time=true"),
        line() + b"9" * 5000,
    ],
)  # fmt: skip
def test_a_line_that_says_no_outcome_or_nonsense_is_bad(wrong: bytes) -> None:
    reading = reading_of(wrong, line(ended_ns=NOON + 5))
    assert reading.account.counted == 1
    assert reading.account.bad + reading.account.misdated == 1


def test_types_fields_tags_and_errors_of_newer_versions_are_counted() -> None:
    newer = line().replace(b"type=download", b"type=teleport").replace(b",task=", b",planet=mars,task=")
    newer = newer.replace(b"ok=true", b"ok=false,warp_error=true").replace(b",exec_time", b",warp=9.5,exec_time")
    reading = reading_of(newer)
    assert list(reading.samples.tallies) == [Series("host", "teleport", "tiny")]
    assert only(reading).total.ended == {"other_error": 1}
    assert list(only(reading).times) == [1_250_000]


def test_a_line_without_the_usual_tags_shows_as_unknown() -> None:
    bare = f"testwarden,agent=host ok=false,md5_checked=true,md5_valid=false {NOON}".encode()
    reading = reading_of(bare)
    assert list(reading.samples.tallies) == [Series("host", "xx", "xx")]
    assert only(reading).total.ended == {"md5_invalid": 1}


def test_the_same_line_in_two_files_counts_once() -> None:
    reading = reading_of(line(), line(), line(ended_ns=NOON + 1), line(worker=4))
    assert (reading.account.counted, reading.account.twice) == (3, 1)


def test_samples_of_a_wrong_clock_are_left_out_and_counted() -> None:
    far, past = int(NOW.timestamp() + 7200) * SECOND, 86400 * SECOND
    reading = reading_of(line(ended_ns=far), line(ended_ns=past), line(ended_ns=int(NOW.timestamp() + 60) * SECOND))
    assert (reading.account.counted, reading.account.misdated) == (1, 2)
    assert reading_of(line(), since=NOW - timedelta(days=1)).account.counted == 1
    early = reading_of(line(), since=NOW)
    assert (early.account.counted, early.account.old, early.samples.newest) == (0, 1, NOON)
    assert early.samples.span is None


def test_sums_of_samples_are_no_samples() -> None:
    reading = reading_of(f"testwarden_summary,agent=host,type=quote count=1i {NOON}".encode())
    assert (reading.account.counted, reading.account.summaries, reading.account.bad) == (0, 1, 0)


def test_costs_and_the_figures_of_k6_are_summed() -> None:
    quote = {"type": TestType.QUOTE, "bytes": 0, "md5_valid": None}
    figures = (
        ("requests", 200),
        ("rps", 10.0),
        ("requests_failed_rate", 0.25),
        ("duration_p50", 0.1),
        ("duration_p95", 0.5),
    )
    more = (("duration_max", 2.0), ("checks_failed", 3), ("thresholds_ok", False))
    k6 = {"type": TestType.K6, "filesize": None, "figures": figures + more}
    reading = reading_of(
        line(ended_ns=NOON, cost=Decimal("0.5"), **quote),
        line(ended_ns=NOON + 1, cost=Decimal("0.1"), **quote),
        line(ended_ns=NOON + 2, **k6, outcome=Outcome.THRESHOLDS_FAILED),
        line(ended_ns=NOON + 3, **k6 | {"figures": (("exit_code", 107),)}),
        line(ended_ns=NOON + 4, **k6 | {"figures": figures, "outcome": Outcome.THRESHOLDS_FAILED}),
    )
    costs = reading.samples.tallies[Series("host", "quote", "tiny")].total.costs
    assert costs is not None
    assert (costs.count, costs.mean, costs.least, costs.most) == (2, pytest.approx(0.3), 0.1, 0.5)
    run = reading.samples.tallies[Series("host", "k6", "xx")].total.k6
    assert run is not None
    assert (run.runs, run.requests, run.failed, run.p95, run.slowest) == (2, 400, 100.0, 1.0, 2.0)
    assert (run.checks_failed, run.thresholds_failed) == (3, 2)


def test_reasons_are_counted_and_bounded() -> None:
    wrong = {"outcome": Outcome.NETWORK_ERROR}
    lines = [line(ended_ns=NOON + number, reason=f"peer {number}", **wrong) for number in range(MOST_REASONS + 5)]
    reasons = reading_of(*lines, line(ended_ns=NOON - 1, reason="peer 3", **wrong)).samples.reasons
    assert reasons[("download", "network_error", "peer 3")] == 2
    assert reasons[("download", "network_error", "other reasons")] == 5
    assert len(reasons) == MOST_REASONS + 1


def test_names_without_end_are_counted_together() -> None:
    reading = reading_of(*(line(agent=f"agent {number}", ended_ns=NOON + number) for number in range(MOST_SERIES + 7)))
    assert reading.samples.tallies[Series("more agents", "more types", "xx")].total.count == 7
    assert len(reading.samples.tallies) == MOST_SERIES + 1


def test_names_from_files_are_made_safe_and_short() -> None:
    reading = reading_of(line(agent="\u202eevil" + "x" * 100))
    (series,) = reading.samples.tallies
    assert series.agent.startswith("\\u202eevilxxx")
    assert len(series.agent) == 40
    assert FileSize.TINY.label == series.size
