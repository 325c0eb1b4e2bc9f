"""docs/metrics.md against the code: the schema that it promises is the one that every line keeps."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from standins.documented import PAGE, measurements, python_examples
from standins.measured import measured
from standins.samples import NOON, SAMPLES, SECOND, a_sample
from testwarden.clients.k6_numbers import K6Numbers
from testwarden.clients.k6_outcomes import EXIT_CODES, figures
from testwarden.clients.process import Ended, Why
from testwarden.metrics.agent_line import AGENT_MEASUREMENT, AgentState, agent_line
from testwarden.metrics.checking import SCHEMAS
from testwarden.metrics.line_protocol import MEASUREMENT, SUMMARY_MEASUREMENT, Identity, Line, LineWriter, parse
from testwarden.metrics.summary import Summary
from testwarden.model import Outcome, Sample, TestType
from testwarden.safety.budget import Usage
from testwarden.safety.kill_switch import Standing, SwitchState
from testwarden.safety.limits import Limits

PROMISED = measurements()
ATTIC = Identity("attic", "de", "home", "fibre")


def read(line: bytes) -> Line:
    text = line.decode().removesuffix("\n")
    if not text.startswith(AGENT_MEASUREMENT):
        return parse(text)
    found = parse(text.replace(AGENT_MEASUREMENT, MEASUREMENT, 1))
    return Line(AGENT_MEASUREMENT, found.tags, found.fields, found.stamp)


def keeps_the_promise(line: bytes) -> None:
    """The line has the tags that the page lists, in that order, and no field that is not there or has another type."""
    found = read(line)
    promised = PROMISED[found.measurement]
    assert list(found.tags) == promised.tags
    assert promised.always <= found.fields.keys()
    for name, value in found.fields.items():
        # bool is an int to isinstance; to InfluxDB it is another type.
        assert type(value) is promised.fields[name], f"{name}={value!r}"


def summarised(samples: list[Sample]) -> list[bytes]:
    summary, writer = Summary(), LineWriter(ATTIC)
    for sample in samples:
        _, group, micros = writer.line(sample, sample.ended_ns)
        summary.add(group, sample.bytes, micros, sample.ended_ns)
    return list(summary.lines())


def test_the_page_has_the_three_measurements() -> None:
    assert list(PROMISED) == [MEASUREMENT, SUMMARY_MEASUREMENT, AGENT_MEASUREMENT]


@given(SAMPLES, st.text(max_size=5))
def test_no_line_of_an_attempt_breaks_the_promise(sample: Sample, agent: str) -> None:
    keeps_the_promise(LineWriter(Identity(agent)).line(sample, sample.ended_ns)[0])


@given(st.lists(SAMPLES, min_size=1, max_size=10))
def test_no_line_of_the_summary_breaks_the_promise(samples: list[Sample]) -> None:
    for line in summarised(samples):
        keeps_the_promise(line)


_NUMBERS = st.integers() | st.floats() | st.booleans() | st.none() | st.text(max_size=3)
_METRIC = st.fixed_dictionaries(
    {},
    optional=dict.fromkeys(
        ["count", "rate", "value", "max", "p(50)", "p(90)", "p(95)", "p(99)", "passes", "fails"], _NUMBERS
    ),
)
_K6_SUMMARY = st.none() | st.dictionaries(
    st.sampled_from(
        ["http_reqs", "http_req_duration", "http_req_failed", "checks", "vus_max", "data_sent", "data_received"]
    ),
    _METRIC,
)
_K6_LAST = st.none() | st.builds(K6Numbers, vus_max=st.integers(0, 9), failed=st.none() | st.floats(0, 1))


@given(_K6_SUMMARY, _K6_LAST, st.sampled_from([*EXIT_CODES, None, 77]), st.sampled_from(Why))
def test_no_figure_of_k6_breaks_the_promise(
    summary: dict[str, Any] | None, last: K6Numbers | None, code: int | None, why: Why
) -> None:
    measured_ = figures(Ended(why, code, signal=None if code is not None else 9), summary, last, 3, 5)
    sample = a_sample(type=TestType.K6, filesize=None, figures=measured_)
    keeps_the_promise(LineWriter(ATTIC).line(sample, NOON)[0])


@given(
    st.sampled_from(SwitchState),
    st.none() | st.builds(Usage, st.just({}), st.just({}), st.integers(0, 2**70), st.decimals(0, 10**9)),
    st.none() | st.decimals(0, 10**9),
    st.dictionaries(st.text(), st.integers(1, 10)),
    st.text(),
)
def test_no_line_of_the_agent_breaks_the_promise(
    state: SwitchState, usage: Usage | None, cap: Decimal | None, refusals: dict[str, int], text: str
) -> None:
    state_ = AgentState(
        Standing(state, True, True, text), usage, Limits(spend_per_day=cap), refusals=refusals, commit=text
    )
    keeps_the_promise(agent_line(Identity(text), state_, NOON))


def test_every_field_that_the_page_lists_is_one_that_is_written(tmp_path: Path) -> None:
    written: dict[str, set[str]] = {}
    for line in measured(tmp_path).all.splitlines(keepends=True):
        found = read(line)
        written.setdefault(found.measurement, set()).update(found.fields)
        keeps_the_promise(line)
    assert written == {name: set(promised.fields) for name, promised in PROMISED.items()}


@pytest.mark.parametrize("name", list(PROMISED))
def test_metrics_check_goes_by_what_the_page_says(name: str) -> None:
    schema, promised = SCHEMAS[name], PROMISED[name]
    assert schema.tags == frozenset(promised.tags)
    assert dict(schema.always) == {field: promised.fields[field] for field in promised.always}
    assert promised.fields.items() <= {**schema.always, **schema.sometimes}.items()


def example(name: str) -> str:
    sample = a_sample(exec_time=1.701062, bytes=120_386, ended_ns=NOON + 5 * SECOND + 735_928_339)
    if name == MEASUREMENT:
        return LineWriter(ATTIC).line(sample, sample.ended_ns)[0].decode()
    if name == SUMMARY_MEASUREMENT:
        slow = a_sample(exec_time=9.25, outcome=Outcome.NETWORK_ERROR, bytes=0, ended_ns=NOON + 40 * SECOND)
        return b"".join(summarised([sample, slow])).decode()
    clear = Standing(SwitchState.CLEAR, True, False, "the kill switch is clear")
    usage = Usage({TestType.DOWNLOAD: 31, TestType.QUOTE: 12}, {TestType.K6: 1}, 51_200_000, Decimal("0.003"))
    refusals = {"paused by the operator": 7}
    state = AgentState(clear, usage, Limits(spend_per_day=Decimal("0.5")), True, 6, refusals, "c0ffee")
    return agent_line(ATTIC, state, NOON + 61 * SECOND).decode()


@pytest.mark.parametrize("name", list(PROMISED))
def test_the_example_lines_are_what_is_written(name: str) -> None:
    assert PROMISED[name].example + "\n" == example(name)
    assert PAGE.read_text(encoding="utf-8").count(PROMISED[name].example) == 1


def test_pandas_loads_the_files_in_three_lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written = measured(tmp_path / "measured")
    (tmp_path / "cache").mkdir()
    (tmp_path / "measured" / "1").rename(tmp_path / "cache" / "metrics")
    monkeypatch.chdir(tmp_path)
    (code,) = python_examples()
    assert len([line for line in code.splitlines() if line and "import" not in line]) == 3
    names: dict[str, Any] = {}
    exec(code, names)  # noqa: S102 - it is the page's own example
    table = names["table"]
    ours = [read(line) for line in written.metrics.splitlines() if b",agent=barn," in line]
    assert len(table) == len(ours)
    assert table["exec_time"].sum() == pytest.approx(sum(float(line.fields["exec_time"]) for line in ours))
    assert table["ok"].sum() == sum(line.fields["ok"] is True for line in ours)
    assert str(table["time"].dtype).startswith("datetime64")
    assert int(table["time"].astype("int64").iloc[0]) == ours[0].stamp
