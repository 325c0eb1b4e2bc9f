"""The same files into VictoriaMetrics: counts come back; what it does differently is what docs/metrics.md says."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path

import pytest

from standins.measured import measured
from standins.samples import NOON, SECOND, a_sample
from standins.victoria import Victoria, running_victoria
from testwarden.metrics.influx import InfluxServer
from testwarden.metrics.line_protocol import Identity, LineWriter, parse
from testwarden.metrics_command import OK, WRONG, Asked, PlainDisplay, run_import

NOW = datetime(2026, 10, 27, 15, tzinfo=timezone.utc)
LATER = NOON / SECOND + 3 * 3600


@pytest.fixture
def victoria(tmp_path: Path) -> Iterator[Victoria]:
    (tmp_path / "victoria").mkdir()
    with running_victoria(tmp_path / "victoria") as server:
        yield server


def import_all(folder: Path, server: InfluxServer, *, again: bool = False) -> tuple[int, list[str]]:
    said: list[str] = []
    return run_import(Asked((folder,), server, again=again), NOW, PlainDisplay(said.append)), said


@pytest.mark.parametrize("named", [{}, {"bucket": "b", "org": "o"}], ids=["old door", "new door"])
def test_counts_and_sums_read_back_are_those_of_the_files(
    tmp_path: Path, victoria: Victoria, named: dict[str, str]
) -> None:
    files = measured(tmp_path / "scratch")
    folder = tmp_path / "files"
    folder.mkdir()
    for name, content in (("metrics", files.metrics), ("summary", files.summary), ("agent", files.agent)):
        (folder / f"{name}.csv").write_bytes(content)
    code, said = import_all(folder, InfluxServer(victoria.url, **named))
    assert code == OK
    assert said[-1] == f"{len(files.all.splitlines()):,} lines sent, 0 refused"

    samples = [parse(line) for line in files.metrics.decode().splitlines()]
    assert victoria.query("sum(count_over_time(testwarden_ok[4h]))", LATER) == [({}, len(samples))]
    assert victoria.query("sum(sum_over_time(testwarden_ok[4h]))", LATER) == [
        ({}, sum(line.fields["ok"] is True for line in samples))
    ]
    [(_, moved)] = victoria.query("sum(sum_over_time(testwarden_bytes[4h]))", LATER)
    assert moved == pytest.approx(sum(int(line.fields["bytes"]) for line in samples))
    [(_, counted)] = victoria.query("sum(sum_over_time(testwarden_summary_count[4h]))", LATER)
    assert counted == len(samples)
    assert victoria.query("sum(count_over_time(testwarden_agent_running[4h]))", LATER)[0][1] == len(
        files.agent.splitlines()
    )


def test_what_is_different_there(tmp_path: Path, victoria: Victoria) -> None:
    line = LineWriter(Identity("one")).line(a_sample(reason="because"), NOON + 1_999_999)[0]
    (tmp_path / "metrics.csv").write_bytes(line)
    assert import_all(tmp_path, InfluxServer(victoria.url))[0] == OK
    series = {row["metric"]["__name__"]: row for row in victoria.export('{agent="one"}')}
    assert series["testwarden_reason"]["values"] == [0], "a string is a zero"
    assert series["testwarden_ok"]["values"] == [1], "a boolean is a one or a zero"
    assert series["testwarden_ok"]["timestamps"] == [(NOON + 1_999_999) // 10**6], "times are cut to milliseconds"
    assert series["testwarden_ok"]["metric"]["db"] == "testwarden", "the database is a label"


def test_the_same_files_twice_give_the_same_points(tmp_path: Path, victoria: Victoria) -> None:
    writer = LineWriter(Identity("one"))
    content = b"".join(writer.line(a_sample(), NOON + number * SECOND)[0] for number in range(100))
    (tmp_path / "metrics.csv").write_bytes(content)
    server = InfluxServer(victoria.url)
    assert import_all(tmp_path, server)[1][-1] == "100 lines sent, 0 refused"
    assert import_all(tmp_path, server)[1][-1] == "0 lines sent, 0 refused"
    assert import_all(tmp_path, server, again=True)[1][-1] == "100 lines sent, 0 refused"
    assert victoria.query("sum(count_over_time(testwarden_ok[4h]))", LATER)[0][1] == 100


def test_a_bad_line_is_named_although_victoria_skips_it_in_silence(tmp_path: Path, victoria: Victoria) -> None:
    line = LineWriter(Identity("one")).line(a_sample(), NOON)[0]
    (tmp_path / "metrics.csv").write_bytes(b"rubbish\n" + line)
    code, said = import_all(tmp_path, InfluxServer(victoria.url))
    assert code == WRONG
    assert said[1].startswith(f"{tmp_path}/metrics.csv:1: error: this is no line of InfluxDB's line protocol")
    assert said[-1] == "1 lines sent, 1 refused"
