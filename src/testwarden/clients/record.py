"""The record of what runs: written by the keeper, read at the next start. And the few facts of /proc that both need.

The keeper imports this: no pathlib, no dataclasses, they would lengthen its start.
"""

from __future__ import annotations

import os

SLOT = 80
"""Bytes a line of the record. The first holds the mark of the run; each other one pid, start time (ticks since boot)
and boot of a process, the keeper first, or it is blank."""
MARK = "TESTWARDEN_CHILD"
"""Name of a variable in the environment of every client. Its value is the mark of the run, a random number."""


def stat_of(pid: int) -> tuple[int, int, int] | None:
    """Given a pid, return parent, session and start time (ticks since boot). None: it does not live, or no /proc."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:  # noqa: PTH123 - pathlib: see above
            fields = file.read().rpartition(b")")[2].split()
    except OSError:
        return None
    return None if fields[0] in (b"Z", b"X") else (int(fields[1]), int(fields[3]), int(fields[19]))


def all_pids() -> list[int]:
    """Return the pid of every process that /proc shows; none where there is no /proc."""
    try:
        return [int(name) for name in os.listdir("/proc") if name.isdigit()]  # noqa: PTH208 - as above
    except OSError:
        return []


def boot_id() -> str:
    """Return what tells this boot from others, `-` where the system does not say."""
    try:
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:  # noqa: PTH123 - as above
            return file.read().strip()
    except OSError:
        return "-"


class Record:
    """What runs, in a file for whoever starts next: lines of SLOT bytes, one per process, each written in place.

    In place, because then an attempt costs two small writes, the file never grows and a full disk does no harm.
    """

    def __init__(self, fd: int) -> None:
        """Given the open file with its first line."""
        self._fd = fd
        self._boot = boot_id()
        self._used: set[int] = set()

    def enter(self, pid: int) -> int:
        """Given a process, note it down; return the slot to `leave` with."""
        slot = next(number for number in range(len(self._used) + 1) if number not in self._used)
        self._used.add(slot)
        stat = stat_of(pid)
        self._write(slot, f"{pid} {stat[2] if stat else 0} {self._boot}")
        return slot

    def leave(self, slot: int) -> None:
        """Given the slot of a process that is gone, free it."""
        self._used.discard(slot)
        self._write(slot, "")

    def _write(self, slot: int, line: str) -> None:
        try:
            os.pwrite(self._fd, line.ljust(SLOT - 1).encode() + b"\n", (slot + 1) * SLOT)
        except OSError:
            pass  # the record is for the case that all else fails; no reason to fail here
