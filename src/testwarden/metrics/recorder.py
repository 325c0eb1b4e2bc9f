"""The recorder: what a worker hands its sample to, and what the scheduler asks once a minute to fold.

A sample is a line of `journal.lp` when `record` returns: it survives the agent's SIGKILL from then on. `fold` moves the
lines into metrics.csv and summary.csv (see `fold`), and puts old files away (see `rotation`).
"""

from __future__ import annotations

import logging
import threading
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

from testwarden.errors import MetricsError
from testwarden.metrics.disk import Disk
from testwarden.metrics.fold import Batch, Pair, day_of, newest_stamps
from testwarden.metrics.journal import BATCH, JOURNAL, MOST_WAITING, Journal
from testwarden.metrics.line_protocol import Identity, LineWriter
from testwarden.metrics.rotation import METRICS, Archives, Rules
from testwarden.metrics.stamps import REMEMBERED, Stamps
from testwarden.metrics.summary import Summary
from testwarden.model import Sample, require_aware

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Counts:
    """What became of the samples, since this recorder was built."""

    recorded: int
    """Samples that `record` was given."""
    folded: int
    """Lines that came into metrics.csv, those of an earlier run included."""
    lost: int
    """Samples that could not be kept; each was also said in the log."""
    archives_dropped: int
    """Old files that were deleted because of their age or the size of all."""


class Recorder:
    """Keeps samples. Thread-safe: any number of threads record while one folds."""

    def __init__(
        self,
        folder: Path,
        identity: Identity,
        rules: Rules | None = None,
        disk: Disk | None = None,
        most_waiting: int = MOST_WAITING,
    ) -> None:
        """Given the folder of the metrics and the tags of this agent, bring to an end what a killed agent left there.

        Only one recorder may use a folder. Raise MetricsError if the folder cannot be used.
        """
        self._folder = folder
        self._recording = threading.Lock()
        self._folding = threading.Lock()
        self._writer = LineWriter(identity)
        self._disk = disk = disk or Disk()
        self._pair = Pair(folder, disk)
        self._archives = Archives(folder, rules or Rules(), disk)
        self._recorded = self._refused = self._said = 0
        try:
            self._journal = Journal(folder, disk, most_waiting)
            self._recover_or_say()
            left = [folder / METRICS, *folder.glob("*.folding"), folder / BATCH, folder / JOURNAL]
            used = [stamp for path in left for stamp in newest_stamps(path, REMEMBERED)]
        except OSError as error:
            raise MetricsError(f"the metrics folder {folder} cannot be used: {error}") from error
        self._stamps = Stamps(used)
        self._summary = Summary()
        self._summary_is_whole = self._journal.empty

    @property
    def counts(self) -> Counts:
        """What became of the samples so far."""
        with self._recording:
            lost = self._refused + self._journal.lost + self._pair.lost
            return Counts(self._recorded, self._pair.folded, lost, self._archives.dropped)

    def record(self, sample: Sample) -> None:
        """Given what an attempt measured, put it on its way to disk. Never raise: what goes wrong is counted and said."""
        try:
            with self._recording:
                self._recorded += 1
                stamp = self._stamps.free(sample.ended_ns)
                line, group, micros = self._writer.line(sample, stamp)
                if self._journal.append(line):
                    self._summary.add(group, sample.bytes, micros, stamp)
                else:
                    self._summary_is_whole = False
        except Exception:  # noqa: BLE001 - a sample that cannot be written must not end the worker that measured it
            with self._recording:
                self._refused += 1
            _log.exception("a sample is lost: %r", sample)

    def fold(self, now: datetime) -> None:
        """Given the time, move what was recorded into the files.

        To be called once a minute, best right after the minute began: a batch that shares a minute with the files has to
        read that minute back, and keeps the files from rotating. A disk that cannot be written is said, not raised: what
        was recorded waits, and the next call goes on.
        """
        require_aware(now, "now")
        with self._folding:
            try:
                self._fold(now)
            except OSError as error:
                _log.warning("the metrics files in %s cannot be written: %s; samples wait", self._folder, error)
        self._say_losses()

    def close(self, now: datetime) -> None:
        """Given the time, fold a last time. A sample that comes later is in the journal, and folded by the next start."""
        self.fold(now)
        with self._recording:
            self._journal.close()
        self._say_losses()

    def _recover_or_say(self) -> None:
        try:
            self._pair.recover()
            self._archives.finish()
        except OSError as error:
            _log.warning("what an earlier run left in %s cannot be folded: %s; it waits", self._folder, error)

    def _fold(self, now: datetime) -> None:
        self._disk.make_folder(self._folder)  # Somebody may have deleted it.
        self._pair.recover()
        self._archives.finish()
        if (self._folder / BATCH).exists():
            self._put(self._pair.read(self._folder / BATCH))
        batch = self._take()
        if batch is not None:
            self._put(batch)
        self._archives.drop(now.astimezone(timezone.utc).date())

    def _take(self) -> Batch | None:
        """Return what was recorded since the last time. What was counted meanwhile saves reading all lines again."""
        with self._recording:
            path = self._journal.take()
            summary, is_whole = self._summary, self._summary_is_whole
            self._summary, self._summary_is_whole = Summary(), self._journal.empty
        if path is None:
            self._refused += summary.count  # Somebody deleted the journal.
            return None
        return Batch(path, summary) if is_whole else self._pair.read(path)

    def _put(self, batch: Batch) -> None:
        """Fold a batch, into new files if the old ones are full; a minute is never divided between two files."""
        minutes, began = batch.summary.minutes, self._pair.began()
        if began and minutes and self._archives.due(began, day_of(min(minutes))) and not self._pair.shares(minutes):
            self._pair.forget()
            self._archives.rotate(began)
            self._pair.recover()
        self._pair.fold(batch)

    def _say_losses(self) -> None:
        lost = self.counts.lost
        if lost > self._said:
            _log.error("%d samples are lost since the agent started", lost)
            self._said = lost
