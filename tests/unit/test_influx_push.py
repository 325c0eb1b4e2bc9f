"""The agent's push: what is new each minute, later what could not go, in order, across restarts, and not loudly."""

from __future__ import annotations

import gzip
import logging
from pathlib import Path

import pytest

from standins.influx_memory import MemoryInflux
from standins.samples import NOON, a_sample
from testwarden.clients.stop import Stop
from testwarden.metrics import influx_import, influx_push
from testwarden.metrics.influx import Denied, InfluxServer, NotNow, Writer
from testwarden.metrics.influx_push import Pusher
from testwarden.metrics.line_protocol import Identity, LineWriter

SERVER = InfluxServer("http://localhost:8086", token="hush", bucket="b")
WRITER = LineWriter(Identity("one"))


def lines(count: int, start: int = 0) -> bytes:
    return b"".join(WRITER.line(a_sample(), NOON + number)[0] for number in range(start, start + count))


def pusher(folder: Path, server: MemoryInflux, stop: Stop | None = None) -> Pusher:
    """Another one on the same folder is the agent after a restart."""

    def connect(where: InfluxServer, seconds: float, end: Stop | None) -> Writer:
        assert where is SERVER
        return server

    return Pusher(SERVER, folder, stop or Stop(), connect)


def down(number: int) -> None:
    raise NotNow(f"no answer to write {number}")


def test_each_push_sends_what_is_new_of_all_files_but_the_journal(tmp_path: Path) -> None:
    server = MemoryInflux()
    push = pusher(tmp_path, server)
    push.push(0)
    assert server.bodies == []
    (tmp_path / "metrics.csv").write_bytes(lines(3))
    (tmp_path / "summary.csv").write_bytes(b"testwarden_summary,agent=a count=3i 60\n")
    (tmp_path / "agent.csv").write_bytes(b"testwarden_agent,agent=a running=3i 60\n")
    (tmp_path / "journal.lp").write_bytes(lines(1, 3))
    push.push(60)
    assert len(server.points) == push.sent == 5
    (tmp_path / "metrics.csv").write_bytes(lines(4))
    push.push(120)
    assert push.sent == 6
    assert server.bodies[-1] == lines(1, 3)


def test_what_could_not_go_goes_later_in_order_and_after_a_restart(tmp_path: Path) -> None:
    server = MemoryInflux(trouble=down)
    (tmp_path / "metrics-2026-10-25.csv.gz").write_bytes(gzip.compress(lines(5)))
    (tmp_path / "metrics-2026-10-26.csv").write_bytes(lines(5, 5))
    (tmp_path / "metrics.csv").write_bytes(lines(5, 10))
    first = pusher(tmp_path, server)
    first.push(0)
    assert (first.sent, first.trouble) == (0, "no answer to write 1")
    server.trouble, server.bodies = lambda _: None, []
    again = pusher(tmp_path, server)
    again.push(0)
    assert b"".join(server.bodies) == lines(15)
    assert (again.sent, again.trouble) == (15, "")
    pusher(tmp_path, server).push(0)
    assert b"".join(server.bodies) == lines(15)


def test_a_backlog_goes_in_bounded_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(influx_import, "BATCH", 4096)
    monkeypatch.setattr(influx_push, "MOST_BYTES", 8192)
    server = MemoryInflux()
    (tmp_path / "metrics.csv").write_bytes(lines(200))
    push = pusher(tmp_path, server)
    parts = []
    for minute in range(50):
        before = push.sent
        push.push(minute * 60)
        parts.append(push.sent - before)
    assert sum(parts) == 200
    assert max(parts) < 50
    assert b"".join(server.bodies) == lines(200)


