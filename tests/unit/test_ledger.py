"""The budgets: exact, durable, on a clock that nobody can set."""

from __future__ import annotations

import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import closing
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from testwarden.errors import LedgerError
from testwarden.model import FileSize, Moment, TestType
from testwarden.safety import ledger_file
from testwarden.safety.budget import Caps, Entry, Ledger, Shortage, Spent

NOON = datetime(2026, 11, 21, 12, tzinfo=timezone.utc)
PLENTY = 10**12


def at(seconds: float, *, wall: float | None = None, boot: str = "boot-1") -> Moment:
    return Moment(NOON + timedelta(seconds=seconds if wall is None else wall), 50.0 + seconds, boot)


def entry(kind: TestType = TestType.DOWNLOAD, size: int = 0) -> Entry:
    return Entry(kind, FileSize.TINY, "001", 1, "seed-1-100", "abc", size)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ledger.db"


@pytest.fixture
def ledger(path: Path) -> Iterator[Ledger]:
    made = Ledger(path, at(0))
    yield made
    made.close()


def fill(ledger: Ledger, count: int, caps: Caps, *, step: float = 1.0) -> None:
    for number in range(count):
        assert isinstance(ledger.spend(entry(), caps, at(number * step)), Spent)


def test_the_360th_attempt_starts_and_the_361st_does_not(ledger: Ledger) -> None:
    caps = Caps(360, PLENTY)
    fill(ledger, 360, caps)
    short = ledger.spend(entry(), caps, at(3599))
    assert isinstance(short, Shortage)
    assert "360 download attempts" in short.reason


def test_the_hour_slides_across_two_cycles(ledger: Ledger) -> None:
    caps = Caps(2, PLENTY)
    ledger.spend(entry(), caps, at(3500))
    ledger.spend(entry(), caps, at(3550))
    assert isinstance(ledger.spend(entry(), caps, at(3700)), Shortage)
    assert isinstance(ledger.spend(entry(), caps, at(7100)), Shortage), "3600 s are a closed span"
    assert isinstance(ledger.spend(entry(), caps, at(7100.01)), Spent)


def test_a_shortage_says_when_to_try_again_and_then_there_is_budget(ledger: Ledger) -> None:
    caps = Caps(3, PLENTY)
    fill(ledger, 3, caps)
    short = ledger.spend(entry(), caps, at(10))
    assert isinstance(short, Shortage)
    assert short.next_try is not None
    wait = (short.next_try - NOON).total_seconds()
    assert isinstance(ledger.spend(entry(), caps, at(wait)), Spent)


def test_types_have_budgets_of_their_own(ledger: Ledger) -> None:
    caps = Caps(1, PLENTY)
    ledger.spend(entry(), caps, at(0))
    assert isinstance(ledger.spend(entry(TestType.QUOTE), caps, at(0)), Spent)


def test_a_restart_gives_nothing_back(ledger: Ledger, path: Path) -> None:
    caps = Caps(2, PLENTY)
    fill(ledger, 2, caps)
    ledger.close()
    again = Ledger(path, at(5))
    assert isinstance(again.spend(entry(), caps, at(5)), Shortage)
    again.close()


@pytest.mark.parametrize("wall", [-5400.0, 5400.0])
def test_a_clock_that_is_set_changes_nothing_within_a_boot(ledger: Ledger, path: Path, wall: float) -> None:
    caps = Caps(2, PLENTY)
    fill(ledger, 2, caps)
    ledger.close()
    again = Ledger(path, at(10, wall=wall))
    assert isinstance(again.spend(entry(), caps, at(10, wall=wall)), Shortage)
    assert isinstance(again.spend(entry(), caps, at(3700, wall=wall + 3690)), Spent)
    again.close()


