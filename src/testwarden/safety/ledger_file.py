"""The ledger's file: its tables, how it is made, opened, and put aside where it is no ledger."""

from __future__ import annotations

import os
import sqlite3
from datetime import datetime
from pathlib import Path

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
FROM_1_TO_2 = (
    "ALTER TABLE attempts ADD COLUMN origin TEXT NOT NULL DEFAULT 'public'",
    "DROP INDEX attempts_of_type",
    "CREATE INDEX attempts_of_type ON attempts (type, origin, at)",
    "PRAGMA user_version = 2",
)


def create(path: Path) -> None:
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


def connect(path: Path) -> sqlite3.Connection:
    """Open the file for any thread. What is committed is in the file, and not yet on the disk."""
    db = sqlite3.connect(path, timeout=5, isolation_level=None, check_same_thread=False)
    db.execute("PRAGMA journal_mode = WAL")
    db.execute("PRAGMA synchronous = NORMAL")
    return db


def flush(descriptor: int) -> None:
    """Return when what was written to a file is on the disk."""
    getattr(os, "fdatasync", os.fsync)(descriptor)  # macOS has no fdatasync


def is_ledger(path: Path) -> bool:
    """Whether a file is a whole SQLite database with our tables, of whatever version."""
    if path.stat().st_size == 0:
        return False
    db = sqlite3.connect(path, timeout=5)
    try:
        if db.execute("PRAGMA user_version").fetchone()[0] > VERSION:
            return True  # not ours to judge: the ledger says so
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


def put_aside(path: Path, now: datetime) -> Path:
    """Give a file that is no ledger another name; return that."""
    aside = path.with_name(f"{path.name}.lost-{now:%Y%m%dT%H%M%S%f}")
    path.rename(aside)
    for suffix in ("-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)
    return aside
