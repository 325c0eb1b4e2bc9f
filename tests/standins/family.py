"""Which processes there are: the descendants of one, and all that carry the mark of a run."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from testwarden.clients.record import MARK


@dataclass(frozen=True)
class Living:
    """A process as it was seen once."""

    pid: int
    started: float
    what: str = field(compare=False)

    @property
    def lives(self) -> bool:
        """Whether this very process lives, not another that got its pid."""
        try:
            now = psutil.Process(self.pid)
            return now.create_time() == self.started and now.status() != psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            return False


def _seen(process: psutil.Process) -> Living | None:
    try:
        return Living(process.pid, process.create_time(), " ".join(process.cmdline())[:200])
    except psutil.Error:
        return None


def below(pid: int) -> set[Living]:
    """Return all descendants of a process."""
    try:
        found = psutil.Process(pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return set()
    return {one for one in map(_seen, found) if one}


def environment_of(pid: int) -> bytes:
    """Return the environment that a process was started with; nothing where it is gone."""
    try:
        return Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:
        return b""


def marked(record: Path) -> set[Living]:
    """Given the record of processes in a cache folder, return every process that carries the mark of its last run."""
    try:
        mark = record.read_text().split("\n")[0].strip()
    except OSError:
        return set()
    return set(_carrying(f"{MARK}={mark}".encode())) if mark else set()


def _carrying(variable: bytes) -> Iterator[Living]:
    for process in psutil.process_iter():
        if variable in environment_of(process.pid).split(b"\0") and (seen := _seen(process)) and seen.lives:
            yield seen
