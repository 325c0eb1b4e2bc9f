"""Whether metrics files are what `docs/metrics.md` says: each line, each field's type, no point twice, no holes.

A gap is one or more minutes of the window (:05 to :54) in which an agent has no sample, between its first and its last
sample of that hour: a test that repeats went silent. It is a warning; tasks that run once leave such gaps, too.
Memory: about 100 bytes a line, to know which points there were.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from pathlib import Path

from testwarden.errors import MetricsError
from testwarden.metrics.agent_line import AGENT_MEASUREMENT
from testwarden.metrics.files import lines
from testwarden.metrics.line_protocol import MEASUREMENT, MOST_INTEGER, SUMMARY_MEASUREMENT, Line, parse
from testwarden.metrics.summary import NS_PER_MINUTE
from testwarden.model import Finding, Level, Outcome, TestType

_WINDOW = range(5, 55)

_OPERATOR = ("country", "provision", "connection")
_SERIES = ("agent", "type", "filesize")
_WORDS: Mapping[type, str] = {bool: "a boolean", int: "an integer", float: "a float", str: "a string"}
_NUMBERS = re.compile(rb"\d{1,18}i(?:,exec_time=\d+\.\d+)?(?:,cost=[-+.e\d]+)? (\d{1,18}|[1-8]\d{18})")
_MOST_HEADS = 4096
_FLAGS = (
    "ok",
    "md5_checked",
    "md5_valid",
    "client_killed",
    "client_error",
    "network_error",
    "data_loss",
    "unknown_error",
)


@dataclass(frozen=True)
class Schema:
    """One measurement."""

    tags: frozenset[str]
    always: Mapping[str, type]
    """Fields that each line has."""
    sometimes: Mapping[str, type]


_K6 = {
    **dict.fromkeys(("vus_max", "requests", "data_received", "data_sent", "checks_passed", "checks_failed"), int),
    **dict.fromkeys(("exit_code", "targets_refused"), int),
    **dict.fromkeys(("rps", "requests_failed_rate", "duration_max"), float),
    **{f"duration_p{percent}": float for percent in (50, 90, 95, 99)},
    "thresholds_ok": bool,
    "exit_meaning": str,
}

SCHEMAS: Mapping[str, Schema] = {
    MEASUREMENT: Schema(
        frozenset((*_SERIES, "task", "worker", "client", *_OPERATOR)),
        {**dict.fromkeys(_FLAGS, bool), "attempt": int, "bytes": int, "reason": str, "commit": str},
        {"exec_time": float, "cost": float, "thresholds_failed": bool, **_K6},
    ),
    SUMMARY_MEASUREMENT: Schema(
        frozenset((*_SERIES, *_OPERATOR)),
        dict.fromkeys(("count", *(outcome.value for outcome in Outcome), "bytes"), int),
        dict.fromkeys(("min", "max", "mean", "p50", "p95"), float),
    ),
    AGENT_MEASUREMENT: Schema(
        frozenset(("agent", *_OPERATOR)),
        {
            **dict.fromkeys(("kill_switch", "running", "refused"), int),
            **dict.fromkeys(("kill_switch_reason", "refused_reasons", "commit"), str),
            "paused": bool,
        },
        {
            **{f"{kind.value}_{what}": int for kind in TestType for what in ("used", "limit")},
            **dict.fromkeys(("own_used", "bytes_used", "bytes_limit"), int),
            **dict.fromkeys(("ant_used", "ant_limit"), float),
        },
    ),
}
"""What `docs/metrics.md` says."""


@dataclass
class Counts:
    """What was found."""

    lines: int = 0
    errors: int = 0
    duplicates: int = 0
    gaps: int = 0
    missing: int = 0
    """Minutes of all gaps."""


@dataclass(frozen=True)
class _Head:
    """What a line begins with: measurement, tags, and all fields up to the last `,bytes=`."""

    series: bytes
    agent: str
    sample: bool


@dataclass
class _Hour:
    """What an agent measured in an hour of the UTC clock."""

    file: str
    line: int
    minutes: int = 0
    """A bit for each minute that has a sample."""


class Check:
    """Reads files and tells what is wrong with them."""

    def __init__(self, tell: Callable[[Finding], None]) -> None:
        """Given who hears of each finding."""
        self._tell = tell
        self._counts = Counts()
        self._points: set[int] = set()
        self._unknown: dict[tuple[str, str], type] = {}
        """Types of fields that no schema has."""
        self._named: set[str] = set()
        self._heads: dict[bytes, _Head] = {}
        """Beginnings of lines that are as they should be."""
        self._hours: dict[tuple[str, int], _Hour] = {}

    def read(self, path: Path) -> None:
        """Given a file, look at each of its lines. Raise MetricsError where it cannot be read to its end."""
        for number, line in lines(path):
            if line.strip() and not line.startswith(b"#"):
                self._counts.lines += 1
                self._look(str(path), number, line)

    def report(self, finding: Finding) -> None:
        """Count a finding and tell of it."""
        self._counts.errors += finding.level is Level.ERROR
        self._tell(finding)

    def finish(self) -> Counts:
        """To be called after the last file: tell of the gaps, and return what was counted."""
        for (agent, hour), seen in sorted(self._hours.items(), key=lambda item: (item[0][1], item[0][0])):
            for first, last in gaps(seen.minutes):
                self._counts.gaps += 1
                self._counts.missing += last - first + 1
                begin = datetime.fromtimestamp(hour * 3600, tz=timezone.utc)
                where = f"{begin:%Y-%m-%d %H}:{first:02d} to {begin:%H}:{last:02d} UTC"
                message = f"agent {agent!r} has no sample from {where}, in the hour of this line"
                self._tell(Finding(seen.file, seen.line, Level.WARNING, message))
        return self._counts

    def _look(self, file: str, number: int, line: bytes) -> None:
        beginning, _, numbers = line.rpartition(b",bytes=")
        found = _NUMBERS.fullmatch(numbers)
        head = self._heads.get(beginning) if found is not None else None
        if head is not None and found is not None:
            stamp = int(found[1])  # Only the numbers differ from a line that was looked at.
        else:
            understood = _understood(line)
            if isinstance(understood, str):
                self.report(Finding(file, number, Level.ERROR, understood))
                return
            head = _Head(_series(line), understood.tags.get("agent", ""), understood.measurement == MEASUREMENT)
            stamp = understood.stamp
            if self._judge(file, number, understood) and found is not None:
                self._remember(beginning, head)
        self._count(file, number, head, stamp)

    def _judge(self, file: str, number: int, line: Line) -> bool:
        """Tell what is wrong with tags and fields; return whether nothing is."""
        problems = [*_tag_problems(line), *_field_problems(line)]
        for name, value in line.fields.items():
            if _expected(line.measurement, name) is None:
                problems += self._unknown_field(file, number, line.measurement, name, type(value))
        for problem in problems:
            self.report(Finding(file, number, Level.ERROR, problem))
        return not problems

    def _unknown_field(self, file: str, number: int, measurement: str, name: str, kind: type) -> list[str]:
        before = self._unknown.setdefault((measurement, name), kind)
        if before is not kind:
            return [f"field {name} is {_WORDS[kind]}; in an earlier line it was {_WORDS[before]}"]
        if name not in self._named:
            self._named.add(name)
            self.report(Finding(file, number, Level.WARNING, f"field {name} of {measurement} is not documented"))
        return []

    def _remember(self, beginning: bytes, head: _Head) -> None:
        if len(self._heads) >= _MOST_HEADS:
            self._heads.clear()
        self._heads[beginning] = head

    def _count(self, file: str, number: int, head: _Head, stamp: int) -> None:
        point = hash((head.series, stamp))
        if point in self._points:
            self._counts.duplicates += 1
            self.report(
                Finding(file, number, Level.ERROR, "an earlier line has the same tags and time: one point only")
            )
        self._points.add(point)
        if head.sample and stamp <= MOST_INTEGER:
            hour, minute = divmod(stamp // NS_PER_MINUTE, 60)
            seen = self._hours.get((head.agent, hour))
            if seen is None:
                seen = self._hours[head.agent, hour] = _Hour(file, number)
            seen.minutes |= 1 << minute


def gaps(minutes: int) -> list[tuple[int, int]]:
    """Given a bit for each minute of an hour that has a sample, return first and last minute of each gap."""
    found: list[tuple[int, int]] = []
    for minute in _WINDOW:
        between = minutes >> minute and minutes & ((1 << minute) - 1)
        if not between or minutes >> minute & 1:
            continue
        if found and found[-1][1] == minute - 1:
            found[-1] = found[-1][0], minute
        else:
            found.append((minute, minute))
    return found


def _understood(line: bytes) -> Line | str:
    """What a line says, or why it says nothing."""
    try:
        text = line.decode("utf-8")
    except UnicodeDecodeError:
        return "not UTF-8"
    try:
        if text.startswith(f"{AGENT_MEASUREMENT},"):
            # Line for line the same shape, but for a name that `parse` does not know.
            return replace(
                parse(text.replace(AGENT_MEASUREMENT, SUMMARY_MEASUREMENT, 1)), measurement=AGENT_MEASUREMENT
            )
        return parse(text)
    except MetricsError as problem:
        return str(problem)


def _series(line: bytes) -> bytes:
    return re.split(rb"(?<!\\) ", line, maxsplit=1)[0]


def _expected(measurement: str, field: str) -> type | None:
    schema = SCHEMAS[measurement]
    return schema.always.get(field) or schema.sometimes.get(field)


def _tag_problems(line: Line) -> list[str]:
    tags = SCHEMAS[line.measurement].tags
    missing, more = sorted(tags - set(line.tags)), sorted(set(line.tags) - tags)
    return [f"tag {name} is missing" for name in missing] + [f"tag {name} is none of ours" for name in more]


def _field_problems(line: Line) -> list[str]:
    always = SCHEMAS[line.measurement].always
    problems = [f"field {name} is missing" for name in always if name not in line.fields]
    if line.stamp > MOST_INTEGER:
        problems.append("the timestamp is too large")
    for name, value in line.fields.items():
        expected = _expected(line.measurement, name)
        if expected is not None and type(value) is not expected:
            problems.append(f"field {name} is {_WORDS[type(value)]} and must be {_WORDS[expected]}")
        elif isinstance(value, int) and abs(value) > MOST_INTEGER:
            problems.append(f"field {name} is too large")
    return problems
