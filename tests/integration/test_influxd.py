"""Our lines against the real parser: every line is accepted, the values come back, no two points merge."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timezone
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from standins.influxd import Influxd, running_influxd
from standins.samples import NOON, SAMPLES, TEXT, a_sample
from testwarden.metrics.line_protocol import Identity, LineWriter, parse
from testwarden.metrics.recorder import Recorder
from testwarden.model import Outcome, Sample


@pytest.fixture(scope="module")
def influxd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Influxd]:
    with running_influxd(tmp_path_factory.mktemp("influxd")) as server:
        yield server


@given(st.lists(SAMPLES, min_size=1, max_size=40), TEXT, TEXT)
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
def test_the_real_parser_reads_from_a_line_what_our_own_reads(
    influxd: Influxd, batch: list[Sample], agent: str, country: str
) -> None:
    writer = LineWriter(Identity(agent, country=country))
    lines = [writer.line(sample, NOON + number)[0] for number, sample in enumerate(batch)]
    influxd.empty()
    assert influxd.write(b"".join(lines)) == ""

    rows = influxd.query("SELECT * FROM testwarden ORDER BY time")
    assert len(rows) == len(lines)
    for row, line in zip(rows, lines, strict=True):
        ours = parse(line.decode().removesuffix("\n"))
        floats = {
            name for name, value in ours.fields.items() if isinstance(value, float)
        }  # JSON: 1e17 comes as an int.
        theirs = {name: float(value) if name in floats else value for name, value in row.items() if value is not None}
        del theirs["time"]
        assert theirs == {**ours.tags, **ours.fields}
        assert row["time"] == ours.stamp


def test_no_two_points_merge_even_of_one_instant_and_one_series(influxd: Influxd, tmp_path: Path) -> None:
    recorder = Recorder(tmp_path, Identity("one"))
    for number in range(500):
        recorder.record(a_sample(ended_ns=NOON + number // 100))
    for number in range(500):
        recorder.record(a_sample(ended_ns=NOON - 3 + number // 100))  # The clock was set back.
    recorder.close(datetime(2026, 10, 27, 12, 1, tzinfo=timezone.utc))
    influxd.empty()
    assert influxd.write((tmp_path / "metrics.csv").read_bytes()) == ""
    assert influxd.query("SELECT count(ok) FROM testwarden")[0]["count"] == 1000


def test_field_types_are_the_ones_that_dashboards_count_on(influxd: Influxd, tmp_path: Path) -> None:
    recorder = Recorder(tmp_path, Identity("one"))
    recorder.record(a_sample(cost=Decimal("0.25")))
    recorder.close(datetime(2026, 10, 27, 12, 1, tzinfo=timezone.utc))
    influxd.empty()
    for name in ("metrics.csv", "summary.csv"):
        assert influxd.write((tmp_path / name).read_bytes()) == ""
    types = {row["fieldKey"]: row["fieldType"] for row in influxd.query("SHOW FIELD KEYS FROM testwarden")}
    flags = [
        "ok",
        "md5_checked",
        "md5_valid",
        "client_killed",
        "client_error",
        "network_error",
        "data_loss",
        "unknown_error",
    ]
    assert types == {
        **dict.fromkeys(flags, "boolean"),
        **dict.fromkeys(["exec_time", "cost"], "float"),
        **dict.fromkeys(["bytes", "attempt"], "integer"),
        **dict.fromkeys(["reason", "commit"], "string"),
    }
    types = {row["fieldKey"]: row["fieldType"] for row in influxd.query("SHOW FIELD KEYS FROM testwarden_summary")}
    assert types == {
        **dict.fromkeys(["count", *(outcome.value for outcome in Outcome), "bytes"], "integer"),
        **dict.fromkeys(["min", "max", "mean", "p50", "p95"], "float"),
    }
