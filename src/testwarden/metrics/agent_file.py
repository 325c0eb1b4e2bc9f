"""agent.csv: the lines about the agent itself. It rotates by day, like the others, and packed and dropped with them."""

from __future__ import annotations

import logging
import re
from datetime import date, datetime, timezone
from pathlib import Path

from testwarden.metrics.disk import Disk, end_of_lines, lines_forward, size_of
from testwarden.metrics.fold import day_of
from testwarden.metrics.rotation import Archive
from testwarden.metrics.summary import NS_PER_MINUTE

AGENT = "agent.csv"
_STAMP = re.compile(rb" (\d+)\n")
_log = logging.getLogger(__name__)


class AgentFile:
    """Appends one line at a time, each in one write. To be called by whoever folds, right after the fold."""

    def __init__(self, folder: Path, disk: Disk | None = None) -> None:
        """Given the folder of the metrics."""
        self._folder = folder
        self._path = folder / AGENT
        self._disk = disk or Disk()
        self._trouble = ""

    def append(self, line: bytes, now: datetime) -> None:
        """Given a finished line and the time, write it, into a new file on a new day. A disk that cannot be written is
        said once, not raised: of these lines one may be missing, the next one tells the same."""
        try:
            self._append(line, now.astimezone(timezone.utc).date())
        except OSError as problem:
            if str(problem) != self._trouble:
                _log.warning("%s cannot be written: %s", self._path, problem)
            self._trouble = str(problem)
        else:
            self._trouble = ""

    def _append(self, line: bytes, today: date) -> None:
        self._disk.make_folder(self._folder)
        if end_of_lines(self._path) < size_of(self._path):
            self._disk.truncate(self._path, end_of_lines(self._path))  # What a power cut or a full disk left.
        began = self._began()
        if began is not None and began != today:
            self._disk.rename(self._path, self._free_name(began))
        descriptor = self._disk.open_append(self._path)
        try:
            self._disk.write_all(descriptor, line)
        finally:
            self._disk.close(descriptor)

    def _began(self) -> date | None:
        for block in lines_forward(self._path):
            if found := _STAMP.search(block):
                return day_of(int(found[1]) // NS_PER_MINUTE)
        return None

    def _free_name(self, day: date) -> Path:
        """The name of the next archive of that day: the recorder's archives pack it with the next fold."""
        number = 1
        while any((self._folder / Archive(day, number, "agent", packed=p).name).exists() for p in (False, True)):
            number += 1
        return self._folder / Archive(day, number, "agent", packed=False).name
