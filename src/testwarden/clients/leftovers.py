"""What an earlier run of the agent left running: found by its record, ended, and nothing else is touched.

It takes a keeper that was killed, too, to leave something behind; see `keeper.py`. Only Linux has what this needs;
elsewhere nothing is found.
"""

from __future__ import annotations

import os
import re
import signal
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from testwarden.clients.record import MARK, all_pids, boot_id, stat_of
from testwarden.errors import ProcessError

MARK_SHAPE = re.compile(r"[0-9a-f]{32}")
"""What a mark looks like: anything shorter could be somebody else's, by a damaged record."""
KEEPER_PATIENCE = 3.0  # seconds that a keeper which lost its agent gets to end everything by itself
KILLED_PATIENCE = 2.0  # seconds to wait for what was killed; only uninterruptible sleep takes that long


@dataclass(frozen=True)
class Recorded:
    """A process that an earlier run started."""

    pid: int
    started: int
    """Ticks since boot."""

    @property
    def lives(self) -> bool:
        """Whether this very process lives, not another that got its pid."""
        stat = stat_of(self.pid)
        return stat is not None and stat[2] == self.started


def end_leftovers(record: Path) -> list[str]:
    """Given the record of an earlier run, end what is left of it; return one sentence for each process ended.

    Ended are the recorded processes, if boot and start time say that they are the same, what belongs to their sessions,
    and what carries the mark of that run in its environment, wherever it went. Call it before a new keeper gets the
    record, and only while holding the lock of the cache folder. Raise ProcessError when the record cannot be read.
    """
    mark, recorded = _read(record)
    keeper = [process for process in recorded[:1] if process.lives]  # its line is the first
    clients = [process for process in recorded[1:] if process.lives]
    found = dict.fromkeys([*_members(clients), *_marked(mark), *clients, *keeper])
    sentences = [f"ended process {process.pid} ({_name(process)}), left by an earlier run" for process in found]
    for process in keeper:
        _signal(process, signal.SIGCONT)  # should somebody have stopped it; left alone, it ends everything itself
        _wait_until_gone(found, KEEPER_PATIENCE)
    for process in found:  # the keeper last: what loses its parent shall not fall to init
        _signal(process, signal.SIGKILL)
    _wait_until_gone(found, KILLED_PATIENCE)
    return sentences


def _read(record: Path) -> tuple[str, list[Recorded]]:
    """Return the mark of the run, empty where there is none, and what it says to have started since this boot."""
    try:
        lines = record.read_text(encoding="ascii", errors="replace").splitlines()
    except FileNotFoundError:
        return "", []
    except OSError as error:
        raise ProcessError(f"the record of running processes cannot be read: {error}") from error
    marks = [line.strip() for line in lines[:1] if MARK_SHAPE.fullmatch(line.strip())]
    entries = [entry for line in lines[1:] if (entry := _entry(line, boot_id()))]
    return "".join(marks), entries


def _entry(line: str, boot: str) -> Recorded | None:
    words = line.split()
    if len(words) != 3 or words[2] != boot or not (words[0] + words[1]).isdecimal():
        return None  # blank, of another boot, or damaged
    return Recorded(int(words[0]), int(words[1]))


def _members(leaders: Iterable[Recorded]) -> Iterator[Recorded]:
    """Given living leaders of sessions, yield the other processes of these sessions."""
    sessions = {leader.pid for leader in leaders}
    for pid in all_pids() if sessions else ():
        stat = stat_of(pid)
        if stat and stat[1] in sessions and pid not in sessions:
            yield Recorded(pid, stat[2])


def _marked(mark: str) -> Iterator[Recorded]:
    """Given the mark of a run, yield the processes that carry it."""
    variable = f"{MARK}={mark}".encode()
    for pid in all_pids() if mark else ():
        stat = stat_of(pid)
        if stat and variable in _environment(pid):
            yield Recorded(pid, stat[2])


def _environment(pid: int) -> list[bytes]:
    try:
        return Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:
        return []  # gone, or of another user


def _name(process: Recorded) -> str:
    try:
        return Path(f"/proc/{process.pid}/comm").read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return "gone"


def _signal(process: Recorded, which: signal.Signals) -> None:
    try:
        if process.lives:
            os.kill(process.pid, which)
    except (ProcessLookupError, PermissionError):
        pass  # gone meanwhile, or not ours to signal


def _wait_until_gone(processes: Iterable[Recorded], patience: float) -> None:
    until = time.monotonic() + patience
    while any(process.lives for process in processes) and time.monotonic() < until:
        time.sleep(0.01)
