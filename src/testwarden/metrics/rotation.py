"""When the files begin anew, which old ones are kept, and how that survives a crash.

metrics.csv and summary.csv rotate together, so that a summary always summarises the samples beside it: at a size, and
when the UTC day of the samples changes. Old ones are `metrics-2026-11-20.csv.gz`, the next of that day `…-2.csv.gz`; the
day is the one of the first sample in the file. The decisions are functions; `Archives` carries them out.
"""

from __future__ import annotations

import gzip
import logging
import re
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path

from testwarden.metrics.disk import Disk, size_of

METRICS = "metrics.csv"
SUMMARY = "summary.csv"

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Rules:
    """How much is kept."""

    most_bytes: int = 64 * 1024 * 1024
    """Size from which a file is not continued."""
    keep_days: int = 30
    keep_bytes: int = 10**9
    """All files together, archives and current ones."""


@dataclass(frozen=True)
class Archive:
    """An old file, as its name says."""

    day: date
    number: int
    """1 for the first of the day, whose name carries no number."""
    kind: str
    """`metrics`, `summary` or `agent`."""
    packed: bool
    """False for one whose rotation is not finished: it is still as it was written."""
    size: int = 0
    """Bytes."""

    @property
    def name(self) -> str:
        number = f"-{self.number}" if self.number > 1 else ""
        return f"{self.kind}-{self.day.isoformat()}{number}.csv{'.gz' if self.packed else ''}"


_NAME = re.compile(r"(metrics|summary|agent)-(\d{4}-\d\d-\d\d)(?:-(\d+))?\.csv(\.gz)?", re.ASCII)


def archive_of(name: str, size: int) -> Archive | None:
    """Given the name and size of a file, return which archive it is, or None if it is none."""
    found = _NAME.fullmatch(name)
    if found is None:
        return None
    kind, day, number, packed = found.groups()
    try:
        return Archive(date.fromisoformat(day), int(number or 1), kind, packed is not None, size)
    except ValueError:
        return None


def is_due(size: int, began: date | None, batch: date, rules: Rules) -> bool:
    """Given the larger file's size, the day of its first sample and that of the batch to come, return whether to rotate.

    `began` is None for an empty file, which never rotates.
    """
    return began is not None and (size >= rules.most_bytes or batch != began)


def next_number(archives: Iterable[Archive], day: date) -> int:
    """Return the number that a new archive of that day gets: above all that exist, so that numbers grow with time."""
    return max((archive.number for archive in archives if archive.day == day), default=0) + 1


def to_drop(archives: Iterable[Archive], current: int, today: date, rules: Rules) -> list[tuple[Archive, str]]:
    """Given the archives, the bytes of the current files and the UTC day, return which archives to drop, and why."""
    oldest_first = sorted(archives, key=lambda archive: (archive.day, archive.number, archive.kind))
    total = current + sum(archive.size for archive in oldest_first)
    dropped = []
    for archive in oldest_first:
        if archive.day < today - timedelta(days=rules.keep_days):
            dropped.append((archive, f"older than {rules.keep_days} days"))
        elif total > rules.keep_bytes:
            dropped.append((archive, f"more than {rules.keep_bytes} bytes in all"))
        else:
            break
        total -= archive.size
    return dropped


class Archives:
    """The old files of a folder."""

    def __init__(self, folder: Path, rules: Rules, disk: Disk) -> None:
        self._folder = folder
        self._rules = rules
        self._disk = disk
        self.dropped = 0
        """How many archives were dropped."""

    def due(self, began: date | None, batch: date) -> bool:
        """Given the day of the first sample in the current file and that of the batch, return whether to rotate."""
        size = max(size_of(self._folder / name) for name in (METRICS, SUMMARY))
        return is_due(size, began, batch, self._rules)

    def rotate(self, day: date) -> None:
        """Given the day of their first sample, put the current files away. Raise OSError; `finish` goes on from there."""
        number = next_number(self._list(), day)
        self._disk.rename(self._folder / METRICS, self._folder / Archive(day, number, "metrics", packed=False).name)
        self.finish()

    def finish(self) -> None:
        """Bring a rotation to its end, however far it came. Raise OSError."""
        for unfinished in self._folder.glob("*.csv.gz.tmp"):
            self._disk.unlink(unfinished)
        for archive in [archive for archive in self._list() if not archive.packed]:
            self._pair_up(archive)
        for archive in [archive for archive in self._list() if not archive.packed]:
            self._pack(self._folder / archive.name)

    def drop(self, today: date) -> None:
        """Given the UTC day, drop what is too old or too much, and say so. Raise OSError."""
        current = size_of(self._folder / METRICS) + size_of(self._folder / SUMMARY)
        for archive, reason in to_drop(self._list(), current, today, self._rules):
            self._disk.unlink(self._folder / archive.name)
            self.dropped += 1
            _log.warning("dropped %s (%d bytes): %s", archive.name, archive.size, reason)

    def _list(self) -> list[Archive]:
        found = (archive_of(path.name, size_of(path)) for path in self._folder.iterdir())
        return [archive for archive in found if archive is not None]

    def _pair_up(self, metrics: Archive) -> None:
        """Put the summary away under its metrics' label, where a rotation ended between the two."""
        summary = Archive(metrics.day, metrics.number, "summary", packed=False)
        packed = Archive(metrics.day, metrics.number, "summary", packed=True)
        current = self._folder / SUMMARY
        taken = any((self._folder / name).exists() for name in (summary.name, packed.name, METRICS))
        if metrics.kind == "metrics" and current.exists() and not taken:
            self._disk.rename(current, self._folder / summary.name)

    def _pack(self, plain: Path) -> None:
        """Replace a file by its gzip. The plain one goes last: until then nothing is lost, and it can be done again."""
        packed = plain.with_name(f"{plain.name}.gz")
        unfinished = plain.with_name(f"{plain.name}.gz.tmp")
        descriptor = self._disk.open_append(unfinished)
        try:
            with plain.open("rb") as source, open(descriptor, "wb", closefd=False) as target:
                with gzip.GzipFile("", "wb", fileobj=target, mtime=0) as archive:
                    shutil.copyfileobj(source, archive, 1024 * 1024)
                target.flush()
                self._disk.sync(descriptor)
        finally:
            self._disk.close(descriptor)
        self._disk.rename(unfinished, packed)
        self._disk.sync_folder(plain.parent)
        self._disk.unlink(plain)
