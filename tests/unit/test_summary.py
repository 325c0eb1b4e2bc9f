from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from standins.samples import MINUTE, NOON, SAMPLES, a_sample
from testwarden.metrics.line_protocol import Identity, LineReader, LineWriter, parse
from testwarden.metrics.summary import Summary, nearest_rank
from testwarden.model import FileSize, Outcome, Sample, TestType

WRITER = LineWriter(Identity("host"))


def summary_of(samples: list[Sample]) -> list[str]:
    summary = Summary()
    for sample in samples:
        _, group, micros = WRITER.line(sample, sample.ended_ns)
        summary.add(group, sample.bytes, micros, sample.ended_ns)
    assert summary.count == len(samples)
    return [line.decode() for line in summary.lines()]


def test_a_minute_is_this_line() -> None:
    samples = [a_sample(ended_ns=NOON + number, exec_time=float(number)) for number in range(1, 11)]
    samples.append(a_sample(ended_ns=NOON + MINUTE - 1, exec_time=21.0, outcome=Outcome.DATA_LOSS, bytes=1000))
    samples.append(a_sample(ended_ns=NOON, exec_time=20.0, outcome=Outcome.MD5_INVALID, bytes=1000, md5_valid=False))
    assert summary_of(samples) == [
        "testwarden_summary,agent=host,type=download,filesize=tiny,country=xx,provision=xx,connection=xx "
        "count=12i,ok=10i,md5_invalid=1i,thresholds_failed=0i,client_killed=0i,client_error=0i,network_error=0i,data_loss=1i,"
        "unknown_error=0i,bytes=2070i,min=1.000000,max=21.000000,mean=8.000000,p50=6.000000,p95=20.000000 "
        f"{NOON}\n"
    ]


def test_each_minute_type_and_size_has_its_line_in_order_of_time() -> None:
    kinds = [(TestType.QUOTE, FileSize.TINY), (TestType.DOWNLOAD, FileSize.SMALL), (TestType.DOWNLOAD, FileSize.TINY)]
    samples = [
        a_sample(ended_ns=NOON + minute * MINUTE, type=kind, filesize=size, task=task)
        for minute in (1, 0, -1)
        for kind, size in kinds
        for task in ("001", "002")
    ]
    lines = [parse(line[:-1]) for line in summary_of(samples)]
    assert [(line.stamp - NOON, line.tags["type"], line.tags["filesize"]) for line in lines] == [
        (minute * MINUTE, *kind)
        for minute in (-1, 0, 1)
        for kind in (("download", "small"), ("download", "tiny"), ("quote", "tiny"))
    ]
    assert {line.fields["count"] for line in lines} == {2}


def test_the_last_nanosecond_of_a_minute_belongs_to_it() -> None:
    samples = [a_sample(ended_ns=NOON - 1), a_sample(ended_ns=NOON)]
    assert [parse(line[:-1]).stamp for line in summary_of(samples)] == [NOON - MINUTE, NOON]


def test_attempts_without_a_time_are_counted_and_nothing_else() -> None:
    (line,) = summary_of([a_sample(exec_time=-1.0)])
    assert "count=1i,ok=1i" in line
    assert "mean" not in line
    (line,) = summary_of([a_sample(exec_time=-1.0), a_sample(exec_time=2.0)])
    assert "count=2i,ok=2i" in line
    assert "mean=2.000000" in line


@pytest.mark.parametrize(
    ("values", "percent", "expected"),
    [
        *[([5], 50, 5), ([5], 95, 5), ([1, 2], 50, 1), ([1, 2, 3], 50, 2), ([1, 2], 95, 2)],
        *[(list(range(1, 21)), 95, 19), (list(range(1, 22)), 95, 20), (list(range(1, 101)), 95, 95)],
        *[(list(range(1, 13)), 95, 11), ([1, 2], 1, 1)],
    ],
)
def test_percentiles_are_nearest_rank(values: list[int], percent: int, expected: int) -> None:
    assert nearest_rank(values, percent) == expected


@given(st.lists(SAMPLES, max_size=30), st.randoms())
def test_counted_or_read_back_in_any_order_the_summary_is_the_same(
    samples: list[Sample], shuffler: random.Random
) -> None:
    counted = summary_of(samples)
    shuffler.shuffle(samples)
    read = Summary()
    for _, row in LineReader().rows(b"".join(WRITER.line(sample, sample.ended_ns)[0] for sample in samples)):
        assert row is not None
        read.add(*row)
    assert [line.decode() for line in read.lines()] == counted
    for line in counted:
        parse(line[:-1])
