"""The questions of docs/metrics.md, answered by the real InfluxDB; and the summary against the lines that it sums up."""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest

from standins.documented import PAGE, queries, with_outputs
from standins.influxd import Influxd, running_influxd
from standins.measured import measured
from standins.samples import MINUTE, NOON, a_sample
from testwarden.metrics.line_protocol import Identity
from testwarden.metrics.recorder import Recorder
from testwarden.model import FileSize, Outcome, TestType

KINDS = [(TestType.DOWNLOAD, FileSize.TINY), (TestType.DOWNLOAD, FileSize.SMALL), (TestType.K6, None)]
MINUTES = 45
FLAGS = [
    outcome.value for outcome in Outcome if outcome not in (Outcome.OK, Outcome.MD5_INVALID, Outcome.THRESHOLDS_FAILED)
]


@pytest.fixture(scope="module")
def influxd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Influxd]:
    with running_influxd(tmp_path_factory.mktemp("influxd")) as server:
        yield server


def test_the_page_shows_what_influxdb_says(influxd: Influxd, tmp_path: Path) -> None:
    influxd.empty()
    assert influxd.write(measured(tmp_path).all) == ""
    text = PAGE.read_text(encoding="utf-8")
    assert len(queries()) == 10
    assert with_outputs(text, influxd.query) == text, "run: python tests/standins/documented.py"


@pytest.fixture(scope="module")
def minutes(influxd: Influxd, tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """The summary's rows of minutes with 1 to 45 attempts of each kind, all in the database with their lines."""
    folder, rng = tmp_path_factory.mktemp("minutes"), random.Random(4)
    recorder = Recorder(folder, Identity("host"))
    for minute in range(MINUTES):
        for kind, size in KINDS:
            for _ in range(minute + 1):
                outcome = rng.choice(list(Outcome))
                bad = outcome is Outcome.MD5_INVALID
                recorder.record(
                    a_sample(
                        ended_ns=NOON + minute * MINUTE + rng.randrange(MINUTE),
                        type=kind,
                        filesize=size,
                        outcome=outcome,
                        worker=rng.randint(1, 10),
                        md5_valid=False if bad else None,
                        exec_time=rng.choice([-1.0, rng.lognormvariate(1, 1), rng.lognormvariate(1, 1), 2.5]),
                        bytes=rng.randrange(10**12),
                    )
                )
    recorder.close(datetime(2026, 10, 27, 13, tzinfo=timezone.utc))
    influxd.empty()
    for name in ("metrics.csv", "summary.csv"):
        assert influxd.write((folder / name).read_bytes()) == ""
    rows = influxd.query("SELECT * FROM testwarden_summary")
    assert len(rows) == MINUTES * len(KINDS)
    return rows


def lines_of(minute: dict[str, Any]) -> str:
    """Where the lines are that a row of the summary sums up."""
    begin = minute["time"]
    kind = f"\"type\" = '{minute['type']}' AND \"filesize\" = '{minute['filesize']}'"
    return f'FROM "testwarden" WHERE time >= {begin} AND time < {begin + MINUTE} AND {kind}'


def asked(influxd: Influxd, minute: dict[str, Any], what: str, where: str = "") -> Any:
    """What a query over the lines of a minute gives; 0 where it finds none."""
    rows = influxd.query(f'SELECT {what} AS "v" {lines_of(minute)}{where}')
    return rows[0]["v"] if rows else 0


def test_the_summary_counts_what_a_query_over_the_lines_counts(influxd: Influxd, minutes: list[dict[str, Any]]) -> None:
    for minute in minutes:
        assert minute["count"] == asked(influxd, minute, 'count("bytes")')
        assert minute["bytes"] == asked(influxd, minute, 'sum("bytes")')
        assert minute["ok"] == asked(influxd, minute, 'count("ok")', ' AND "ok" = true')
        for flag in (*FLAGS, "thresholds_failed"):
            assert minute[flag] == asked(influxd, minute, f'count("{flag}")', f' AND "{flag}" = true')
        wrong = ' AND "ok" = false AND "md5_checked" = true AND "md5_valid" = false'
        assert minute["md5_invalid"] == asked(influxd, minute, 'count("ok")', wrong)
        assert minute["count"] == sum(minute[outcome.value] for outcome in Outcome)


def test_the_summary_s_durations_are_those_of_a_query_over_the_lines(
    influxd: Influxd, minutes: list[dict[str, Any]]
) -> None:
    timed = 0
    for minute in minutes:
        count = asked(influxd, minute, 'count("exec_time")')
        if not count:
            assert minute["mean"] is None
            continue
        timed += 1
        assert minute["min"] == asked(influxd, minute, 'min("exec_time")')
        assert minute["max"] == asked(influxd, minute, 'max("exec_time")')
        assert minute["mean"] == pytest.approx(asked(influxd, minute, 'mean("exec_time")'), abs=0.51e-6, rel=0)
        for percent in (50, 95):
            assert minute[f"p{percent}"] == asked(influxd, minute, f'percentile("exec_time", {percent})')
    assert timed > 100
