"""From lines to tallies, fast: what repeats at the beginning of lines is understood once.

Files may come from newer versions and other machines. What is not known is left aside: further tags and fields, types of
tests, kinds of errors. A line that cannot be understood at all is counted and named, and the rest goes on.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path

from testwarden.console.text import cut, safe_line
from testwarden.errors import MetricsError
from testwarden.metrics.line_protocol import MEASUREMENT, MICROSECONDS, UNKNOWN, Line, parse
from testwarden.model import Outcome, TestType
from testwarden.report.states import AGENT_LINE, States, label
from testwarden.report.tallies import (
    KINDS,
    MOST_REASONS,
    NS_PER_HOUR,
    OK,
    OTHER,
    Costs,
    Hour,
    K6Hour,
    Samples,
    Series,
    Tally,
)

FIRST = int(datetime(2020, 1, 1, tzinfo=timezone.utc).timestamp()) * 10**9
"""No agent is older: a sample from before was measured while the clock was wrong."""
MOST_SERIES = 300
MOST_NAMED = 20
"""Bad lines that are named; all are counted."""
_MOST_HEADS = 4096
_MOST_MICROS = 10**15
_REASON = 120
"""Characters of a reason that are shown."""

_NUMBERS = re.compile(rb"(\d+)i(?:,exec_time=(\d+)\.(\d{6}))?(?:,cost=([-+.\de]+))? (\d+)")


@dataclass(frozen=True)
class Bad:
    """A line that cannot be understood."""

    path: Path
    number: int
    text: str
    """Its beginning."""


@dataclass
class Account:
    """What became of the lines that were read."""

    counted: int = 0
    bad: int = 0
    named: list[Bad] = field(default_factory=list)
    """The first of them."""
    summaries: int = 0
    """Lines that are sums of samples already."""
    misdated: int = 0
    """Samples from before FIRST or from after now: the clock was wrong, here or there."""
    old: int = 0
    """Samples from before what was asked for."""
    twice: int = 0
    """Samples that had been read already: same tags and time."""


@dataclass(slots=True)
class _Head:
    """What stands before the numbers of a line, understood."""

    tally: Tally
    ended: str
    is_retry: bool
    reason: tuple[str, str, str] | None
    seen: set[int]
    k6: K6Hour | None


class Reading:
    """Counts the lines of any number of files. Not thread-safe."""

    def __init__(self, now: datetime, since: datetime | None = None) -> None:
        """Given the time, and from when on samples count."""
        # An agent whose clock is a little ahead of this one is no reason to leave its newest samples out.
        self._until = int(now.timestamp() + 3600) * 10**9
        self._since = FIRST if since is None else max(FIRST, int(since.timestamp() * 1e6) * 1000)
        self._heads: dict[bytes, _Head | None] = {}
        self._seen: dict[bytes, set[int]] = {}
        self.samples = Samples()
        self.states = States()
        self.account = Account()

    def read(self, path: Path, lines: Iterable[tuple[int, bytes]]) -> None:
        """Given a file and its lines with their numbers, count them. What reading raises comes through."""
        heads, numbers_of, count = self._heads, _NUMBERS.fullmatch, self._count
        for number, line in lines:
            begin, _, rest = line.rpartition(b",bytes=")
            found = numbers_of(rest)
            if found is None or begin not in heads:
                self._slowly(path, number, line)
                continue
            head = heads[begin]
            if head is None:
                self._bad(path, number, line)
                continue
            size, seconds, fraction, cost, stamp = found.groups()
            micros = int(seconds + fraction) if seconds else None
            count(head, int(size), micros, _cost(cost) if cost else None, int(stamp))

    def _count(self, head: _Head, size: int, micros: int | None, cost: float | None, stamp: int) -> None:
        """It runs once for each sample: as few calls as possible."""
        account, tally = self.account, head.tally
        if not FIRST <= stamp <= self._until:
            account.misdated += 1
            return
        if stamp > self.samples.newest:
            self.samples.newest = stamp
        if stamp < self._since:
            account.old += 1
            return
        if stamp in head.seen:
            account.twice += 1
            return
        head.seen.add(stamp)
        account.counted += 1
        try:
            hour = tally.hours[stamp // NS_PER_HOUR]
        except KeyError:
            hour = tally.hours[stamp // NS_PER_HOUR] = Hour()
        hour.ended[head.ended] += 1
        hour.bytes += size
        if micros is not None and micros < _MOST_MICROS:
            tally.times.append(micros)
            if size and micros and head.ended == OK:
                hour.bytes_ok += size
                hour.micros_ok += micros
                tally.rates.append(size * 1e6 / micros)
        if head.reason is not None:
            self._count_reason(head.reason)
        if cost is not None:
            hour.costs = hour.costs or Costs()
            hour.costs.add(1, cost, cost, cost)
        if head.k6 is not None:
            hour.k6 = hour.k6 or K6Hour()
            hour.k6.add(head.k6)
        tally.retries += head.is_retry

    def _count_reason(self, reason: tuple[str, str, str]) -> None:
        reasons = self.samples.reasons
        if reason not in reasons and len(reasons) >= MOST_REASONS:
            reason = (*reason[:2], "other reasons")
        reasons[reason] += 1

    def _slowly(self, path: Path, number: int, line: bytes) -> None:
        """A line whose beginning is new, or that is not of the usual shape."""
        text = line.strip(b"\r ")
        if not text or text.startswith(b"#"):
            return
        if text.startswith(AGENT_LINE):
            if self.states.add(text, self._since, self._until) is None:
                self._bad(path, number, line)
            return
        try:
            found = parse(text.decode())
        except (MetricsError, ValueError):
            self._bad(path, number, line)
            return
        if found.measurement != MEASUREMENT:
            self.account.summaries += 1
            return
        head = self._remember(line, found)
        numbers = _numbers(found)
        if head is None or numbers is None:
            self._bad(path, number, line)
        else:
            self._count(head, *numbers, found.stamp)

    def _remember(self, line: bytes, found: Line) -> _Head | None:
        begin, _, rest = line.rpartition(b",bytes=")
        head = self._head(line.partition(b" ")[0], found)
        if _NUMBERS.fullmatch(rest) and not (head and head.k6):  # A k6 run has figures of its own: it never repeats.
            if len(self._heads) >= _MOST_HEADS:
                self._heads.clear()
            self._heads[begin] = head
        return head

    def _head(self, tags: bytes, found: Line) -> _Head | None:
        ended = _ended(found)
        if ended is None:
            return None
        series = Series(*(label(found.tags.get(name, UNKNOWN)) for name in ("agent", "type", "filesize")))
        if series not in self.samples.tallies and len(self.samples.tallies) >= MOST_SERIES:
            series = Series("more agents", "more types", UNKNOWN)
        reason = cut(safe_line(str(found.fields.get("reason", ""))), _REASON) or "no reason given"
        return _Head(
            tally=self.samples.tallies.setdefault(series, Tally()),
            ended=ended,
            is_retry=_number(found, "attempt") > 1,
            reason=None if ended == OK else (series.type, ended, reason),
            seen=self._seen.setdefault(tags, set()),
            k6=_k6(found, ended) if series.type == TestType.K6.value else None,
        )

    def _bad(self, path: Path, number: int, line: bytes) -> None:
        self.account.bad += 1
        if len(self.account.named) < MOST_NAMED:
            text = cut(safe_line(line[:200].decode("utf-8", "replace")), 60)
            self.account.named.append(Bad(path, number, text))


def _ended(found: Line) -> str | None:
    """How the attempt ended; None where the line does not say."""
    fields = found.fields
    if not isinstance(fields.get("ok"), bool):
        return None
    if fields["ok"]:
        return OK
    kind = next((kind for kind in KINDS if fields.get(kind) is True), None)
    if kind is not None:
        return kind
    checked = fields.get("md5_checked") is True and fields.get("md5_valid") is False
    return Outcome.MD5_INVALID.value if checked else OTHER


def _numbers(found: Line) -> tuple[int, int | None, float | None] | None:
    """Bytes, exec_time in microseconds and cost; None where they are no such numbers."""
    size, seconds, cost = (
        found.fields.get(name, 0 if name == "bytes" else None) for name in ("bytes", "exec_time", "cost")
    )
    if type(size) is not int or size < 0:
        return None
    if any(isinstance(value, bool | str) for value in (seconds, cost)):
        return None
    micros = None if seconds is None or not 0 <= float(seconds) < 1e9 else round(float(seconds) * MICROSECONDS)
    return size, micros, None if cost is None else _cost(str(cost))


def _cost(text: bytes | str) -> float | None:
    """In ANT; None for one that is no amount."""
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) and value >= 0 else None


def _number(found: Line, name: str) -> float:
    value = found.fields.get(name)
    return value if isinstance(value, int | float) and math.isfinite(value) else 0


def _k6(found: Line, ended: str) -> K6Hour | None:
    """The figures of one k6 run; None where it measured no requests."""
    if "requests" not in found.fields:
        return None
    requests = int(_number(found, "requests"))
    return K6Hour(
        runs=1,
        requests=requests,
        failed=requests * _number(found, "requests_failed_rate"),
        rps=_number(found, "rps"),
        p50=_number(found, "duration_p50"),
        p95=_number(found, "duration_p95"),
        slowest=_number(found, "duration_max"),
        checks_failed=int(_number(found, "checks_failed")),
        thresholds_failed=int(ended == Outcome.THRESHOLDS_FAILED.value or found.fields.get("thresholds_ok") is False),
    )
