"""Each line goes to the server once: on from where it stopped, whatever the files are called by then."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from standins.influx_memory import MemoryInflux
from standins.samples import MINUTE, NOON, a_sample
from testwarden.errors import MetricsError
from testwarden.metrics import influx_import
from testwarden.metrics.files import FileVanished
from testwarden.metrics.influx import Denied, NotNow
from testwarden.metrics.influx_import import Feed, Reports, Sent
from testwarden.metrics.influx_state import MOST_FILES, Place, SentFiles
from testwarden.metrics.line_protocol import Identity, LineWriter

KEY = "0123456789ab"
WRITER = LineWriter(Identity("one"))


def lines(count: int, start: int = 0) -> bytes:
    return b"".join(WRITER.line(a_sample(), NOON + number)[0] for number in range(start, start + count))


class Told:
    """What a feed said."""

    def __init__(self) -> None:
        self.refused: list[tuple[str, int, str]] = []
        self.size = self.lines = 0
        self.troubles: list[str] = []
        self.reports = Reports(self._refuse, self._move, self.troubles.append)

    def _refuse(self, path: Path, line: int, message: str) -> None:
        self.refused.append((path.name, line, message))

    def _move(self, size: int, count: int) -> None:
        self.size += size
        self.lines += count


def send(path: Path, server: MemoryInflux, told: Told | None = None, most: int | None = None, doors: int = 1) -> Sent:
    """One import of one file, with what earlier ones saved."""
    with Feed([server] * doors, (told or Told()).reports) as feed:
        return feed.send(path, SentFiles(path.parent, KEY), most)


@pytest.fixture(autouse=True)
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(influx_import, "BATCH", 4096)


def test_what_was_sent_is_not_sent_again_and_what_is_new_is(tmp_path: Path) -> None:
    path, server = tmp_path / "metrics.csv", MemoryInflux()
    path.write_bytes(lines(100))
    assert send(path, server).lines == 100
    assert send(path, server).lines == 0
    path.write_bytes(lines(130) + lines(1, 500)[:50])  # The last line is being written.
    assert send(path, server).lines == 30
    path.write_bytes(lines(131))
    assert send(path, server).lines == 1
    assert b"".join(server.bodies) == lines(131)


def test_a_file_that_was_rotated_and_packed_is_the_same_file(tmp_path: Path) -> None:
    path, server = tmp_path / "metrics.csv", MemoryInflux()
    path.write_bytes(lines(100))
    send(path, server)
    plain, packed = tmp_path / "metrics-2026-10-27.csv", tmp_path / "metrics-2026-10-27.csv.gz"
    path.write_bytes(lines(120))  # 20 more came before it was rotated.
    path.rename(plain)
    path.write_bytes(lines(10, 1000))
    assert send(plain, server).lines == 20
    packed.write_bytes(gzip.compress(plain.read_bytes()))
    plain.unlink()
    assert send(packed, server).lines == 0
    assert send(path, server).lines == 10
    assert b"".join(server.bodies) == lines(120) + lines(10, 1000)


def test_a_file_whose_beginning_changed_is_sent_again(tmp_path: Path) -> None:
    """As summary.csv, when a late sample came."""
    path, server = tmp_path / "summary.csv", MemoryInflux()
    minute = b"testwarden_summary,agent=a count=%di %d\n"
    path.write_bytes(b"".join(minute % (1, number * MINUTE) for number in range(50)))
    send(path, server)
    late = b"".join(minute % (2 if number == 40 else 1, number * MINUTE) for number in range(60))
    path.write_bytes(late)
    assert send(path, server).lines == 60
    assert set(server.points.values()) == set(late.splitlines())
    path.write_bytes(late[: len(late) // 2 - 20])  # And one that became shorter.
    assert send(path, server).lines > 0


def test_a_file_that_was_read_to_its_end_is_not_opened_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, server = tmp_path / "metrics-2026-10-27.csv.gz", MemoryInflux()
    path.write_bytes(gzip.compress(lines(10)))
    send(path, server)

    def never(path: Path) -> None:
        raise AssertionError("it was opened")

    monkeypatch.setattr(influx_import, "opened", never)
    assert send(path, server) == Sent()


@pytest.mark.parametrize("doors", [1, 2])
@pytest.mark.parametrize("fails", [1, 2, 5, 9])
def test_an_import_that_ends_anywhere_goes_on_there(tmp_path: Path, fails: int, doors: int) -> None:
    def trouble(number: int) -> None:
        if number == fails:
            raise NotNow("the server went away")

    path, server, told = tmp_path / "metrics.csv", MemoryInflux(trouble=trouble), Told()
    path.write_bytes(lines(100))
    with pytest.raises(NotNow):
        send(path, server, told, doors=doors)
    assert told.lines < 100
    before = len(server.written)
    server.trouble = lambda _: None
    assert send(path, server, doors=doors).lines == 100 - told.lines
    assert len(server.written) - before == 100 - told.lines
    assert b"".join(sorted(server.points.values())) == lines(100).replace(b"\n", b"")


def test_what_follows_a_batch_that_failed_is_not_noted_as_sent(tmp_path: Path) -> None:
    first: list[int] = []

    def trouble(number: int) -> None:
        first.append(number)
        if len(first) == 1:
            raise Denied("not this one")  # The second door takes its batch.

    path, server, told = tmp_path / "metrics.csv", MemoryInflux(trouble=trouble), Told()
    path.write_bytes(lines(100))
    with pytest.raises(Denied):
        send(path, server, told, doors=2)
    assert told.lines == 0
    assert send(path, server).lines == 100


def test_bad_lines_are_named_and_do_not_stop_the_rest(tmp_path: Path) -> None:
    path, server, told = tmp_path / "metrics.csv", MemoryInflux(hates=[b"worker=13"]), Told()
    hated = WRITER.line(a_sample(worker=13), NOON + 999)[0]
    path.write_bytes(lines(40) + b"rubbish\n" + lines(20, 40) + hated + lines(20, 60) + b"\n")
    sent = send(path, server, told)
    assert (sent.lines, sent.refused) == (80, 2)
    assert [(name, line) for name, line, _ in told.refused] == [("metrics.csv", 41), ("metrics.csv", 62)]
    assert [message[:13] for _, _, message in told.refused] == ["this is no li", "partial write"]
    assert len(server.points) == 80

    path.write_bytes(path.read_bytes() + b"more rubbish\n")  # The numbers go on where it goes on.
    told = Told()
    send(path, server, told)
    assert [line for _, line, _ in told.refused] == [84]


def test_a_torn_archive_gives_what_it_has_and_is_named(tmp_path: Path) -> None:
    path, server = tmp_path / "metrics-2026-10-27.csv.gz", MemoryInflux()
    content = gzip.compress(lines(1000), compresslevel=1)
    path.write_bytes(content[: len(content) * 3 // 4])
    with pytest.raises(MetricsError, match="torn"):
        send(path, server)
    assert 0 < len(server.points) < 1000
    path.write_bytes(content)
    before = len(server.points)
    assert send(path, server).lines == 1000 - before


def test_how_much_is_read_at_once_is_bounded(tmp_path: Path) -> None:
    path, server = tmp_path / "metrics.csv", MemoryInflux()
    path.write_bytes(lines(100))
    parts = []
    while part := send(path, server, most=8192).lines:
        parts.append(part)
    assert sum(parts) == 100
    assert max(parts) <= 8192 // len(lines(1)) + 2 * (4096 // len(lines(1)) + 1)
    assert b"".join(server.bodies) == lines(100)


def test_a_file_that_is_gone_or_empty(tmp_path: Path) -> None:
    with pytest.raises(FileVanished):
        send(tmp_path / "metrics.csv", MemoryInflux())
    (tmp_path / "metrics.csv").write_bytes(b"no line ye")
    assert send(tmp_path / "metrics.csv", MemoryInflux()) == Sent()


def test_progress_adds_up_to_the_file(tmp_path: Path) -> None:
    path, told = tmp_path / "metrics.csv", Told()
    path.write_bytes(lines(100))
    send(path, MemoryInflux(), told)
    assert (told.size, told.lines) == (len(lines(100)), 100)
    path.write_bytes(lines(110))
    told = Told()
    send(path, MemoryInflux(), told)
    assert (told.size, told.lines) == (len(lines(110)), 10)


def test_a_folder_that_cannot_be_written_costs_the_memory_of_the_import_only(tmp_path: Path) -> None:
    path, server, told = tmp_path / "metrics.csv", MemoryInflux(), Told()
    path.write_bytes(lines(10))
    (tmp_path / f".imported-{KEY}.json").mkdir()
    assert send(path, server, told).lines == 10
    assert "cannot be noted" in told.troubles[0]


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"a": 1}', b'{"a": [1, 2, 3]}', b'{"a": ["x", 2, "d", null]}'])
def test_a_state_file_that_is_none_of_ours_means_that_nothing_was_sent(tmp_path: Path, content: bytes) -> None:
    (tmp_path / f".imported-{KEY}.json").write_bytes(content)
    files = SentFiles(tmp_path, KEY)
    assert files.place("a") == Place()
    files.note("a", Place(1, 1, "d"), ("metrics.csv", 1, 2))
    files.save()
    assert SentFiles(tmp_path, KEY).place("a") == Place(1, 1, "d")
    assert SentFiles(tmp_path, KEY).ended(("metrics.csv", 1, 2))


def test_what_is_remembered_is_bounded(tmp_path: Path) -> None:
    files = SentFiles(tmp_path, KEY)
    for number in range(MOST_FILES + 5):
        files.note(str(number), Place(number, 1, ""))
    assert files.place("4") == Place()
    assert files.place("5") == Place(5, 1, "")


def test_each_server_has_its_own_state(tmp_path: Path) -> None:
    path = tmp_path / "metrics.csv"
    path.write_bytes(lines(10))
    send(path, MemoryInflux())
    with Feed([MemoryInflux()], Told().reports) as feed:
        assert feed.send(path, SentFiles(tmp_path, "another")).lines == 10
