"""Samples for tests: one with plain values, and any that a client could bring about."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Any

from hypothesis import strategies as st

from testwarden.model import FileSize, Outcome, Sample, TestType

SECOND = 10**9
MINUTE = 60 * SECOND
NOON = 1_793_102_400 * SECOND
"""2026-10-27 12:00:00 UTC."""

_NASTY = (
    *(
        "",
        " ",
        "plain",
        "a,b",
        "a b",
        "a=b",
        "=",
        "=,= ",
        "ends with=",
        ",",
        "#hash",
        "'",
        "{}",
        "%d %s %%",
        "true",
        "1i",
    ),
    *("back\\", "\\", "\\\\", "a\\,b", 'quo"te', '"', '\\"', "x" * 3000),
    *("line\nfeed", "\r\n", "\0\t\x7f", "\u0085", "\u2028", "\udc80", "ümläut ☃ 🜚", "\ufeffbom", "e\u0301"),
    *("a,bytes=1i,exec_time=9.000000 17", "testwarden,agent=x ok=true 1"),
)
TEXT = st.one_of(st.sampled_from(_NASTY), st.text(max_size=30), st.text('\\", =\n', max_size=12))

_PLAIN = Sample(
    ended_ns=NOON,
    type=TestType.DOWNLOAD,
    filesize=FileSize.TINY,
    task="001",
    worker=3,
    client="ant-2",
    outcome=Outcome.OK,
    exec_time=1.25,
    bytes=7,
    md5_valid=True,
    commit="c0ffee",
)


def a_sample(**changes: Any) -> Sample:
    """Given what is special about it, return a sample."""
    return replace(_PLAIN, **changes)


# A field has one type for ever (InfluxDB), so each type has names of its own.
FIGURES = st.fixed_dictionaries(
    {},
    optional={
        "thresholds_ok": st.booleans(),
        "requests": st.integers(),
        "rps": st.floats(),
        "duration_p90": st.floats(),
        "exit_meaning": TEXT,
    },
).map(lambda figures: tuple(figures.items()))

SAMPLES = st.builds(
    Sample,
    ended_ns=st.integers(0, 2**63 - 1),
    type=st.sampled_from(TestType),
    filesize=st.sampled_from(FileSize),
    task=TEXT,
    worker=st.integers(1, 20),
    client=TEXT,
    outcome=st.sampled_from(Outcome),
    exec_time=st.floats(),
    bytes=st.integers(0, 2**63 - 1),
    cost=st.none() | st.decimals() | st.sampled_from([Decimal("0.000000000000012345"), Decimal("1e400")]),
    md5_valid=st.none() | st.booleans(),
    attempt=st.integers(1, 6),
    reason=TEXT,
    commit=TEXT,
    figures=FIGURES,
)