def test_a_clock_set_back_across_a_reboot_neither_blocks_for_hours_nor_gives_out_twice(
    ledger: Ledger, path: Path
) -> None:
    caps = Caps(2, PLENTY)
    fill(ledger, 2, caps)
    ledger.close()
    again = Ledger(path, at(0, wall=-36000, boot="boot-2"))
    assert isinstance(again.spend(entry(), caps, at(0, wall=-36000, boot="boot-2")), Shortage)
    assert isinstance(again.spend(entry(), caps, at(3601, wall=-32399, boot="boot-2")), Spent)
    again.close()


def test_bytes_are_reserved_and_then_settled_to_what_was_moved(ledger: Ledger) -> None:
    caps = Caps(100, 1000)
    first = ledger.spend(entry(size=900), caps, at(0))
    assert isinstance(first, Spent)
    assert isinstance(ledger.spend(entry(size=900), caps, at(1)), Shortage)
    ledger.settle(first.permit, 50, "ok", NOON)
    assert ledger.usage(at(2)).bytes == 50
    assert isinstance(ledger.spend(entry(size=900), caps, at(2)), Spent)


def test_a_byte_shortage_says_when_enough_of_the_day_has_slid_out(ledger: Ledger) -> None:
    caps = Caps(100, 1000)
    for start in (0, 100, 200):
        ledger.spend(entry(size=300), caps, at(start))
    short = ledger.spend(entry(size=600), caps, at(300))
    assert isinstance(short, Shortage)
    assert short.next_try is not None
    assert (short.next_try - NOON).total_seconds() == pytest.approx(90100, abs=0.1)


def test_what_may_have_been_moved_stays_reserved(ledger: Ledger) -> None:
    first = ledger.spend(entry(size=900), Caps(100, 1000), at(0))
    assert isinstance(first, Spent)
    ledger.settle(first.permit, 50, "network_error", NOON, final=False)
    assert ledger.usage(at(1)).bytes == 900


def test_an_attempt_larger_than_the_cap_never_fits(ledger: Ledger) -> None:
    short = ledger.spend(entry(size=2000), Caps(100, 1000), at(0))
    assert isinstance(short, Shortage)
    assert short.next_try is None


def test_an_attempt_whose_agent_died_keeps_its_reservation(ledger: Ledger, path: Path) -> None:
    ledger.spend(entry(size=700), Caps(100, 1000), at(0))
    ledger.close()
    again = Ledger(path, at(1))
    assert again.usage(at(1)).bytes == 700
    again.close()


def test_funds_never_pass_the_cap_with_two_workers_at_once(ledger: Ledger) -> None:
    caps = Caps(100, PLENTY)
    permits = [ledger.spend(entry(TestType.UPLOAD), caps, at(0)) for _ in range(8)]
    gate = threading.Barrier(8)
    refusals: list[bool] = []

    def worker(permit: Spent | Shortage) -> None:
        assert isinstance(permit, Spent)
        gate.wait()
        refusals.append(ledger.reserve_funds(permit.permit, Decimal("0.3"), Decimal(1), at(0)) is not None)

    threads = [threading.Thread(target=worker, args=(permit,)) for permit in permits]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert refusals.count(False) == 3
    assert ledger.usage(at(0)).spent == Decimal("0.9")


def test_what_was_paid_replaces_the_reservation(ledger: Ledger) -> None:
    permit = ledger.spend(entry(TestType.UPLOAD), Caps(9, PLENTY), at(0))
    assert isinstance(permit, Spent)
    assert ledger.reserve_funds(permit.permit, Decimal("0.4"), Decimal(1), at(0)) is None
    ledger.settle_funds(permit.permit, Decimal("0.000000000000000001"))
    assert ledger.usage(at(0)).spent == Decimal("0.000000000000000001")
    assert ledger.usage(at(90001)).spent == 0


