"""How k6 ended → outcome and figures."""

from __future__ import annotations

import json
import signal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from testwarden.clients.k6_numbers import K6Numbers
from testwarden.clients.k6_outcomes import EXIT_CODES, figures, meaning_of, moved, read_summary, said
from testwarden.clients.process import Ended, Why
from testwarden.model import Figure, Outcome

OK, FAILED = Outcome.OK, Outcome.THRESHOLDS_FAILED
TIMES = {"avg": 5.0, "max": 40.0, "p(50)": 3.0, "p(90)": 9.0, "p(95)": 20.5, "p(99)": 30.0}
SUMMARY: dict[str, Any] = {
    "vus_max": {"value": 4, "min": 4, "max": 7},
    "http_reqs": {"count": 63, "rate": 20},
    "http_req_failed": {"passes": 0, "fails": 63, "value": 0, "thresholds": {"rate<0.5": False}},
    "http_req_duration": TIMES,
    "data_received": {"count": 3000, "rate": 1000.5},
    "data_sent": {"count": 500, "rate": 160.0},
    "checks": {"passes": 10, "fails": 2, "value": 0.8},
}


def ended(code: int | None = 0, why: Why = Why.FINISHED, **more: Any) -> Ended:
    return Ended(why, code, **more)


@pytest.mark.parametrize(
    ("code", "outcome"),
    [
        *((0, OK), (2, Outcome.CLIENT_ERROR), (97, Outcome.CLIENT_ERROR), (98, Outcome.CLIENT_ERROR), (99, FAILED)),
        *((code, Outcome.CLIENT_ERROR) for code in (100, 101, 102, 104, 106, 107, 109)),
        *((103, Outcome.CLIENT_KILLED), (105, Outcome.CLIENT_KILLED), (108, FAILED), (110, FAILED)),
        *((255, Outcome.UNKNOWN_ERROR), (1, Outcome.UNKNOWN_ERROR), (111, Outcome.UNKNOWN_ERROR)),
    ],
)
def test_every_exit_code_has_its_outcome(code: int, outcome: Outcome) -> None:
    assert meaning_of(ended(code)).outcome is outcome


def test_only_what_never_began_for_a_reason_of_the_moment_is_tried_again() -> None:
    assert [code for code, meaning in EXIT_CODES.items() if meaning.mendable] == [106]


@pytest.mark.parametrize(
    ("end", "outcome", "words"),
    [
        (ended(105, Why.STOPPED), Outcome.CLIENT_KILLED, "by the agent"),
        (ended(105, Why.TIMED_OUT), Outcome.CLIENT_KILLED, "at the time limit"),
        (ended(None, Why.STOPPED, signal=signal.SIGKILL), Outcome.CLIENT_KILLED, "by the agent"),
        (ended(255, Why.STOPPED), Outcome.CLIENT_KILLED, "by the agent"),
        (ended(0, Why.STOPPED), OK, "ok"),
        (ended(99, Why.TIMED_OUT), FAILED, "thresholds"),
        (ended(105), Outcome.CLIENT_KILLED, "signal"),
        (ended(None, signal=signal.SIGKILL), Outcome.CLIENT_ERROR, "SIGKILL, not by the agent"),
        (ended(None, signal=200), Outcome.CLIENT_ERROR, "signal 200"),
    ],
)
def test_a_stop_of_ours_is_told_from_an_end_of_its_own(end: Ended, outcome: Outcome, words: str) -> None:
    meaning = meaning_of(end)
    assert meaning.outcome is outcome
    assert words in meaning.sentence


@pytest.mark.parametrize(
    ("stderr", "words"),
    [
        (
            'time="2026" level=warning msg="w"\ntime="2026" level=error msg="Error: a \\"b\\"\\n\\tat f" hint="x"\n',
            'Error: a "b" at f',
        ),
        ("Error: unknown flag: --x\n\n", "Error: unknown flag: --x"),
        ("runtime: x\nfatal error: out of memory\n\ngoroutine 1:\n", "out of memory"),
        ("", ""),
        ("\x1b[31mred\x07\n", "[31mred"),
    ],
)
def test_the_reason_has_k6s_own_words_in_one_line(stderr: str, words: str) -> None:
    assert said(ended(107, stderr=stderr)) == words


