"""The ledger: durable sliding budgets of attempts, bytes and money, and the audit of what this machine did.

One SQLite file, exact across threads and processes: each decision is one `BEGIN IMMEDIATE` transaction that counts
and inserts. It is on the disk before the attempt starts (`synchronous=FULL`), so neither a crash nor a power cut gives
budget back. Settling afterwards as a rule lowers a reservation to what was really used, so it need not be waited for.

**The ledger's own time.** A row's `at` counts seconds that nobody can set. Within one boot it advances with the steady
clock, whatever the wall clock does. A new boot goes on from the wall clock, but never from before the newest row: a
clock set back therefore neither blocks for hours (the rows do not lie in the future) nor gives the budget out twice
(they do not vanish either).
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path

from testwarden.errors import LedgerError
from testwarden.model import FileSize, Moment, Origin, TestType

HOUR = 3600.0
DAY = 86400.0
DAY_OF_USE = DAY + HOUR
"""A row counts from its start, and what an attempt moves and pays may come up to an hour later."""
KEEP = 35 * DAY
VERSION = 2
"""2: rows know their origin."""

_SCHEMA = """
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
    outcome TEXT,                           -- NULL: running, or the agent died during it
    origin TEXT NOT NULL DEFAULT 'public'
);
CREATE INDEX attempts_of_type ON attempts (type, origin, at);
CREATE INDEX attempts_bytes ON attempts (at, bytes);
CREATE INDEX attempts_spent ON attempts (at, spent) WHERE spent IS NOT NULL;
CREATE TABLE boots (boot TEXT PRIMARY KEY, base REAL NOT NULL);
CREATE TABLE notes (name TEXT PRIMARY KEY, value TEXT NOT NULL);
"""
_FROM_1_TO_2 = (
    "ALTER TABLE attempts ADD COLUMN origin TEXT NOT NULL DEFAULT 'public'",
    "DROP INDEX attempts_of_type",
    "CREATE INDEX attempts_of_type ON attempts (type, origin, at)",
    "PRAGMA user_version = 2",
)


@dataclass(frozen=True)
class Entry:
    """An attempt that asks for budget."""

    type: TestType
    filesize: FileSize | None
    task: str
    worker: int
    target: str
    commit: str
    bytes: int
    """The most that it can move; settled to what it did move."""
    origin: Origin = Origin.PUBLIC


@dataclass(frozen=True)
class Caps:
    """What the ledger holds an entry against."""

    per_hour: int
    bytes_per_day: int


@dataclass(frozen=True)
class Spent:
    """Budget was given."""

    permit: int
    """Names the attempt when it is settled."""


@dataclass(frozen=True)
class Shortage:
    """Budget was not given."""

    reason: str
    next_try: datetime | None
    """When there will be some; None where waiting does not help."""


@dataclass(frozen=True)
class Usage:
    """What was used in the sliding hour and day that end at one moment."""

    attempts: dict[TestType, int]
    """Of public tasks."""
    own: dict[TestType, int]
    """Attempts of own tests."""
    bytes: int
    spent: Decimal


class Ledger:
    """The durable budgets of one cache folder. Any number of threads and processes may hold one on the same file."""

    def __init__(self, path: Path, now: Moment) -> None:
        """Open or create the file. Raise LedgerError if it is unusable or was written by a newer version.

        A file that is there but is not a ledger (garbled, cut off) is put aside. What was spent is then not known, so
        nothing starts until a day has passed.
        """
        self._path = path
        self._lock = threading.Lock()
        self.lost = ""
        """Where a garbled ledger was put; empty as a rule."""
        try:
            lost = path.exists() and not _is_ledger(path)
            if lost:
                self.lost = str(_put_aside(path, now.utc))
            if not path.exists():
                _create(path)
            self._connection = _connect(path)
            self._prepare(now, lost)
        except (sqlite3.Error, OSError) as problem:
            raise LedgerError(f"{path}: {problem}") from problem

    def _prepare(self, now: Moment, lost: bool) -> None:
        with self._transaction() as db:
            version = db.execute("PRAGMA user_version").fetchone()[0]
            if version > VERSION:
                raise LedgerError(
                    f"{self._path} was written by a newer testwarden (format {version}, this one knows {VERSION}): "
                    "install that version again, or use another agent.cache_dir"
                )
            if version == 1:
                for statement in _FROM_1_TO_2:
                    db.execute(statement)
            at = _ledger_time(db, now)
            if lost:
                db.execute("INSERT OR REPLACE INTO notes VALUES ('hold', ?)", (repr(at + DAY),))
            db.execute("DELETE FROM attempts WHERE at < ?", (at - KEEP,))

    def spend(self, entry: Entry, caps: Caps, now: Moment) -> Spent | Shortage:
        """Given an attempt and the caps, take its budget and return the permit, or return why there is none.

        Never more than `per_hour` attempts of a type and origin start in any 3600 s, and never more than `bytes_per_day` are
        reserved and moved in any 86400 s.
        """
        with self._edge(), self._transaction() as db:
            at = _ledger_time(db, now)
            short = _held(db, at) or _too_many(db, at, entry, caps) or _too_much(db, at, entry, caps)
            if short is not None:
                reason, free_at = short
                wait = None if free_at is None else now.utc + timedelta(seconds=free_at - at)
                return Shortage(reason, wait)
            size = entry.filesize.label if entry.filesize else ""
            cursor = db.execute(
                "INSERT INTO attempts (at, started, type, filesize, task, worker, target, commit_id, bytes, origin)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (at, now.utc.isoformat(timespec="milliseconds"), entry.type.value, size, entry.task,
                 entry.worker, entry.target, entry.commit, entry.bytes, entry.origin.value),
            )  # fmt: skip
            return Spent(int(cursor.lastrowid or 0))

    def settle(self, permit: int, moved: int, outcome: str, now: datetime, *, final: bool = True) -> None:
        """Given what an attempt moved and how it ended, note it. More than was reserved counts, too.

        Not `final`: it is known only that at least so much was moved, and what was reserved stays used.
        """
        with self._edge(), self._transaction(durable=False) as db:
            db.execute(
                "UPDATE attempts SET bytes = MAX(?, CASE WHEN ? THEN 0 ELSE bytes END), outcome = ?, ended = ? WHERE id = ?",
                (moved, final, outcome, now.isoformat(timespec="milliseconds"), permit),
            )

    def reserve_funds(self, permit: int, cost: Decimal, cap: Decimal, now: Moment) -> Shortage | None:
        """Given what an upload may cost, take it out of the day's cap, in ANT; return why not if it does not fit."""
        with self._edge(), self._transaction() as db:
            at = _ledger_time(db, now)
            spent = _funds(db, at)
            if spent + cost > cap:
                reason = f"{spent:f} of {cap:f} ANT are spent in 24 h and {cost:f} more would pass limits.spend_per_day"
                return Shortage(reason, None)
            db.execute("UPDATE attempts SET spent = ? WHERE id = ?", (str(cost), permit))
            return None

    def settle_funds(self, permit: int, paid: Decimal) -> None:
        """Given what an upload really paid, in ANT, note it instead of the reservation."""
        with self._edge(), self._transaction() as db:
            db.execute("UPDATE attempts SET spent = ? WHERE id = ?", (str(paid), permit))

    def usage(self, now: Moment) -> Usage:
        """Return what the hour and the day that end now have used."""
        with self._edge(), self._transaction(durable=False) as db:
            at = _ledger_time(db, now)
            return Usage(
                _attempts(db, at, Origin.PUBLIC), _attempts(db, at, Origin.OWN), _bytes(db, at), _funds(db, at)
            )

    def note(self, name: str, value: str) -> None:
        """Remember a short text across restarts."""
        with self._edge(), self._transaction() as db:
            db.execute("INSERT OR REPLACE INTO notes VALUES (?, ?)", (name, value))

    def noted(self, name: str) -> str:
        """Return what was remembered under this name, or an empty text."""
        with self._edge(), self._transaction(durable=False) as db:
            row = db.execute("SELECT value FROM notes WHERE name = ?", (name,)).fetchone()
            return str(row[0]) if row else ""

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._connection.close()

    @contextmanager
    def _transaction(self, *, durable: bool = True) -> Iterator[sqlite3.Connection]:
        """One writer at a time, in this process by the lock, among processes by IMMEDIATE."""
        with self._lock:
            db = self._connection
            db.execute(f"PRAGMA synchronous = {'FULL' if durable else 'NORMAL'}")
            db.execute("BEGIN IMMEDIATE")
            try:
                yield db
            except BaseException:
                db.execute("ROLLBACK")
                raise
            db.execute("COMMIT")

    @contextmanager
    def _edge(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as problem:
            raise LedgerError(f"{self._path}: {problem}") from problem


def _create(path: Path) -> None:
    """Make an empty ledger in one step: an agent that is killed meanwhile leaves none, not half of one."""
    new = path.with_name(path.name + ".new")
    new.unlink(missing_ok=True)
    new.touch(mode=0o600)
    db = sqlite3.connect(new, isolation_level=None)
    try:
        db.executescript(f"{_SCHEMA}; PRAGMA user_version = {VERSION};")
    finally:
        db.close()
    new.rename(path)


def _connect(path: Path) -> sqlite3.Connection:
    db = sqlite3.connect(path, timeout=5, isolation_level=None, check_same_thread=False)
    db.execute("PRAGMA journal_mode = WAL")
    return db


def _is_ledger(path: Path) -> bool:
    """Whether a file is a whole SQLite database with our tables, of whatever version."""
    if path.stat().st_size == 0:
        return False
    db = sqlite3.connect(path, timeout=5)
    try:
        if db.execute("PRAGMA user_version").fetchone()[0] > VERSION:
            return True  # not ours to judge: _prepare says so
        db.execute("SELECT at, bytes, spent FROM attempts LIMIT 1").fetchone()
        return bool(db.execute("PRAGMA quick_check").fetchone()[0] == "ok")
    except sqlite3.OperationalError as problem:
        if "locked" in str(problem):
            raise
        return False
    except sqlite3.DatabaseError:
        return False
    finally:
        db.close()


def _put_aside(path: Path, now: datetime) -> Path:
    aside = path.with_name(f"{path.name}.lost-{now:%Y%m%dT%H%M%S%f}")
    path.rename(aside)
    for suffix in ("-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)
    return aside


def _ledger_time(db: sqlite3.Connection, now: Moment) -> float:
    """Return the ledger's own time at `now`; the first call in a boot ties that boot to it."""
    newest = db.execute("SELECT MAX(at) FROM attempts").fetchone()[0] or 0.0
    row = db.execute("SELECT base FROM boots WHERE boot = ?", (now.boot,)).fetchone()
    if row is None:
        base = max(newest, now.utc.timestamp()) - now.steady
        db.execute("DELETE FROM boots")
        db.execute("INSERT INTO boots VALUES (?, ?)", (now.boot, base))
    else:
        base = row[0]
    return float(max(base + now.steady, newest))


def _held(db: sqlite3.Connection, at: float) -> tuple[str, float | None] | None:
    row = db.execute("SELECT value FROM notes WHERE name = 'hold'").fetchone()
    if row is None or float(row[0]) <= at:
        return None
    return "an earlier ledger was lost, so what was spent is not known: nothing starts for 24 h", float(row[0])


def _attempts(db: sqlite3.Connection, at: float, origin: Origin) -> dict[TestType, int]:
    rows = db.execute(
        "SELECT type, COUNT(*) FROM attempts WHERE at >= ? AND origin = ? GROUP BY type", (at - HOUR, origin.value)
    )
    return {TestType(name): int(count) for name, count in rows}


def _too_many(db: sqlite3.Connection, at: float, entry: Entry, caps: Caps) -> tuple[str, float | None] | None:
    if caps.per_hour <= 0:
        return f"no {entry.type.value} attempts are allowed", None
    row = db.execute(
        "SELECT at FROM attempts WHERE type = ? AND origin = ? AND at >= ? ORDER BY at DESC LIMIT 1 OFFSET ?",
        (entry.type.value, entry.origin.value, at - HOUR, caps.per_hour - 1),
    ).fetchone()
    if row is None:
        return None
    own = "own " if entry.origin is Origin.OWN else ""
    reason = f"the budget of {caps.per_hour} {own}{entry.type.value} attempts in 3600 s is used up"
    return reason, _just_after(row[0] + HOUR)


def _too_much(db: sqlite3.Connection, at: float, entry: Entry, caps: Caps) -> tuple[str, float | None] | None:
    used = _bytes(db, at)
    if used + entry.bytes <= caps.bytes_per_day:
        return None
    reason = f"{used} of {caps.bytes_per_day} bytes a day are used and this attempt may need {entry.bytes}"
    if entry.bytes > caps.bytes_per_day:
        return reason, None
    excess = used + entry.bytes - caps.bytes_per_day
    for row_at, size in db.execute("SELECT at, bytes FROM attempts WHERE at >= ? ORDER BY at", (at - DAY_OF_USE,)):
        excess -= size
        if excess <= 0:
            return reason, _just_after(row_at + DAY_OF_USE)
    return reason, None


def _just_after(free_at: float) -> float:
    # The row that is in the way counts for the whole closed hour or day, so the first free instant lies behind its end.
    return float(free_at) + 0.001


def _bytes(db: sqlite3.Connection, at: float) -> int:
    return int(
        db.execute("SELECT COALESCE(SUM(bytes), 0) FROM attempts WHERE at >= ?", (at - DAY_OF_USE,)).fetchone()[0]
    )


def _funds(db: sqlite3.Connection, at: float) -> Decimal:
    rows = db.execute("SELECT spent FROM attempts WHERE spent IS NOT NULL AND at >= ?", (at - DAY_OF_USE,))
    return sum((Decimal(row[0]) for row in rows), Decimal(0))
