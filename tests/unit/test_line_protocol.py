from __future__ import annotations

import math
import tracemalloc
import unicodedata
from decimal import Decimal

import pytest
from hypothesis import given

from standins.samples import NOON, SAMPLES, TEXT, a_sample
from testwarden.errors import MetricsError
from testwarden.metrics.line_protocol import Identity, LineReader, LineWriter, parse
from testwarden.model import MIB, FileSize, Outcome, Sample, TestType


def line_of(sample: Sample, identity: Identity | None = None) -> str:
    return LineWriter(identity or Identity("host")).line(sample, sample.ended_ns)[0].decode()


def test_a_sample_is_this_line() -> None:
    assert line_of(a_sample(), Identity("host", country="de", provision="isp", connection="dsl")) == (
        "testwarden,agent=host,type=download,filesize=tiny,task=001,worker=3,client=ant-2,"
        "country=de,provision=isp,connection=dsl "
        "ok=true,md5_checked=true,md5_valid=true,client_killed=false,client_error=false,network_error=false,"
        'data_loss=false,unknown_error=false,attempt=1i,reason="",commit="c0ffee",bytes=7i,exec_time=1.250000 '
        f"{NOON}\n"
    )


def test_what_is_not_known_is_xx_in_a_tag_and_no_field_for_a_cost() -> None:
    line = parse(line_of(a_sample(client=" \t", task=""), Identity(""))[:-1])
    for name in ("agent", "client", "task", "country", "provision", "connection"):
        assert line.tags[name] == "xx"
    assert "cost" not in line.fields


def test_a_known_cost_is_a_float() -> None:
    line = parse(line_of(a_sample(cost=Decimal("0.000000000000012345"), reason="50 % off"))[:-1])
    assert line.fields["cost"] == 1.2345e-14
    assert line.fields["reason"] == "50 % off"


@pytest.mark.parametrize("cost", ["NaN", "sNaN", "Infinity", "-Infinity", "1e400"])
def test_a_cost_that_is_no_number_is_left_out(cost: str) -> None:
    assert ",cost" not in line_of(a_sample(cost=Decimal(cost)))


def test_figures_are_further_fields_of_their_own_types_before_the_numbers() -> None:
    figures = (("requests", 12), ("rps", 2.0), ("thresholds_ok", False), ("exit_meaning", 'a "b",bytes=1i'))
    text = line_of(a_sample(figures=figures, cost=Decimal("0.5")))
    assert (
        ',commit="c0ffee",requests=12i,rps=2.0,thresholds_ok=false,exit_meaning="a \\"b\\",bytes=1i",bytes=7i,exec_time='
        in text
    )
    fields = parse(text[:-1]).fields
    assert {name: fields[name] for name, _ in figures} == dict(figures)
    assert (fields["bytes"], fields["cost"]) == (7, 0.5)


def test_a_figure_that_influxdb_cannot_hold_is_left_out() -> None:
    figures = (("rps", math.nan), ("duration_max", math.inf), ("requests", 2**63), ("vus_max", 2**63 - 1))
    fields = parse(line_of(a_sample(figures=figures))[:-1]).fields
    assert {name for name, _ in figures} & set(fields) == {"vus_max"}


def test_failed_thresholds_are_no_error_kind_and_read_back_as_what_they_are() -> None:
    text = line_of(a_sample(outcome=Outcome.THRESHOLDS_FAILED, md5_valid=None))
    fields = parse(text[:-1]).fields
    assert fields["thresholds_failed"] is True
    assert not any(fields[kind] for kind in ("ok", "client_error", "client_killed", "network_error", "unknown_error"))
    ((_, row),) = LineReader().rows(text.encode())
    assert row is not None
    assert row.group.outcome is Outcome.THRESHOLDS_FAILED


def test_a_test_without_thresholds_says_nothing_of_them() -> None:
    with_field = [outcome for outcome in Outcome if ",thresholds_failed=" in line_of(a_sample(outcome=outcome))]
    assert with_field == [Outcome.THRESHOLDS_FAILED]


@pytest.mark.parametrize("exec_time", [math.nan, math.inf, -math.inf, -0.001, 1e9])
def test_an_exec_time_that_is_no_duration_is_left_out(exec_time: float) -> None:
    assert ",bytes=7i 179" in line_of(a_sample(exec_time=exec_time))


@pytest.mark.parametrize("outcome", Outcome)
def test_an_outcome_raises_its_own_flag_and_no_other(outcome: Outcome) -> None:
    fields = parse(line_of(a_sample(outcome=outcome, md5_valid=outcome is Outcome.OK))[:-1]).fields
    raised = {name for name, value in fields.items() if value is True} - {"md5_checked", "md5_valid"}
    assert raised == ({outcome.value} - {"md5_invalid"})


@pytest.mark.parametrize(("valid", "flags"), [(None, (False, False)), (False, (True, False)), (True, (True, True))])
def test_md5_flags_tell_unchecked_from_invalid(valid: bool | None, flags: tuple[bool, bool]) -> None:
    fields = parse(line_of(a_sample(md5_valid=valid))[:-1]).fields
    assert (fields["md5_checked"], fields["md5_valid"]) == flags


def test_long_texts_are_cut_before_they_are_escaped() -> None:
    line = parse(line_of(a_sample(reason='"' * 600, client="," * 600))[:-1])
    assert line.fields["reason"] == '"' * 500
    assert line.tags["client"] == "," * 200


@pytest.mark.parametrize("change", [{"bytes": -1}, {"bytes": 2**63}, {"ended_ns": -1}, {"ended_ns": 2**63}])
def test_what_no_line_can_hold_is_refused(change: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="no line can hold"):
        line_of(a_sample(**change))


