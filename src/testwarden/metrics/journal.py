"""The journal: where each line is on its way to disk the moment it is recorded."""

from __future__ import annotations

import errno
import logging
import os
from collections import deque
from pathlib import Path

from testwarden.metrics.disk import Disk, end_of_lines, size_of

JOURNAL = "journal.lp"
BATCH = "journal.batch"
MOST_WAITING = 100_000
"""Lines that are kept in memory while the disk takes none."""

_log = logging.getLogger(__name__)


class Journal:
    """`journal.lp`: one write for each line, without fsync, which is enough to survive the agent's SIGKILL.

    A line that the disk does not take waits in memory, and every later line behind it; each call tries again, in order.
    Not thread-safe.
    """

    def __init__(self, folder: Path, disk: Disk, most_waiting: int = MOST_WAITING) -> None:
        """Go on with what an earlier run left; a torn last line is cut off. Raise OSError if that cannot be done."""
        self._path = folder / JOURNAL
        self._batch = folder / BATCH
        self._disk = disk
        self._write = disk.write
        self._most_waiting = most_waiting
        self._waiting: deque[bytes] = deque()
        self._descriptor = -1
        self._trouble = ""
        self.lost = 0
        """Lines that could not be kept: too many waited, or the file was torn."""
        self._good = end_of_lines(self._path)
        if self._good < size_of(self._path):
            self.lost += 1
            _log.warning("%s ended in a torn line, which was dropped", self._path)
        self._reopen()

    @property
    def empty(self) -> bool:
        """Whether there is no line in it, and none waits for it."""
        return not self._good and not self._waiting

    def append(self, line: bytes) -> bool:
        """Given a finished line, return whether it is on its way to disk. If not, it waits in memory or was dropped."""
        if not self._waiting:
            try:
                if self._write(self._descriptor, line) == len(line):
                    self._good += len(line)
                    return True
            except OSError:
                pass  # The retry below cuts off what was written of it, and says what is wrong.
        if len(self._waiting) >= self._most_waiting:
            self.lost += 1
            return False
        self._waiting.append(line)
        return self.retry()

    def retry(self) -> bool:
        """Try to write what waits, in order. Return whether nothing waits any more."""
        waited = len(self._waiting)
        try:
            self._reopen()
            while self._waiting:
                self._write_first()
        except OSError as error:
            self._say(str(error))
            return False
        if self._trouble:
            _log.info("%s can be written again: %d samples had waited", self._path, waited)
            self._trouble = ""
        return True

    def take(self) -> Path | None:
        """Begin a new journal. Return the file that the old one became, None if it had no line or is gone. Raise OSError.

        An earlier batch must be gone: it would be overwritten.
        """
        if self._waiting:
            self.retry()
        if not self._good:
            return None
        batch: Path | None = self._batch
        try:
            self._disk.rename(self._path, self._batch)
        except FileNotFoundError:
            batch = None
            _log.error("somebody deleted %s: the samples in it are lost", self._path)
        self._good = 0
        try:
            self._reopen()
        except OSError:
            self._shut()  # The next line that comes tries again, and says what is wrong.
        return batch

    def close(self) -> None:
        """Give up what still waits, and give back the descriptor. A line that comes later is written all the same."""
        if self._waiting:
            self.retry()
        self.lost += len(self._waiting)
        self._waiting.clear()
        self._shut()

    def _write_first(self) -> None:
        line = self._waiting[0]
        if self._write(self._descriptor, line) != len(line):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self._path))
        self._good += len(line)
        self._waiting.popleft()

    def _reopen(self) -> None:
        """Open the journal, and cut off what was written of a line that did not fit."""
        self._shut()
        self._disk.make_folder(self._path.parent)
        self._descriptor = self._disk.open_append(self._path)
        size = size_of(self._path)
        if size > self._good:
            self._disk.truncate(self._path, self._good)
        self._good = min(self._good, size)

    def _shut(self) -> None:
        if self._descriptor >= 0:
            descriptor, self._descriptor = self._descriptor, -1
            self._disk.close(descriptor)

    def _say(self, trouble: str) -> None:
        if trouble != self._trouble:
            self._trouble = trouble
            _log.warning("%s cannot be written (%s): samples wait in memory", self._path, trouble)
