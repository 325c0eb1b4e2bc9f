"""Import into InfluxDB 2 through the real influxdb-client, and what a person is told when the server does not take it."""

from __future__ import annotations

import logging
import re
import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path

import pytest

from standins.influx_two import BUCKET, ORG, TOKEN, InfluxTwo, influx_two
from standins.samples import NOON, a_sample
from testwarden.clients.stop import Stop
from testwarden.metrics import influx_import
from testwarden.metrics.influx import Denied, InfluxServer, NotNow
from testwarden.metrics.influx_doors import DoorOne, DoorTwo, connect
from testwarden.metrics.influx_push import Pusher
from testwarden.metrics.line_protocol import Identity, LineWriter
from testwarden.metrics_command import NO_SERVER, OK, WRONG, Asked, PlainDisplay, run_import

NOW = datetime(2026, 10, 27, 13, tzinfo=timezone.utc)
WRITER = LineWriter(Identity("one"))


def lines(count: int) -> bytes:
    return b"".join(WRITER.line(a_sample(reason="Grüße"), NOON + number)[0] for number in range(count))


@pytest.fixture
def influx(monkeypatch: pytest.MonkeyPatch) -> Iterator[InfluxTwo]:
    monkeypatch.setattr(influx_import, "BATCH", 8192)
    with influx_two() as server:
        yield server


def place(influx: InfluxTwo) -> InfluxServer:
    return InfluxServer(influx.url, token=TOKEN, org=ORG, bucket=BUCKET)


def import_all(folder: Path, server: InfluxServer) -> tuple[int, list[str], list[float]]:
    said: list[str] = []
    waited: list[float] = []
    code = run_import(Asked((folder,), server), NOW, PlainDisplay(said.append), wait=waited.append)
    assert TOKEN not in "".join(said)
    return code, said, waited


def test_an_import_stores_every_line_and_twice_the_same(tmp_path: Path, influx: InfluxTwo) -> None:
    (tmp_path / "metrics.csv").write_bytes(lines(200))
    code, said, _ = import_all(tmp_path, place(influx))
    assert (code, said[-1]) == (OK, "200 lines sent, 0 refused")
    assert said[0] == f"to {influx.url} (InfluxDB 2.7.11), bucket 'the-bucket'"
    assert b"\n".join(sorted(influx.points.values())) + b"\n" == lines(200)
    stored, writes = dict(influx.points), influx.writes
    assert import_all(tmp_path, place(influx))[:2] == (OK, [said[0], "0 lines sent, 0 refused"])
    assert (influx.points, influx.writes) == (stored, writes)


def test_lines_of_a_wrong_type_are_named_and_the_others_stored(tmp_path: Path, influx: InfluxTwo) -> None:
    content = lines(100)
    for number in (7, 8, 66):
        stamp = NOON + number
        content = content.replace(b"exec_time=1.250000 %d\n" % stamp, b"exec_time=6.660000 %d\n" % stamp)
    (tmp_path / "metrics.csv").write_bytes(content)
    influx.hates = b"exec_time=6.66"
    code, said, _ = import_all(tmp_path, place(influx))
    assert code == WRONG
    assert [text.split(" error: ")[0] for text in said[1:-1]] == [f"{tmp_path}/metrics.csv:{n}:" for n in (8, 9, 67)]
    assert "field type conflict" in said[1]
    assert said[-1] == "97 lines sent, 3 refused"
    assert len(influx.points) == 97


def test_a_busy_server_is_waited_for_as_long_as_it_asks(tmp_path: Path, influx: InfluxTwo) -> None:
    (tmp_path / "metrics.csv").write_bytes(lines(10))
    influx.troubles = [(429, {"Retry-After": "17"}, b""), (503, {}, b"{}"), (500, {}, b'{"message":"internal error"}')]
    code, said, waited = import_all(tmp_path, place(influx))
    assert (code, len(influx.points)) == (OK, 10)
    assert waited == [17.0, 2.0, 4.0]
    assert "it cannot take the lines now (status 500: internal error); trying again in 4 s" in said[3]