def test_words_are_bounded() -> None:
    assert len(said(ended(255, stderr="x" * 5000))) == 200


def test_figures_come_from_the_summary_with_durations_in_seconds() -> None:
    assert figures(ended(0), SUMMARY, K6Numbers(vus=99), 3) == (
        *(("vus_max", 7), ("requests", 63), ("requests_failed_rate", 0.0), ("rps", 20.0), ("duration_p50", 0.003)),
        *(("duration_p90", 0.009), ("duration_p95", 0.0205), ("duration_p99", 0.03), ("duration_max", 0.04)),
        *(("data_received", 3000), ("data_sent", 500), ("checks_passed", 10), ("checks_failed", 2)),
        *(("thresholds_ok", True), ("exit_code", 0), ("exit_meaning", "ok"), ("targets_refused", 3)),
    )


def test_a_threshold_that_was_crossed_shows() -> None:
    crossed = {**SUMMARY, "http_req_duration": {**TIMES, "thresholds": {"p(95)<1": False, "p(99)<1": True}}}
    assert dict(figures(ended(99), crossed, None, 0))["thresholds_ok"] is False


def test_a_test_without_requests_has_no_durations_and_no_rate_of_failures() -> None:
    found = dict(figures(ended(0), {"vus_max": {"value": 0, "max": 1}}, None, 0))
    assert {"duration_p50", "duration_max", "requests_failed_rate"} & set(found) == set()
    assert (found["requests"], found["rps"], found["checks_failed"], found["vus_max"]) == (0, 0.0, 0, 1)


def test_a_run_too_short_to_be_counted_has_the_virtual_users_that_were_planned() -> None:
    assert dict(figures(ended(0), {}, None, 0, vus=4))["vus_max"] == 4
    assert dict(figures(ended(0), SUMMARY, None, 0, vus=4))["vus_max"] == 7


def test_without_a_summary_the_last_words_are_the_figures() -> None:
    last = K6Numbers(2, 3, 40, 9.5, 0.25, 0.1, 0.2, None, 0.3, 100, 200)
    found = dict(figures(ended(None, Why.STOPPED, signal=9), None, last, 0))
    assert found == {
        "vus_max": 3,
        "requests": 40,
        "requests_failed_rate": 0.25,
        "rps": 9.5,
        "duration_p90": 0.1,
        "duration_p95": 0.2,
        "duration_max": 0.3,
        "data_received": 200,
        "data_sent": 100,
        "exit_code": -9,
        "exit_meaning": "stopped by the agent",
        "targets_refused": 0,
    }


def test_without_anything_the_end_is_all_that_is_told() -> None:
    assert [name for name, _ in figures(ended(107), None, None, 0)] == ["exit_code", "exit_meaning", "targets_refused"]


def test_bytes_are_what_was_sent_and_received() -> None:
    assert moved(SUMMARY, None) == 3500
    assert moved(None, K6Numbers(sent=1, received=2)) == 3
    assert moved(None, None) is None


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from([*SUMMARY, *TIMES, "count", "rate", "value", "thresholds", "passes"]), inner, max_size=5
        )
    ),
    max_leaves=20,
)
TYPES: dict[str, type] = {name: type(value) for name, value in figures(ended(0), SUMMARY, None, 0)}


@given(st.dictionaries(st.sampled_from([*SUMMARY, "metrics", "x"]), JSON, max_size=6))
def test_whatever_a_summary_holds_each_figure_has_its_type(metrics: dict[str, Any]) -> None:
    read = read_summary(json.dumps({"metrics": metrics}).encode())
    assert read is not None
    for name, value in figures(ended(0), read, None, 0):
        assert type(value) is TYPES[name], name
        assert_storable(value)


def assert_storable(value: Figure) -> None:
    if isinstance(value, int):
        assert abs(value) < 2**63


@pytest.mark.parametrize("text", [b"", b"{", b"[]", b"null", b"\xff", b"[" * 100_000, b'{"metrics": []}', b'{"a": 1}'])
def test_what_is_no_summary_is_none(text: bytes) -> None:
    assert read_summary(text) is None