@pytest.mark.parametrize("content", [b"", b"garbage" * 1000])
def test_a_garbled_ledger_is_put_aside_and_nothing_starts_for_a_day(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    ledger = Ledger(path, at(0))
    assert Path(ledger.lost).read_bytes() == content
    short = ledger.spend(entry(), Caps(9, PLENTY), at(1))
    assert isinstance(short, Shortage)
    assert "was lost" in short.reason
    assert isinstance(ledger.spend(entry(), Caps(9, PLENTY), at(86401)), Spent)
    ledger.close()


def test_a_cut_off_ledger_is_noticed(ledger: Ledger, path: Path) -> None:
    fill(ledger, 50, Caps(360, PLENTY))
    ledger.close()
    path.write_bytes(path.read_bytes()[:6000])
    again = Ledger(path, at(60))
    assert again.lost
    again.close()


def test_a_ledger_of_a_newer_version_is_left_alone(path: Path) -> None:
    db = sqlite3.connect(path)
    db.execute("PRAGMA user_version = 99")
    db.execute("CREATE TABLE future (x)")
    db.commit()
    db.close()
    with pytest.raises(LedgerError, match="newer testwarden"):
        Ledger(path, at(0))


def test_a_creation_that_was_killed_halfway_leaves_no_lost_ledger(path: Path) -> None:
    path.with_name("ledger.db.new").write_bytes(b"half")
    ledger = Ledger(path, at(0))
    assert not ledger.lost
    ledger.close()


def test_the_file_is_for_its_owner_only(ledger: Ledger, path: Path) -> None:
    assert path.stat().st_mode & 0o777 == 0o600


def test_notes_survive_a_restart(ledger: Ledger, path: Path) -> None:
    ledger.note("switch", "issue 7")
    ledger.close()
    again = Ledger(path, at(1))
    assert again.noted("switch") == "issue 7"
    assert again.noted("other") == ""
    again.close()


class SlowFlush:
    """A disk that takes its time, and may fail."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, problem: OSError | None = None) -> None:
        self.begun, self.let_end = threading.Event(), threading.Event()
        self._problem = problem
        monkeypatch.setattr(ledger_file, "flush", self._flush)

    def _flush(self, _descriptor: int) -> None:
        self.begun.set()
        assert self.let_end.wait(30)
        if self._problem:
            raise self._problem


def rows(path: Path, what: str) -> list[tuple[object, ...]]:
    """What somebody else sees in the file at this moment."""
    with closing(sqlite3.connect(path)) as db:
        return db.execute(f"SELECT {what} FROM attempts ORDER BY id").fetchall()  # noqa: S608 - our own words


def test_an_attempt_starts_while_it_is_flushed_and_is_settled_when_that_has_ended(
    ledger: Ledger, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = SlowFlush(monkeypatch)
    given = ledger.spend(entry(), Caps(9, PLENTY), at(0))
    assert isinstance(given, Spent)
    assert rows(path, "COUNT(*)") == [(1,)], "what a killed agent leaves"
    assert disk.begun.wait(30)
    settling = threading.Thread(target=ledger.settle, args=(given.permit, 1, "ok", NOON))
    settling.start()
    settling.join(0.2)
    assert settling.is_alive()
    disk.let_end.set()
    settling.join(30)
    assert not settling.is_alive()


def test_a_flush_that_fails_is_told_and_nothing_is_spent_any_more(
    ledger: Ledger, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    SlowFlush(monkeypatch, OSError(5, "Input/output error")).let_end.set()
    given = ledger.spend(entry(), Caps(9, PLENTY), at(0))
    assert isinstance(given, Spent)
    with pytest.raises(LedgerError, match="Input/output error"):
        ledger.settle(given.permit, 1, "ok", NOON)
    for _ in range(2):
        with pytest.raises(LedgerError, match="may not be on the disk"):
            ledger.spend(entry(), Caps(9, PLENTY), at(1))
    with pytest.raises(LedgerError, match="may not be on the disk"):
        ledger.reserve_funds(given.permit, Decimal(1), Decimal(2), at(1))
    assert rows(path, "COUNT(*)") == [(1,)]


def test_what_waits_to_be_settled_is_in_the_file_after_a_close(ledger: Ledger, path: Path) -> None:
    for number in (1, 2):
        given = ledger.spend(entry(size=900), Caps(9, PLENTY), at(number))
        assert isinstance(given, Spent)
        ledger.settle(given.permit, number, "ok", NOON)
    ledger.close()
    assert rows(path, "bytes, outcome") == [(1, "ok"), (2, "ok")]
    with pytest.raises(LedgerError, match="closed"):
        ledger.settle(given.permit, 3, "ok", NOON)


def test_what_could_not_be_settled_is_settled_later(ledger: Ledger, path: Path) -> None:
    given = ledger.spend(entry(size=900), Caps(9, PLENTY), at(0))
    assert isinstance(given, Spent)
    ledger.settle(given.permit, 7, "ok", NOON)
    with closing(sqlite3.connect(path)) as db:
        for table in ("attempts", "boots"):  # the settling itself fails, and what it is a part of
            db.execute(f"ALTER TABLE {table} RENAME TO elsewhere")
            with pytest.raises(LedgerError):
                ledger.usage(at(1))
            db.execute(f"ALTER TABLE elsewhere RENAME TO {table}")
    assert ledger.usage(at(1)).bytes == 7


def test_only_what_is_about_money_waits_for_the_disk(ledger: Ledger) -> None:
    given = ledger.spend(entry(TestType.UPLOAD), Caps(9, PLENTY), at(0))
    assert isinstance(given, Spent)
    told: list[str] = []
    ledger._connection.set_trace_callback(told.append)
    ledger.spend(entry(), Caps(9, PLENTY), at(0))
    assert not [statement for statement in told if "synchronous" in statement]
    ledger.reserve_funds(given.permit, Decimal(1), Decimal(2), at(0))
    order = [
        word for statement in told for word in ("FULL", "UPDATE attempts SET spent", "NORMAL") if word in statement
    ]
    assert order == ["FULL", "UPDATE attempts SET spent", "NORMAL"]


SPEND_AND_DIE = """
import os, signal, sys
from pathlib import Path
sys.path.insert(0, {unit!r})
from test_ledger import Caps, Ledger, at, entry
ledger = Ledger(Path({path!r}), at(0))
for _ in range(2):
    ledger.spend(entry(), Caps(2, 10**12), at(0))
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_an_agent_that_is_killed_as_an_attempt_starts_has_spent_it(path: Path) -> None:
    child = SPEND_AND_DIE.format(unit=str(Path(__file__).parent), path=str(path))
    assert subprocess.run([sys.executable, "-c", child], check=False, timeout=60).returncode == -signal.SIGKILL
    again = Ledger(path, at(1))
    assert isinstance(again.spend(entry(), Caps(2, PLENTY), at(1)), Shortage)
    again.close()


class AgainstPlainModel(RuleBasedStateMachine):
    """Any order of attempts, waiting, clock jumps, restarts and reboots: no 3600 s hold more starts than the limit."""

    LIMIT = 3

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.path = Path(self.folder.name) / "ledger.db"
        self.true_time, self.wall, self.steady, self.boot = 0.0, 0.0, 0.0, 1
        self.starts: list[float] = []
        self.off_seconds = 0.0
        self.ledger = Ledger(self.path, self.now())

    def now(self) -> Moment:
        return Moment(NOON + timedelta(seconds=self.wall), self.steady, f"boot-{self.boot}")

    @rule(seconds=st.sampled_from([0.0, 1.0, 600.0, 1799.0, 3599.0, 3600.0, 3601.0]))
    def wait(self, seconds: float) -> None:
        self.true_time += seconds
        self.wall += seconds
        self.steady += seconds

    @rule(seconds=st.sampled_from([-90000.0, -5400.0, -1.0, 1.0, 5400.0]))
    def set_clock(self, seconds: float) -> None:
        self.wall += seconds

    @rule()
    def restart(self) -> None:
        self.ledger.close()
        self.ledger = Ledger(self.path, self.now())

    @rule(back=st.sampled_from([0.0, -5400.0, -90000.0]))
    def reboot(self, back: float) -> None:
        """The clock may come back wrong after a reboot, but not ahead: that is what the Date check is for."""
        self.ledger.close()
        self.wall = min(self.wall, self.true_time) + back
        self.boot += 1
        self.steady = 0.0
        self.ledger = Ledger(self.path, self.now())

    @rule()
    def attempt(self) -> None:
        if isinstance(self.ledger.spend(entry(), Caps(self.LIMIT, PLENTY), self.now()), Spent):
            self.starts.append(self.true_time)

    @rule()
    def after_a_quiet_hour_there_is_budget_again(self) -> None:
        self.wait(3601.0)
        assert isinstance(self.ledger.spend(entry(), Caps(self.LIMIT, PLENTY), self.now()), Spent)
        self.starts.append(self.true_time)

    @invariant()
    def no_hour_holds_more(self) -> None:
        for first, last in zip(self.starts, self.starts[self.LIMIT :], strict=False):
            assert last - first > 3600

    def teardown(self) -> None:
        self.ledger.close()
        self.folder.cleanup()


test_against_a_plain_model = AgainstPlainModel.TestCase
AgainstPlainModel.TestCase.settings = settings(max_examples=60, stateful_step_count=25, deadline=None)


FIRST_FORMAT = """
CREATE TABLE attempts (
    id INTEGER PRIMARY KEY,
    at REAL NOT NULL,                       -- the ledger's own time, seconds
    started TEXT NOT NULL,                  -- UTC, for the audit
    ended TEXT,
    type TEXT NOT NULL,
    filesize TEXT NOT NULL,
    task TEXT NOT NULL,
    worker INTEGER NOT NULL,
    target TEXT NOT NULL,
    commit_id TEXT NOT NULL,
    bytes INTEGER NOT NULL,                 -- reserved; once settled: moved
    spent TEXT,                             -- ANT, reserved; once settled: paid
    outcome TEXT                            -- NULL: running, or the agent died during it
);
CREATE INDEX attempts_of_type ON attempts (type, at);
CREATE INDEX attempts_bytes ON attempts (at, bytes);
CREATE INDEX attempts_spent ON attempts (at, spent) WHERE spent IS NOT NULL;
CREATE TABLE boots (boot TEXT PRIMARY KEY, base REAL NOT NULL);
CREATE TABLE notes (name TEXT PRIMARY KEY, value TEXT NOT NULL);
PRAGMA user_version = 1;
INSERT INTO boots VALUES ('boot-1', %r);
INSERT INTO attempts (at, started, type, filesize, task, worker, target, commit_id, bytes)
VALUES (%r, '2026-11-21T12:00:00+00:00', 'download', 'tiny', '001', 1, 'seed-1-100', 'abc', 7);
"""


def test_a_ledger_of_the_first_format_is_taken_over_with_what_it_holds(path: Path) -> None:
    db = sqlite3.connect(path, isolation_level=None)
    db.executescript(FIRST_FORMAT % (NOON.timestamp() - 50.0, NOON.timestamp()))
    db.close()
    for _ in range(2):  # the second time there is nothing left to take over
        again = Ledger(path, at(1))
        assert not again.lost
        usage = again.usage(at(1))
        assert (usage.attempts, usage.own, usage.bytes) == ({TestType.DOWNLOAD: 1}, {}, 7)
        again.close()
    last = Ledger(path, at(1))
    assert isinstance(last.spend(entry(), Caps(2, PLENTY), at(1)), Spent)
    assert isinstance(last.spend(entry(), Caps(2, PLENTY), at(1)), Shortage)
    last.close()
