"""`testwarden metrics import` as a person sees it: what is said, what is asked for, and files that move meanwhile."""

from __future__ import annotations

import gzip
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from standins.influx_memory import MemoryInflux
from standins.samples import NOON, SECOND, a_sample
from testwarden.metrics.influx import InfluxServer, NotNow
from testwarden.metrics.line_protocol import Identity, LineWriter
from testwarden.metrics_command import (
    NO_SERVER,
    OK,
    WRONG,
    Asked,
    BarDisplay,
    PlainDisplay,
    UsageError,
    run_check,
    run_import,
    since,
)

NOW = datetime(2026, 10, 27, 13, tzinfo=timezone.utc)
SERVER = InfluxServer("http://localhost:8086", database="d")
WRITER = LineWriter(Identity("one"))


def lines(count: int, start: int = 0) -> bytes:
    return b"".join(WRITER.line(a_sample(), NOON + number * SECOND)[0] for number in range(start, start + count))


def import_all(server: MemoryInflux, *paths: Path) -> tuple[int, list[str]]:
    said: list[str] = []
    return run_import(Asked(paths, SERVER), NOW, PlainDisplay(said.append), lambda _: server, lambda _: None), said


def test_files_that_get_other_names_while_they_are_imported_are_all_found(tmp_path: Path) -> None:
    current = tmp_path / "metrics.csv"

    def rotate(number: int) -> None:
        """While the archive is on its way, the current file becomes one, and then a packed one."""
        if number == 1:
            current.rename(tmp_path / "metrics-2026-10-26.csv")
            current.write_bytes(lines(10, 40))
        if number == 2:
            plain = tmp_path / "metrics-2026-10-26.csv"
            plain.with_suffix(".csv.gz").write_bytes(gzip.compress(plain.read_bytes()))
            plain.unlink()

    server = MemoryInflux(trouble=rotate)
    (tmp_path / "metrics-2026-10-25.csv").write_bytes(lines(20))
    current.write_bytes(lines(20, 20))
    code, said = import_all(server, tmp_path)
    assert (code, said[-1]) == (OK, "50 lines sent, 0 refused")
    assert b"".join(line + b"\n" for line in sorted(server.written)) == lines(50)


def test_a_torn_archive_does_not_stop_the_others_and_is_said_at_the_end(tmp_path: Path) -> None:
    (tmp_path / "metrics-2026-10-25.csv.gz").write_bytes(gzip.compress(lines(20))[:-9])
    (tmp_path / "metrics.csv").write_bytes(lines(20, 20))
    server = MemoryInflux()
    code, said = import_all(server, tmp_path)
    assert code == WRONG
    assert [text for text in said if "torn" in text] == [said[-2]]
    assert {*lines(20, 20).splitlines()} <= set(server.points.values())


def test_an_import_that_stops_says_how_far_it_came(tmp_path: Path) -> None:
    def gone(number: int) -> None:
        if number > 1:
            raise NotNow("gone")

    (tmp_path / "metrics-2026-10-25.csv").write_bytes(lines(20))
    (tmp_path / "metrics.csv").write_bytes(lines(20, 20))
    server = MemoryInflux(trouble=gone)
    code, said = import_all(server, tmp_path)
    assert code == NO_SERVER
    assert said[-2:] == [
        "testwarden: gone",
        "20 lines were sent; the others stay in the files, and the same command goes on from there",
    ]
    assert server.closed == 2


def test_nothing_to_import_and_files_that_are_not_there_are_said(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"no metrics files in .*: has an agent run"):
        import_all(MemoryInflux(), tmp_path)
    with pytest.raises(UsageError, match="there is no such file"):
        import_all(MemoryInflux(), tmp_path / "metrics.csv")
    with pytest.raises(UsageError, match="there is no such file"):
        run_check([tmp_path / "metrics.csv"], print)


def test_where_there_is_no_terminal_a_line_comes_every_ten_seconds() -> None:
    now = [100.0]
    said: list[str] = []
    display = PlainDisplay(said.append, lambda: now[0])
    display.begin(4000)
    for second in (101, 109, 110, 119, 121):
        now[0] = second
        display.moved(500, 5000)
    assert said == ["15,000 lines sent, 37 % of the files", "25,000 lines sent, 62 % of the files"]


def test_on_a_terminal_a_bar_shows_how_far_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    with BarDisplay() as display:
        display.begin(100)
        display.moved(50, 4321)
        display.say("metrics.csv:7: error: [red]a line as it is[/red]")
        display.moved(50, 4321)
    shown = capsys.readouterr().out
    assert "metrics.csv:7: error: [red]a line as it is[/red]\n" in shown
    assert "100%" in shown
    assert "8,642 lines" in shown


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("90m", NOW - timedelta(minutes=90)),
        ("12 h", NOW - timedelta(hours=12)),
        ("7d", NOW - timedelta(days=7)),
        ("2w", NOW - timedelta(weeks=2)),
        ("2026-10-01", datetime(2026, 10, 1, tzinfo=timezone.utc)),
        ("2026-10-01T12:00:00Z", datetime(2026, 10, 1, 12, tzinfo=timezone.utc)),
        ("2026-10-01T12:00:00+02:00", datetime(2026, 10, 1, 10, tzinfo=timezone.utc)),
    ],
)
def test_since_is_a_span_or_a_date(text: str, moment: datetime) -> None:
    assert since(text, NOW) == int(moment.timestamp()) * 10**9


@pytest.mark.parametrize("text", ["", "soon", "7", "7y", "-1d", "999999w", "2026-13-01"])
def test_another_since_is_refused_with_what_is_allowed(text: str) -> None:
    with pytest.raises(UsageError, match="allowed is a number with m, h, d or w"):
        since(text, NOW)
