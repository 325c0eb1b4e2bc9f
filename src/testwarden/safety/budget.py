"""The ledger: durable sliding budgets of attempts, bytes and money, and the audit of what this machine did.

One SQLite file, exact across threads and processes: each decision is one `BEGIN IMMEDIATE` transaction that counts
and inserts. It is in the file before the attempt starts, so no crash of the agent gives budget back. It is on its way to
the disk by then and has got there before the attempt is settled: a power cut forgets at most what began within the last
milliseconds. Funds are on the disk before anything is paid.

Settling as a rule lowers a reservation to what was really used, so it need not be waited for: it is noted in memory and
part of whatever transaction comes next. An agent that is killed before that leaves the reservation.

**The ledger's own time.** A row's `at` counts seconds that nobody can set. Within one boot it advances with the steady
clock, whatever the wall clock does. A new boot goes on from the wall clock, but never from before the newest row: a
clock set back therefore neither blocks for hours (the rows do not lie in the future) nor gives the budget out twice
(they do not vanish either).
"""

from __future__ import annotations

import logging
import os
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
from testwarden.safety import ledger_file
from testwarden.safety.flushing import Flusher, Ticket

HOUR = 3600.0
DAY = 86400.0
DAY_OF_USE = DAY + HOUR
"""A row counts from its start, and what an attempt moves and pays may come up to an hour later."""
KEEP = 35 * DAY

_log = logging.getLogger(__name__)


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
        self._tickets: dict[int, Ticket] = {}
        """What to wait for before an attempt is settled, by permit."""
        self._closed = False
        self._unsettled: list[tuple[object, ...]] = []
        self.lost = ""
        """Where a garbled ledger was put; empty as a rule."""
        try:
            lost = path.exists() and not ledger_file.is_ledger(path)
            if lost:
                self.lost = str(ledger_file.put_aside(path, now.utc))
            if not path.exists():
                ledger_file.create(path)
            self._connection = ledger_file.connect(path)
            self._prepare(now, lost)
            self._wal = os.open(f"{path}-wal", os.O_RDWR | os.O_CLOEXEC)
        except (sqlite3.Error, OSError) as problem:
            raise LedgerError(f"{path}: {problem}") from problem
        self._flusher = Flusher(lambda: ledger_file.flush(self._wal))

    def _prepare(self, now: Moment, lost: bool) -> None:
        with self._transaction() as db:
            version = db.execute("PRAGMA user_version").fetchone()[0]
            if version > ledger_file.VERSION:
                raise LedgerError(
                    f"{self._path} was written by a newer testwarden (format {version}, this one knows {ledger_file.VERSION}): "
                    "install that version again, or use another agent.cache_dir"
                )
            if version == 1:
                for statement in ledger_file.FROM_1_TO_2:
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
        self._flusher.check()
        with self._edge(), self._transaction(durable=False) as db:
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
            permit = int(cursor.lastrowid or 0)
        self._tickets[permit] = self._flusher.ask()
        return Spent(permit)

    def settle(self, permit: int, moved: int, outcome: str, now: datetime, *, final: bool = True) -> None:
        """Given what an attempt moved and how it ended, note it. More than was reserved counts, too.

        Not `final`: it is known only that at least so much was moved, and what was reserved stays used.
        """
        ticket = self._tickets.pop(permit, None)
        if ticket is not None:
            self._flusher.wait(ticket)
        with self._lock:
            if self._closed:
                raise LedgerError("the ledger is closed already")
            self._unsettled.append((moved, final, outcome, now.isoformat(timespec="milliseconds"), permit))

    def reserve_funds(self, permit: int, cost: Decimal, cap: Decimal, now: Moment) -> Shortage | None:
        """Given what an upload may cost, take it out of the day's cap, in ANT; return why not if it does not fit."""
        self._flusher.check()
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
        """Settle what is to be settled, and close the file. A second time does nothing."""
        with self._lock:
            closed, self._closed = self._closed, True
        if closed:
            return
        try:
            with self._edge(), self._transaction():
                pass
        except LedgerError as problem:
            _log.warning("%d attempts could not be settled, they count as reserved: %s", len(self._unsettled), problem)
        self._flusher.close()
        with self._lock:
            self._connection.close()
            os.close(self._wal)

    @contextmanager
    def _transaction(self, *, durable: bool = True) -> Iterator[sqlite3.Connection]:
        """One writer at a time, in this process by the lock, among processes by IMMEDIATE. `durable`: on the disk then."""
        with self._lock:
            db = self._connection
            if durable:
                db.execute("PRAGMA synchronous = FULL")
            try:
                db.execute("BEGIN IMMEDIATE")
                settled = self._settle(db)
                yield db
                db.execute("COMMIT")
            except BaseException:
                if db.in_transaction:
                    db.execute("ROLLBACK")
                raise
            finally:
                if durable:
                    db.execute("PRAGMA synchronous = NORMAL")
            del self._unsettled[:settled]

    def _settle(self, db: sqlite3.Connection) -> int:
        """Settle what waits for it, in order; return how many these were."""
        waiting = self._unsettled[:]
        if waiting:
            db.executemany(
                "UPDATE attempts SET bytes = MAX(?, CASE WHEN ? THEN 0 ELSE bytes END), outcome = ?, ended = ? WHERE id = ?",
                waiting,
            )
        return len(waiting)

    @contextmanager
    def _edge(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as problem:
            raise LedgerError(f"{self._path}: {problem}") from problem


def _ledger_time(db: sqlite3.Connection, now: Moment) -> float:
    """Return the ledger's own time at `now`; the first call in a boot ties that boot to it."""
    newest, base = db.execute(
        "SELECT COALESCE((SELECT MAX(at) FROM attempts), 0.0), (SELECT base FROM boots WHERE boot = ?)", (now.boot,)
    ).fetchone()
    if base is None:
        base = max(newest, now.utc.timestamp()) - now.steady
        db.execute("DELETE FROM boots")
        db.execute("INSERT INTO boots VALUES (?, ?)", (now.boot, base))
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
