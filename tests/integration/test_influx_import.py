"""`metrics import` against Debian's influxd: counts and values come back, whatever happens to the importer meanwhile."""

from __future__ import annotations

import gzip
import signal
import subprocess
import sys
from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest

from standins.influxd import Influxd, running_influxd
from standins.measured import measured
from standins.samples import NOON, SECOND, a_sample
from testwarden.clients.stop import Stop
from testwarden.metrics.files import lines
from testwarden.metrics.influx import InfluxServer
from testwarden.metrics.influx_push import Pusher
from testwarden.metrics.line_protocol import Identity, LineWriter, parse
from testwarden.metrics_command import NO_SERVER, OK, WRONG, Asked, PlainDisplay, run_import

NOW = datetime(2026, 10, 27, 14, tzinfo=timezone.utc)
TESTS = str(Path(__file__).parent.parent)
WRITER = LineWriter(Identity("one"))
STEP = 7


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Influxd]:
    with running_influxd(tmp_path_factory.mktemp("influxd")) as server:
        yield server


@pytest.fixture
def influxd(running: Influxd) -> Influxd:
    running.empty()
    return running


def place(influxd: Influxd) -> InfluxServer:
    return InfluxServer(influxd.url, database="t")


def import_all(influxd: Influxd, *paths: Path, **more: Any) -> tuple[int, list[str]]:
    said: list[str] = []
    asked = Asked(paths, more.pop("server", place(influxd)), **more)
    return run_import(asked, NOW, PlainDisplay(said.append), wait=lambda _: None), said


def count(influxd: Influxd, statement: str = "SELECT count(ok) FROM testwarden") -> int:
    rows = influxd.query(statement)
    return int(rows[0]["count"]) if rows else 0


def content(count: int, start: int = 0) -> bytes:
    return b"".join(
        WRITER.line(a_sample(bytes=number), NOON + number * SECOND)[0] for number in range(start, start + count)
    )


def test_what_is_read_back_is_what_is_in_the_files_and_twice_the_same(tmp_path: Path, influxd: Influxd) -> None:
    files = measured(tmp_path / "scratch")
    folder = tmp_path / "files"
    folder.mkdir()
    rows = files.metrics.splitlines(keepends=True)
    third = len(rows) // 3
    (folder / "metrics-2026-10-27.csv.gz").write_bytes(gzip.compress(b"".join(rows[:third])))
    (folder / "metrics-2026-10-27-2.csv").write_bytes(b"".join(rows[third : 2 * third]))
    (folder / "metrics.csv").write_bytes(b"".join(rows[2 * third :]))
    (folder / "summary.csv").write_bytes(files.summary)
    (folder / "agent.csv").write_bytes(files.agent)
    code, said = import_all(influxd, folder)
    assert code == OK
    assert said[0] == f"to {influxd.url} (InfluxDB 1.6.7~rc0), database 't'"
    assert said[-1] == f"{len(files.all.splitlines()):,} lines sent, 0 refused"
    assert count(influxd) == len(rows)
    assert count(influxd, "SELECT count(count) FROM testwarden_summary") == len(files.summary.splitlines())
    assert count(influxd, "SELECT count(running) FROM testwarden_agent") == len(files.agent.splitlines())

    theirs = influxd.query("SELECT * FROM testwarden")
    ours = {(line.tags["agent"], line.stamp): line for line in (parse(row.decode().rstrip()) for row in rows)}
    assert len(ours) == len(theirs) == len(rows)
    for row in theirs[::STEP]:
        line = ours[row["agent"], row["time"]]
        assert {name: value for name, value in row.items() if value is not None and name != "time"} == {
            **line.tags,
            **line.fields,
        }

    assert import_all(influxd, folder)[1][-1] == "0 lines sent, 0 refused"
    assert import_all(influxd, folder, again=True)[1][-1] == said[-1]
    assert influxd.query("SELECT * FROM testwarden") == theirs


def test_bad_lines_are_named_with_file_and_line_and_the_rest_is_stored(tmp_path: Path, influxd: Influxd) -> None:
    other_type = content(1, 500).replace(b"attempt=1i", b"attempt=1.5")
    too_large = content(1, 501).replace(b"bytes=501i", b"bytes=99999999999999999999i")
    (tmp_path / "metrics.csv").write_bytes(
        content(300) + b"rubbish\n" + content(1, 400) + other_type + too_large + content(90, 300)
    )
    code, said = import_all(influxd, tmp_path)
    assert code == WRONG
    assert [text.partition(" error: ")[0] for text in said[1:-1]] == [
        f"{tmp_path}/metrics.csv:{n}:" for n in (301, 303, 304)
    ]
    assert "no line of InfluxDB's line protocol" in said[1]
    assert "field type conflict" in said[2]
    assert "value out of range" in said[3]
    assert said[-1] == "391 lines sent, 3 refused"
    assert count(influxd) == 391


def test_only_what_is_new_enough_is_sent_and_later_everything(tmp_path: Path, influxd: Influxd) -> None:
    (tmp_path / "metrics.csv").write_bytes(content(7200))  # From noon to two.
    assert import_all(influxd, tmp_path, since="1h")[1][-1] == "3,600 lines sent, 0 refused"
    assert influxd.query("SELECT first(bytes) FROM testwarden")[0]["first"] == 3600
    assert import_all(influxd, tmp_path, since="2026-10-27T13:59:00Z")[1][-1] == "60 lines sent, 0 refused"
    assert import_all(influxd, tmp_path)[1][-1] == "7,200 lines sent, 0 refused"
    assert count(influxd) == 7200