def test_a_server_that_stays_busy_ends_the_import_and_nothing_is_lost(tmp_path: Path, influx: InfluxTwo) -> None:
    (tmp_path / "metrics.csv").write_bytes(lines(100))
    influx.troubles = [(500, {}, b"")] * 1000
    code, said, _ = import_all(tmp_path, place(influx))
    assert code == NO_SERVER
    assert said[-2].endswith("it cannot take the lines now (status 500)")
    influx.troubles = []
    assert import_all(tmp_path, place(influx))[0] == OK
    assert len(influx.points) == 100


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"token": "wrong"}, "it does not accept the credentials (status 401: unauthorized access)"),
        ({"token": ""}, "it does not accept the credentials (status 401: unauthorized access)"),
        ({"bucket": "other"}, '(status 404: bucket "other" not found): create it first'),
        ({"bucket": ""}, '(status 404: bucket "testwarden" not found): create it first'),
        ({"org": "other"}, '(status 404: organization name "other" not found): create it first'),
        (
            {"database": "d"},
            "a bucket (InfluxDB 2 and 3) and a database (InfluxDB 1) are named: one of them is too much",
        ),
        ({"url": "localhost:8086"}, "'localhost:8086' is no address of a server: it begins with http:// or https://"),
        ({"token": "hush\n"}, "the token holds a character that is neither a letter, a digit nor a sign of ASCII"),
        ({"password": "hüsh"}, "the password holds a character that is neither a letter, a digit nor a sign of ASCII"),
        (
            {"url": "http://me:hush@localhost"},
            "the address of the server holds a name or a password: give them apart from it",
        ),
    ],
)
def test_what_is_wrong_is_one_sentence(
    tmp_path: Path, influx: InfluxTwo, wrong: dict[str, str], sentence: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    (tmp_path / "metrics.csv").write_bytes(lines(10))
    code, said, waited = import_all(tmp_path, replace(place(influx), **wrong))  # type: ignore[arg-type]  # all are str
    assert (code, waited) == (NO_SERVER, [])
    assert said[-2].endswith(sentence)
    assert said[-1].startswith("0 lines were sent; ")
    assert "hush" not in "".join(said) + caplog.text
    assert TOKEN not in caplog.text
    assert import_all(tmp_path, place(influx))[1][-1] == "10 lines sent, 0 refused"


def test_a_server_that_is_not_there_is_one_sentence_at_once(tmp_path: Path, influx: InfluxTwo) -> None:
    (tmp_path / "metrics.csv").write_bytes(lines(10))
    code, said, waited = import_all(tmp_path, InfluxServer("http://127.0.0.1:9"))
    assert (code, waited, len(said)) == (NO_SERVER, [], 2)
    assert said[0].startswith("testwarden: http://127.0.0.1:9: no answer: ")
    assert "refused" in said[0]


@pytest.mark.parametrize("url", ["http://", "http://a..b", "http://[::1", "http://127.0.0.1:99999", "http://a b"])
def test_an_address_that_is_none_is_denied(url: str) -> None:
    with pytest.raises(Denied, match=re.escape(url)):
        connect(InfluxServer(url))


def test_the_version_decides_which_door_it_is(influx: InfluxTwo) -> None:
    for version, expected in (("v2.7.11", DoorTwo), ("3.0.1", DoorTwo), ("1.6.7~rc0", DoorOne), ("", DoorOne)):
        influx.version = version
        door = connect(InfluxServer(influx.url))
        assert type(door) is expected
        door.close()
    influx.version = "1.8.10"  # Has both; what is named decides.
    for server, expected in ((InfluxServer(influx.url, bucket="b"), DoorTwo), (InfluxServer(influx.url), DoorOne)):
        door = connect(server)
        assert type(door) is expected
        door.close()
    influx.version = "1.6.7"
    with pytest.raises(Denied, match="which has databases, not buckets"):
        connect(InfluxServer(influx.url, bucket="b"))


def test_a_slow_server_is_not_waited_for_without_end(influx: InfluxTwo) -> None:
    influx.hold.clear()
    door = connect(place(influx), seconds=0.3)
    with pytest.raises(NotNow, match=r"no answer: .*timed out"):
        door.write(lines(1), 1)
    door.close()
    influx.hold.set()


def test_a_push_to_the_old_door_ends_when_the_agent_stops(tmp_path: Path, influx: InfluxTwo) -> None:
    (tmp_path / "metrics.csv").write_bytes(lines(1))
    asked = threading.Event()

    def answer(method: str, path: str, body: bytes) -> tuple[int, dict[str, str], bytes]:
        if path.startswith("/write"):
            asked.set()
            ended.wait(20)
        return 204, {"X-Influxdb-Version": "1.6.7"}, b""

    influx.server.script = answer
    stop, ended = Stop(), threading.Event()
    pusher = Pusher(InfluxServer(influx.url, database="d"), tmp_path, stop)
    thread = threading.Thread(target=pusher.push, args=(0.0,))
    thread.start()
    assert asked.wait(20)
    stop.request("the agent ends", 0)
    thread.join(9)  # Its own patience would last ten seconds.
    assert not thread.is_alive()
    ended.set()
    assert pusher.sent == 0
    pusher.close()


def test_a_push_through_the_real_client(tmp_path: Path, influx: InfluxTwo) -> None:
    pusher = Pusher(place(influx), tmp_path, Stop())
    (tmp_path / "metrics.csv").write_bytes(lines(50))
    influx.troubles = [(429, {"Retry-After": "200"}, b"")]
    pusher.push(0)
    assert (pusher.sent, bool(pusher.trouble)) == (0, True)
    pusher.push(199)
    assert pusher.sent == 0
    pusher.push(200)
    assert (pusher.sent, pusher.trouble, len(influx.points)) == (50, "", 50)
    pusher.close()
