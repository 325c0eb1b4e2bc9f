"""From files to a server, each line once: what the import command and the agent's push have in common.

While the server stores one batch, the next one is read and checked. How far a file was sent is noted only when the server
has answered, so that whatever ends an import, the next one begins there or a little before.
"""

from __future__ import annotations

import hashlib
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from typing import BinaryIO

from testwarden.errors import MetricsError
from testwarden.metrics.files import FileVanished, first_line, line_blocks, opened
from testwarden.metrics.influx import Writer
from testwarden.metrics.influx_sending import EVER, LineCheck, Lines, send
from testwarden.metrics.influx_state import Place, SentFiles, known_by, look_at, sent_so_far

BATCH = 2 * 1024 * 1024
"""Bytes sent at once: about 5,000 lines, what InfluxDB's documentation recommends."""
_SAVE_EVERY = 1.0
"""Seconds."""


@dataclass(frozen=True)
class Reports:
    """Whom a feed tells what."""

    refused: Callable[[Path, int, str], None]
    """A line was refused: file, number from 1, why."""
    moved: Callable[[int, int], None]
    """So many more bytes of the files (unpacked) are done, and so many more lines were sent."""
    trouble: Callable[[str], None]
    """What is done cannot be noted."""


@dataclass
class Sent:
    """What came of a file."""

    lines: int = 0
    """That the server took."""
    refused: int = 0
    bytes: int = 0
    """That were read, beside those that were sent before."""


@dataclass(frozen=True)
class _Batch:
    lines: Lines
    before: int
    """Lines of the file that stand before it."""
    size: int
    end: Place


@dataclass(frozen=True)
class _Job:
    """A file that is being sent."""

    path: Path
    name: str
    """What it is known by."""
    files: SentFiles
    sent: Sent


_Flight = tuple[_Batch, "Future[dict[int, str]]"]


class Feed:
    """Sends files to one server. A context manager; not thread-safe."""

    def __init__(
        self,
        writers: Sequence[Writer],
        reports: Reports,
        since: int = EVER,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Given as many doors to the server as batches may be on their way at once, and the timestamp (ns) before which
        lines are left out."""
        self._lanes = [(writer, ThreadPoolExecutor(1, thread_name_prefix="influx")) for writer in writers]
        self._reports = reports
        self._check = LineCheck(since)
        self._monotonic = monotonic
        self._saved = monotonic()

    def __enter__(self) -> Feed:
        return self

    def __exit__(self, *_: object) -> None:
        for _writer, thread in self._lanes:
            thread.shutdown()

    def send(self, path: Path, files: SentFiles, most: int | None = None) -> Sent:
        """Given a file, what was sent of its folder, and how many bytes may be read (the last batches may go beyond),
        send what is new in it.

        Raise FileVanished where it has another name by now, MetricsError where it cannot be read to its end, Denied and
        NotNow. What the server took until then is noted.
        """
        look = look_at(path)
        if look is None:
            raise FileVanished(f"{path}: there is no such file")
        if files.ended(look):
            return Sent()
        with opened(path) as file:
            first = first_line(path, file)
            if not first:
                return Sent()
            job = _Job(path, known_by(first), files, Sent())
            place, digest = _resume(path, file, files.place(job.name))
            self._reports.moved(place.bytes, 0)
            try:
                if self._send_all(job, self._batches(path, file, place, digest), most):
                    files.note(job.name, files.place(job.name), look)
            finally:
                self._save(files)
        return job.sent

    def _batches(self, path: Path, file: BinaryIO, place: Place, digest: hashlib._Hash) -> Iterator[_Batch]:
        """What follows the place in a file, of which `digest` has the bytes before it."""
        for block in line_blocks(path, file, BATCH):
            digest.update(block)
            lines = block.count(b"\n") + (not block.endswith(b"\n"))
            before, place = place, Place(place.bytes + len(block), place.lines + lines, digest.hexdigest())
            yield _Batch(self._check.look(block), before.lines, len(block), place)

    def _send_all(self, job: _Job, batches: Iterator[_Batch], most: int | None) -> bool:
        """Send batches; return whether these were all."""
        flights: deque[_Flight] = deque()
        lanes = cycle(self._lanes)
        try:
            for batch in batches:
                if len(flights) == len(self._lanes):
                    self._land_first(job, flights)
                if most is not None and job.sent.bytes >= most:
                    return False
                writer, thread = next(lanes)
                flights.append((batch, thread.submit(send, writer, batch.lines.good)))
        finally:
            while flights:
                self._land_first(job, flights)
        return True

    def _land_first(self, job: _Job, flights: deque[_Flight]) -> None:
        """In order, and none after one that failed: what is noted has no holes."""
        try:
            self._land(job, flights.popleft())
        except BaseException:
            flights.clear()
            raise

    def _land(self, job: _Job, flight: _Flight) -> None:
        """Wait for a batch that is on its way, and note what came of it."""
        batch, answer = flight
        refused = {batch.lines.numbers[index]: message for index, message in answer.result().items()}
        for number, message in sorted((refused | batch.lines.bad).items()):
            self._reports.refused(job.path, batch.before + number + 1, message)
        taken = len(batch.lines.good) - len(refused)
        job.sent.lines += taken
        job.sent.refused += len(refused) + len(batch.lines.bad)
        job.sent.bytes += batch.size
        job.files.note(job.name, batch.end)
        self._reports.moved(batch.size, taken)
        if self._monotonic() - self._saved >= _SAVE_EVERY:
            self._save(job.files)

    def _save(self, files: SentFiles) -> None:
        self._saved = self._monotonic()
        try:
            files.save()
        except MetricsError as problem:
            self._reports.trouble(str(problem))


def _resume(path: Path, file: BinaryIO, place: Place) -> tuple[Place, hashlib._Hash]:
    """Where to go on in a file that was just opened, and the hash of what is before."""
    digest = sent_so_far(path, file, place)
    if digest is not None:
        return place, digest
    file.seek(0)
    return Place(), hashlib.sha256()