def test_more_reasons_than_are_remembered_are_written_all_the_same() -> None:
    writer = LineWriter(Identity("host"))
    for number in [*range(5000), 0]:
        assert f'reason="{number}"'.encode() in writer.line(a_sample(reason=str(number)), NOON)[0]


@pytest.mark.parametrize(
    "change",
    [
        *({"type": TestType.QUOTE}, {"filesize": FileSize.HUGE}, {"task": "002"}, {"worker": 4}, {"client": "http"}),
        *({"outcome": Outcome.DATA_LOSS}, {"md5_valid": False}, {"md5_valid": None}, {"attempt": 2}, {"reason": "why"}),
        *({"commit": "beef"}, {"exec_time": 2.0}, {"bytes": 8}, {"cost": Decimal(1)}, {"ended_ns": 5}),
        {"figures": (("requests", 1),)},
    ],
)
def test_what_is_remembered_of_a_sample_shows_in_no_other(change: dict[str, object]) -> None:
    writer, other = LineWriter(Identity("host")), a_sample(**change)
    first, _, _ = writer.line(a_sample(), NOON)
    second, group, _ = writer.line(other, other.ended_ns)
    assert second.decode() == line_of(other) != first.decode()
    assert group == LineWriter(Identity("host")).line(other, 0)[1]


def test_reasons_without_end_take_no_memory_without_end() -> None:
    writer, reader = LineWriter(Identity("host")), LineReader()
    tracemalloc.start()
    for number in range(20_000):
        line, _, _ = writer.line(a_sample(reason=f"{number}" * 100), NOON)
        assert next(iter(reader.rows(line)))[1] is not None
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 16 * MIB


def on_one_line(text: str) -> str:
    """What the escaping may change of a text, said in another way than the code does."""
    clean = "".join(" " if unicodedata.category(c) in ("Cc", "Zl", "Zp") else c for c in text)
    return "".join("?" if unicodedata.category(c) == "Cs" else c for c in clean)


@given(SAMPLES, TEXT, TEXT)
def test_our_own_parser_reads_back_what_was_written(sample: Sample, agent: str, country: str) -> None:
    text = line_of(sample, Identity(agent, country=country))
    assert text.endswith("\n")
    assert len(text.splitlines()) == 1
    line = parse(text[:-1])

    texts = {"agent": agent, "country": country, "task": sample.task, "client": sample.client}
    tags = {name: on_one_line(value[:200]).strip().replace("\\", "/") or "xx" for name, value in texts.items()}
    assert line.tags == {
        "type": sample.type.value,
        "filesize": sample.filesize.label,
        "worker": str(sample.worker),
        "provision": "xx",
        "connection": "xx",
        **tags,
    }
    assert line.stamp == sample.ended_ns
    assert line.fields["bytes"] == sample.bytes
    assert line.fields["attempt"] == sample.attempt
    assert line.fields["reason"] == on_one_line(sample.reason[:500])
    assert line.fields["commit"] == on_one_line(sample.commit[:500])
    for name, figure in sample.figures:
        if isinstance(figure, str):
            assert line.fields[name] == on_one_line(figure[:500])
        elif abs(figure) < 2**63 or (isinstance(figure, float) and math.isfinite(figure)):
            assert (line.fields[name], type(line.fields[name])) == (figure, type(figure))
        else:
            assert name not in line.fields
    if 0 <= sample.exec_time < 1e6:
        assert line.fields["exec_time"] == pytest.approx(sample.exec_time, abs=0.6e-6)


@given(SAMPLES, TEXT)
def test_the_fast_reader_sees_what_the_writer_knew(sample: Sample, agent: str) -> None:
    line, group, micros = LineWriter(Identity(agent)).line(sample, sample.ended_ns)
    ((text, row),) = LineReader().rows(line)
    assert text + b"\n" == line
    assert row == (group, sample.bytes, micros, sample.ended_ns)


GOOD = line_of(a_sample())[:-1]


@pytest.mark.parametrize(
    "bad",
    [
        "",
        "\0" * 300,
        GOOD[:-3] + "x",
        GOOD[: len(GOOD) // 2],
        GOOD[: len(GOOD) // 2] + GOOD,
        GOOD.replace("agent=host", "agent="),
        GOOD.replace("agent=host", "agent=ho st"),
        GOOD.replace("ok=true", "ok=maybe"),
        GOOD.replace("1.250000", "NaN"),
        GOOD.replace('c0ffee"', "c0ffee"),
        GOOD.replace("testwarden", "another", 1),
        f"{GOOD}٣",
    ],
)
def test_a_line_that_is_none_of_ours_is_not_read(bad: str) -> None:
    first, second = LineReader().rows(f"{bad}\n{GOOD}\n".encode())
    assert first == (bad.encode(), None)
    assert second[1] is not None
    with pytest.raises(MetricsError):
        parse(bad)


def test_bytes_that_are_no_text_are_no_line_of_ours() -> None:
    ((_, row),) = LineReader().rows(GOOD.encode().replace(b"host", b"\xff") + b"\n")
    assert row is None


def test_a_summary_line_is_read_by_the_same_parser() -> None:
    line = parse("testwarden_summary,agent=a\\ b,type=quote,filesize=tiny count=2i,p95=1.500000 60000000000")
    assert (line.measurement, line.tags["agent"], line.stamp) == ("testwarden_summary", "a b", 60 * 10**9)
    assert line.fields == {"count": 2, "p95": 1.5}


def test_each_test_type_and_size_has_its_name() -> None:
    line = parse(line_of(a_sample(type=TestType.UPLOAD, filesize=FileSize.CHUNKB))[:-1])
    assert (line.tags["type"], line.tags["filesize"]) == ("upload", "chunkb")