def test_a_database_that_is_not_there_is_one_sentence(tmp_path: Path, influxd: Influxd) -> None:
    (tmp_path / "metrics.csv").write_bytes(content(3))
    code, said = import_all(influxd, tmp_path, server=InfluxServer(influxd.url))
    assert code == NO_SERVER
    assert said[1].startswith(
        f"testwarden: {influxd.url} (InfluxDB 1.6.7~rc0), database 'testwarden': there is no such"
    )
    assert 'database not found: "testwarden"' in said[1]
    assert import_all(influxd, tmp_path)[0] == OK


def test_what_an_agent_left_unfolded_when_it_died_is_sent_too(tmp_path: Path, influxd: Influxd) -> None:
    (tmp_path / "metrics.csv").write_bytes(content(10))
    (tmp_path / f"journal-{len(content(5))}-0.folding").write_bytes(content(8, 5))
    (tmp_path / "journal.lp").write_bytes(content(4, 13) + b"torn")
    assert import_all(influxd, tmp_path)[0] == OK
    assert count(influxd) == 17


IMPORTER = """
import sys
from datetime import datetime, timezone
from pathlib import Path
from testwarden.metrics import influx_import
from testwarden.metrics.influx import InfluxServer
from testwarden.metrics.influx_doors import connect
from testwarden.metrics_command import Asked, PlainDisplay, run_import

influx_import.BATCH, influx_import._SAVE_EVERY = 32 * 1024, 0.0
writes = 0

class Halting:
    def __init__(self, door):
        self.door, self.name, self.close = door, door.name, door.close
    def write(self, body, lines):
        global writes
        answer = self.door.write(body, lines)
        writes += 1
        if writes >= int(sys.argv[3]):
            print("stored", flush=True)
            sys.stdin.read()
        return answer

asked = Asked((Path(sys.argv[1]),), InfluxServer(sys.argv[2], database="t"))
now = datetime.now(timezone.utc)
sys.exit(run_import(asked, now, PlainDisplay(print), lambda server: Halting(connect(server))))
"""


def test_an_import_that_is_killed_in_the_middle_goes_on_there(tmp_path: Path, influxd: Influxd) -> None:
    """Each time after the server stored a batch and before the importer could note it."""
    total = 6000
    (tmp_path / "metrics-2026-10-27.csv.gz").write_bytes(gzip.compress(content(total // 2)))
    (tmp_path / "metrics.csv").write_bytes(content(total // 2, total // 2))
    command = [sys.executable, "-c", IMPORTER, str(tmp_path), influxd.url]
    for writes in (3, 20, 1, 30):
        with subprocess.Popen(
            [*command, str(writes)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as importer:
            assert importer.stdout is not None
            while importer.stdout.readline() != "stored\n":
                assert importer.poll() is None
            importer.kill()
        assert importer.returncode == -signal.SIGKILL
    before = count(influxd)
    assert 0 < before < total
    code, said = import_all(influxd, tmp_path)
    assert code == OK
    assert count(influxd) == total
    assert influxd.query("SELECT sum(bytes) FROM testwarden")[0]["sum"] == sum(range(total))
    sent = int(said[-1].split()[0].replace(",", ""))
    assert sent < total - before + 600, "it began much too early"


RECORDER = """
import sys
from datetime import datetime, timedelta, timezone
from pathlib import Path
sys.path.insert(0, {tests!r})
from standins.samples import NOON, SECOND, a_sample
from testwarden.metrics.line_protocol import Identity
from testwarden.metrics.recorder import Recorder
from testwarden.metrics.rotation import Rules

recorder = Recorder(Path(sys.argv[1]), Identity("one"), Rules(most_bytes=60_000))
noon = datetime(2026, 10, 27, 12, tzinfo=timezone.utc)
for number in range(int(sys.argv[2])):
    if number and number % 60 == 0:
        print(number, flush=True)
        sys.stdin.readline()
        recorder.fold(noon + timedelta(seconds=number))
    recorder.record(a_sample(ended_ns=NOON + number * SECOND, bytes=number))
recorder.close(noon + timedelta(seconds=number))
"""


@pytest.mark.parametrize("how", ["import", "push"])
def test_importing_while_the_agent_writes_and_rotates_loses_and_doubles_nothing(
    tmp_path: Path, influxd: Influxd, how: str
) -> None:
    total = 6000
    folder = tmp_path / "metrics"
    folder.mkdir()
    pusher = Pusher(place(influxd), folder, Stop())
    command = [sys.executable, "-c", RECORDER.format(tests=TESTS), str(folder), str(total)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as recorder:
        assert recorder.stdin is not None
        assert recorder.stdout is not None
        for number, _ in enumerate(recorder.stdout):
            # The recorder folds, rotates, packs and records on while this one imports.
            recorder.stdin.write("\n")
            recorder.stdin.flush()
            if how == "push":
                pusher.push(number * 60.0)
            elif number:
                assert import_all(influxd, folder)[0] == OK
    assert recorder.returncode == 0
    if how == "push":
        pusher.push(1e6)
        assert pusher.trouble == ""
        assert pusher.sent >= total
    else:
        assert import_all(influxd, folder)[0] == OK
    pusher.close()

    archives = sorted(path.name for path in folder.glob("metrics-*"))
    assert len(archives) > 10
    assert all(name.endswith(".gz") for name in archives)
    assert count(influxd) == total
    assert influxd.query("SELECT sum(bytes) FROM testwarden")[0]["sum"] == sum(range(total))
    assert influxd.query("SELECT sum(count) FROM testwarden_summary")[0]["sum"] == total
    on_disk = sum(1 for path in folder.glob("metrics*") for _ in lines(path))
    assert on_disk == total