def test_failures_back_off_up_to_a_quarter_of_an_hour(tmp_path: Path) -> None:
    server = MemoryInflux(trouble=down)
    (tmp_path / "metrics.csv").write_bytes(lines(1))
    push = pusher(tmp_path, server)
    tried = []
    for second in range(0, 7200, 60):
        before = len(server.bodies)
        push.push(second)
        if len(server.bodies) > before:
            tried.append(second)
    assert tried[:6] == [0, 60, 180, 420, 900, 1800]
    assert tried[6:] == [2700, 3600, 4500, 5400, 6300]


def test_a_server_that_asks_to_wait_is_left_alone(tmp_path: Path) -> None:
    def busy(number: int) -> None:
        raise NotNow("busy", 250.0)

    server = MemoryInflux(trouble=busy)
    (tmp_path / "metrics.csv").write_bytes(lines(1))
    push = pusher(tmp_path, server)
    for second in (0, 60, 120, 180, 240):
        push.push(second)
    assert len(server.bodies) == 1
    push.push(250)
    assert len(server.bodies) == 2


def test_a_failure_is_logged_once_for_each_change_and_never_with_a_secret(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    server = MemoryInflux(trouble=down)
    (tmp_path / "metrics.csv").write_bytes(lines(1))
    push = pusher(tmp_path, server)
    for hour in range(5):
        push.push(hour * 3600)

    def denied(number: int) -> None:
        raise Denied("it does not accept the credentials")

    server.trouble = denied
    for hour in range(5, 10):
        push.push(hour * 3600)
    server.trouble = lambda _: None
    for hour in range(10, 13):
        push.push(hour * 3600)
    said = [record.getMessage() for record in caplog.records]
    assert [text.split(":")[0] for text in said] == ["the metrics are not pushed"] * 2 + [
        "the metrics are pushed again"
    ]
    assert "no answer to write 1" in said[0]
    assert "credentials" in said[1]
    assert "hush" not in caplog.text


def test_lines_that_the_server_refuses_are_named_a_few_and_do_not_come_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    server = MemoryInflux(hates=[b"worker=13"])
    hated = b"".join(WRITER.line(a_sample(worker=13), NOON + 900 + number)[0] for number in range(20))
    (tmp_path / "metrics.csv").write_bytes(lines(3) + hated + lines(3, 3))
    push = pusher(tmp_path, server)
    push.push(0)
    push.push(60)
    assert (push.sent, push.refused, push.trouble) == (6, 20, "")
    said = [record.getMessage() for record in caplog.records]
    assert len(said) == 6
    assert said[0].startswith(f"{tmp_path}/metrics.csv:4: the server refuses this line: ")


def test_a_file_that_nobody_can_read_does_not_hold_up_the_others(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    server = MemoryInflux()
    (tmp_path / "metrics-2026-10-25.csv.gz").write_bytes(gzip.compress(lines(5))[:-9])
    (tmp_path / "metrics.csv").write_bytes(lines(5, 10))
    push = pusher(tmp_path, server)
    push.push(0)
    assert "metrics-2026-10-25.csv.gz: the archive is torn" in push.trouble
    assert b"".join(server.bodies).endswith(lines(5, 10))
    (tmp_path / "metrics.csv").write_bytes(lines(7, 10))
    push.push(60)
    assert b"".join(server.bodies).endswith(lines(2, 15))
    assert len(caplog.records) == 1


def test_a_stop_ends_a_push_between_two_files(tmp_path: Path) -> None:
    stop = Stop()
    server = MemoryInflux(trouble=lambda _: stop.request("the agent ends", 0))
    (tmp_path / "metrics-2026-10-25.csv").write_bytes(lines(5))
    (tmp_path / "metrics.csv").write_bytes(lines(5, 10))
    pusher(tmp_path, server, stop).push(0)
    assert b"".join(server.bodies) == lines(5)


def test_closing_gives_the_connection_back(tmp_path: Path) -> None:
    server = MemoryInflux()
    push = pusher(tmp_path, server)
    push.push(0)
    push.close()
    push.close()
    assert server.closed == 1
