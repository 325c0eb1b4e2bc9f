"""Folding: how the lines of a batch get into metrics.csv and summary.csv, each exactly once, whenever the agent dies.

The batch is given a name that carries the sizes that both files had before: `journal-<metrics>-<summary>.folding`. From
then on there is one operation, and it may be begun as often as needed: cut both files to these sizes, append, sync, and
delete the batch. The deletion is the commit. An agent that dies before that begins it again at its next start.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime, timezone
from pathlib import Path

from testwarden.metrics.disk import Disk, blocks_forward, end_of_lines, lines_backward, lines_forward, size_of
from testwarden.metrics.line_protocol import LineReader
from testwarden.metrics.rotation import METRICS, SUMMARY
from testwarden.metrics.summary import NS_PER_MINUTE, Summary

_STAMP = re.compile(rb" (\d+)\n")
_LINE = re.compile(rb"[^\n]* (\d+)\n")
_NAME = re.compile(r"journal-(\d+)-(\d+)\.folding", re.ASCII)
_FOREVER = 2**63

_log = logging.getLogger(__name__)


@dataclass
class Batch:
    """Lines on their way into the files: the file that holds them and what they say."""

    path: Path
    summary: Summary
    bad: int = 0
    """Lines that are none of ours, as a power cut can leave them. They are left out."""


def day_of(minute: int) -> date:
    """Given a minute since 1970-01-01 UTC, return its day."""
    return datetime.fromtimestamp(minute * 60, tz=timezone.utc).date()


def newest_stamps(path: Path, most: int) -> list[int]:
    """Given a file of lines that need not exist, return the timestamps of its last lines (at most so many), in order."""
    blocks: list[list[int]] = []
    missing = most
    for _, block in lines_backward(path):
        if missing <= 0:
            break
        stamps = [int(stamp) for stamp in _STAMP.findall(block)][-missing:]
        missing -= len(stamps)
        blocks.append(stamps)
    return [stamp for stamps in reversed(blocks) for stamp in stamps]


class Pair:
    """metrics.csv and summary.csv, which always move together.

    summary.csv is in the order of minutes and covers exactly what is in metrics.csv: a batch whose first minute is in
    there already rewrites the summary from that minute on, with the earlier lines read back from metrics.csv.
    """

    def __init__(self, folder: Path, disk: Disk) -> None:
        self._folder = folder
        self._metrics = folder / METRICS
        self._summary = folder / SUMMARY
        self._disk = disk
        self._reader = LineReader()
        self._starts: dict[int, int] = {}
        """Where in metrics.csv the lines of a minute begin at the earliest, for minutes that this run has folded."""
        self._unknown_until: int | None = None
        """The last minute that an earlier run has folded: where its lines begin is not known. None: not looked at yet."""
        self.folded = 0
        """Lines that came into metrics.csv."""
        self.lost = 0
        """Lines that were torn or none of ours."""

    def recover(self) -> None:
        """Bring a fold to its end that was begun and not committed, and look at what is there. Raise OSError."""
        for path in sorted(self._folder.glob("journal-*.folding")):
            self._finish(self.read(path))
        if self._unknown_until is None:
            self._cut(self._metrics, size_of(self._metrics))
            self._cut(self._summary, size_of(self._summary))
            last = [stamp // NS_PER_MINUTE for stamp in newest_stamps(self._summary, 1)]
            self._unknown_until = last[0] if last else _FOREVER if size_of(self._metrics) else -1

    def forget(self) -> None:
        """To be called before the files are moved away: `recover` has to look again."""
        self._starts.clear()
        self._unknown_until = None

    def read(self, path: Path) -> Batch:
        """Given a file of lines, return it as a batch, with a summary of what its lines say. Raise OSError."""
        batch = Batch(path, Summary(), bad=int(end_of_lines(path) < size_of(path)))
        for block in lines_forward(path):
            for _, row in self._reader.rows(block):
                if row is None:
                    batch.bad += 1
                else:
                    batch.summary.add(*row)
        return batch

    def began(self) -> date | None:
        """Return the day of the first sample in metrics.csv, None if there is none."""
        for block in lines_forward(self._metrics):
            if found := _STAMP.search(block):
                return day_of(int(found[1]) // NS_PER_MINUTE)
        return None

    def shares(self, minutes: set[int]) -> bool:
        """Return whether samples of one of these minutes are in metrics.csv."""
        blocks = lines_forward(self._summary)
        return any(int(stamp) // NS_PER_MINUTE in minutes for block in blocks for stamp in _STAMP.findall(block))

    def fold(self, batch: Batch) -> None:
        """Append the lines of a batch, and their summary; its file is gone then. Raise OSError: `recover` goes on."""
        first = min(batch.summary.minutes, default=_FOREVER)
        sizes = size_of(self._metrics), _end_before(self._summary, first)
        folding = self._folder / f"journal-{sizes[0]}-{sizes[1]}.folding"
        self._disk.rename(batch.path, folding)
        self._disk.sync_folder(self._folder)
        self._finish(Batch(folding, batch.summary, batch.bad))

    def _finish(self, batch: Batch) -> None:
        sizes = _NAME.fullmatch(batch.path.name)
        if sizes is None:
            raise OSError(f"{batch.path} is no file of ours: move it away")
        self._cut(self._metrics, int(sizes[1]))
        self._cut(self._summary, int(sizes[2]))
        minutes, good, before = batch.summary.minutes, batch.summary.count, size_of(self._metrics)
        if minutes:
            self._read_back(batch.summary, min(minutes), self._start_of(min(minutes)))
            self._append(self._metrics, self._good_lines(batch))
            self._append(self._summary, [b"".join(batch.summary.lines())])
        self._disk.sync_folder(self._folder)
        self._disk.unlink(batch.path)
        for minute in minutes:
            self._starts.setdefault(minute, before)
        self.folded += good
        self.lost += batch.bad
        if batch.bad:
            _log.warning("%s held %d lines that are torn or none of ours: they were dropped", batch.path, batch.bad)
        self._disk.sync_folder(self._folder)  # A batch that came back after a power cut would cut off what follows it.

    def _start_of(self, first: int) -> int:
        """Given a minute, return an offset in metrics.csv before which there is no line of it or of a later one."""
        if self._unknown_until is None or first <= self._unknown_until:
            return 0
        return min((start for minute, start in self._starts.items() if minute >= first), default=size_of(self._metrics))

    def _read_back(self, summary: Summary, first: int, start: int) -> None:
        for block in lines_forward(self._metrics, start):
            for _, row in self._reader.rows(block):
                if row is not None and row.stamp // NS_PER_MINUTE >= first:
                    summary.add(*row)

    def _good_lines(self, batch: Batch) -> Iterable[bytes]:
        if not batch.bad:
            return blocks_forward(batch.path)  # No need to look at lines.
        rows = (self._reader.rows(block) for block in lines_forward(batch.path))
        return (b"".join(b"%b\n" % line for line, row in block if row is not None) for block in rows)

    def _append(self, path: Path, blocks: Iterable[bytes]) -> None:
        descriptor = self._disk.open_append(path)
        try:
            for block in blocks:
                self._disk.write_all(descriptor, block)
            self._disk.sync(descriptor)
        finally:
            self._disk.close(descriptor)

    def _cut(self, path: Path, size: int) -> None:
        """Given the size that a file should have, cut off what is more, and a torn line at the end."""
        if size_of(path) > size:
            self._disk.truncate(path, size)
        end = end_of_lines(path)
        if end < size_of(path):
            self._disk.truncate(path, end)
            self.lost += path == self._metrics
            _log.warning("%s ended in a torn line, which was dropped", path)


def _end_before(path: Path, minute: int) -> int:
    """Given a file of lines in the order of minutes, return where the lines of that minute and later ones begin."""
    end = size_of(path)
    for offset, block in lines_backward(path):
        later = (found.start() for found in _LINE.finditer(block) if int(found[1]) // NS_PER_MINUTE >= minute)
        start = next(later, None)
        if start is None:
            break
        end = offset + start
        if start:
            break
    return end
