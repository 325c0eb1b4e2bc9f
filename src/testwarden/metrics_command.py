"""From the arguments of `testwarden metrics import` and `metrics check` to what they do."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path
from types import TracebackType
from typing import Protocol

from testwarden.errors import MetricsError, TestwardenError
from testwarden.metrics.checking import Check
from testwarden.metrics.files import KINDS, FileVanished, is_journal, metric_files, unfolded, unpacked_size
from testwarden.metrics.influx import Denied, InfluxServer, NotNow, Writer
from testwarden.metrics.influx_doors import connect
from testwarden.metrics.influx_import import Feed, Reports
from testwarden.metrics.influx_sending import EVER, Patient
from testwarden.metrics.influx_state import SentFiles
from testwarden.model import Finding, Level

OK, WRONG, NO_SERVER = 0, 1, 3
"""Exit codes. WRONG: a line was refused, or a file cannot be read. NO_SERVER: the server did not take the lines."""
_MOST_PASSES = 5
_AT_ONCE = 2
"""Batches on their way: influxd reads the lines of a request with one thread."""
_SAY_EVERY = 10.0
_SPAN = re.compile(r"(\d{1,6})\s*([mhdw])", re.ASCII)
_SECONDS = {"m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}


class UsageError(TestwardenError):
    """The command line asks for something that cannot be."""


class Display(Protocol):
    """Where a person sees how far an import is."""

    def begin(self, total: int) -> None:
        """So many bytes of files, unpacked, are there to be read."""
        ...

    def moved(self, size: int, lines: int) -> None:
        """So many more bytes are done, and so many more lines were sent."""
        ...

    def say(self, text: str) -> None:
        """Show a line."""
        ...


class PlainDisplay:
    """A line every ten seconds: for what is no terminal."""

    def __init__(self, say: Callable[[str], None], monotonic: Callable[[], float] = time.monotonic) -> None:
        self.say = say
        self._monotonic = monotonic
        self._said = monotonic()
        self._total = self._size = self._lines = 0

    def begin(self, total: int) -> None:
        self._total = total

    def moved(self, size: int, lines: int) -> None:
        self._size += size
        self._lines += lines
        if self._monotonic() - self._said >= _SAY_EVERY:
            self._said = self._monotonic()
            self.say(f"{self._lines:,} lines sent, {min(100, 100 * self._size // max(1, self._total))} % of the files")


class BarDisplay:
    """A bar at the foot of a terminal. A context manager."""

    def __init__(self) -> None:
        from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

        self._lines = 0
        self._progress = Progress(
            BarColumn(), TaskProgressColumn(), TimeRemainingColumn(), TextColumn("{task.fields[lines]:,} lines")
        )
        self._task = self._progress.add_task("", total=None, lines=0)

    def __enter__(self) -> BarDisplay:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def begin(self, total: int) -> None:
        self._progress.update(self._task, total=total)

    def moved(self, size: int, lines: int) -> None:
        self._lines += lines
        self._progress.update(self._task, advance=size, lines=self._lines)

    def say(self, text: str) -> None:
        self._progress.console.print(text, markup=False, highlight=False, soft_wrap=True)


@dataclass(frozen=True)
class Asked:
    """The command line of an import."""

    paths: tuple[Path, ...]
    """Files and folders."""
    server: InfluxServer
    since: str | None = None
    """Such as `7d`, `12h`, `2w`, or a date: only lines from then on are sent, and nothing is noted as sent."""
    again: bool = False
    """Send what was sent before, too."""


def run_import(
    asked: Asked,
    now: datetime,
    display: Display,
    connect: Callable[[InfluxServer], Writer] = connect,
    wait: Callable[[float], object] = time.sleep,
) -> int:
    """Given the command line, the time and where to say what happens, send the files; return the exit code.

    Raise UsageError, one sentence.
    """
    job = _Import(asked, EVER if asked.since is None else since(asked.since, now), display)
    try:
        job.check()
        with ExitStack() as stack:
            doors = [stack.enter_context(closing(connect(asked.server))) for _ in range(_AT_ONCE)]
            display.say(f"to {doors[0].name}")
            job.run([Patient(door, wait, display.say) for door in doors])
    except (Denied, NotNow) as problem:
        display.say(f"testwarden: {problem}")
        display.say(
            f"{job.lines:,} lines were sent; the others stay in the files, and the same command goes on from there"
        )
        return NO_SERVER
    for sentence in job.unreadable:
        display.say(f"testwarden: {sentence}")
    display.say(f"{job.lines:,} lines sent, {job.refused:,} refused")
    return WRONG if job.refused or job.unreadable else OK


def run_check(paths: Sequence[Path], say: Callable[[str], None]) -> int:
    """Given files and folders, say what is wrong with their lines; return the exit code: 1 if there is an error."""
    check = Check(lambda finding: say(str(finding)))
    for path in _listed(paths):
        try:
            check.read(path)
        except MetricsError as problem:
            check.report(Finding(str(path), 0, Level.ERROR, str(problem).removeprefix(f"{path}: ")))
    counts = check.finish()
    say(
        f"{counts.lines:,} lines: {counts.errors:,} errors, {counts.duplicates:,} of them duplicates; "
        f"{counts.gaps:,} gaps, {counts.missing:,} minutes in all"
    )
    return WRONG if counts.errors else OK


def since(text: str, now: datetime) -> int:
    """Given `7d`, `12h`, or a date (UTC), and the time, return the timestamp in nanoseconds. Raise UsageError."""
    found = _SPAN.fullmatch(text.strip())
    try:
        if found is not None:
            moment = now - timedelta(seconds=int(found[1]) * _SECONDS[found[2]])
        else:
            moment = datetime.fromisoformat(text.strip().replace("Z", "+00:00"))
    except (ValueError, OverflowError):
        raise UsageError(
            f"--since {text!r}: allowed is a number with m, h, d or w, such as 90m, 12h, 7d, 2w, or a date"
        ) from None
    return int((moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)).timestamp()) * 10**9


class _Import:
    """One import, and what came of it so far."""

    def __init__(self, asked: Asked, start: int, display: Display) -> None:
        self._asked = asked
        self._start = start
        self._display = display
        self._kept: dict[tuple[Path, bool], SentFiles] = {}
        self._unnoted = False
        self.lines = 0
        self.refused = 0
        self.unreadable: dict[str, None] = {}
        """Sentences, each once."""

    def check(self) -> None:
        """Raise UsageError where nothing is to be sent."""
        files = self._files()
        if not files:
            raise UsageError(f"no metrics files in {', '.join(map(str, self._asked.paths))}: has an agent run?")
        self._display.begin(sum(map(unpacked_size, files)))

    def run(self, writers: Sequence[Writer]) -> None:
        """Send the files. Raise Denied and NotNow.

        An agent may give its files other names while they are sent, and a file that was listed can hold a new day when it
        is opened: so look again, until there is nothing new.
        """
        reports = Reports(self._say_refused, self._moved, self._say_unnoted)
        with Feed(writers, reports, self._start) as feed:
            for _ in range(_MOST_PASSES):
                if not sum([self._send(feed, path) for path in self._files()]):
                    break

    def _send(self, feed: Feed, path: Path) -> bool:
        """Send one file; return whether another look is worth it."""
        try:
            return feed.send(path, self._sent_files(path)).bytes > 0
        except FileVanished:
            return True
        except (Denied, NotNow):
            raise
        except MetricsError as problem:
            self.unreadable[str(problem)] = None
            return False

    def _files(self) -> list[Path]:
        return [*_listed(self._asked.paths), *(path for given in self._asked.paths for path in unfolded(given))]

    def _sent_files(self, path: Path) -> SentFiles:
        """What was sent of the folder of a file. Journals come again under other names: nothing is noted of them."""
        key = path.parent, not is_journal(path) and self._asked.since is None
        if key not in self._kept:
            self._kept[key] = SentFiles(path.parent, self._asked.server.key, keep=key[1])
            if self._asked.again:
                self._kept[key].forget()
        return self._kept[key]

    def _moved(self, size: int, lines: int) -> None:
        self.lines += lines
        self._display.moved(size, lines)

    def _say_refused(self, path: Path, line: int, message: str) -> None:
        self.refused += 1
        self._display.say(str(Finding(str(path), line, Level.ERROR, message)))

    def _say_unnoted(self, message: str) -> None:
        if not self._unnoted:
            self._unnoted = True
            self._display.say(f"testwarden: {message}; the next import sends these files again")


def _listed(paths: Sequence[Path]) -> list[Path]:
    """Raise UsageError for a path that is not there."""
    try:
        return [path for kind in KINDS for path in metric_files(paths, kind)]
    except MetricsError as problem:
        raise UsageError(str(problem)) from None
