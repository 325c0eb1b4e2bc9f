"""A sample as one line of InfluxDB line protocol, and back.

The shape of our lines, which is narrower than line protocol (`,cost` where it is known, `,exec_time` where it is one):

    testwarden,agent=…,…,connection=xx ok=true,…,attempt=1i,reason="…",commit="…",bytes=7i,exec_time=1.250000 STAMP

All tags are there, in this order, and none is empty. Everything that repeats from sample to sample stands before
`,bytes=`, so that it can be made, and read, once. Behind it are only numbers: the last `,bytes=` of a line is this one.
What only some types of test measure (`Sample.figures`) stands just before it.

Escaping follows InfluxDB's reference, "Line protocol: special characters"; a tag value that ends in a backslash cannot
be carried by its parser at all, so a backslash in a tag becomes a slash. exec_time is written in microseconds.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import NamedTuple

from testwarden.errors import MetricsError
from testwarden.model import Figure, Outcome, Sample

MEASUREMENT = "testwarden"
SUMMARY_MEASUREMENT = "testwarden_summary"
UNKNOWN = "xx"

MICROSECONDS = 1_000_000
LONGEST_TAG = 200
"""Characters: InfluxDB refuses a point whose measurement and tags pass 65,535 bytes."""
LONGEST_STRING = 500
"""Characters of a string field, such as `reason`."""
MOST_INTEGER = 2**63 - 1
"""InfluxDB's integers and timestamps are signed 64-bit numbers."""
_MOST_SECONDS = 1e9
_MOST_HEADS = 4096
"""What is remembered of repeating beginnings is forgotten beyond so many: reasons can differ without end."""

_NUMBERS_TEMPLATE = b",bytes=%di,exec_time=%.6f %d\n"

_CONTROLS: dict[int, str] = dict.fromkeys([*range(0x20), *range(0x7F, 0xA0), 0x2028, 0x2029], " ")
_TAG_ESCAPES = str.maketrans({"\\": "/", ",": "\\,", "=": "\\=", " ": "\\ "})
_STRING_ESCAPES = str.maketrans({"\\": "\\\\", '"': '\\"'})
_FLAGS = tuple(
    outcome for outcome in Outcome if outcome not in (Outcome.OK, Outcome.MD5_INVALID, Outcome.THRESHOLDS_FAILED)
)
_THRESHOLDS_FAILED = f",{Outcome.THRESHOLDS_FAILED.value}=true"
"""Only load tests have thresholds: the field is in the lines of those that failed, and in no other."""


@dataclass(frozen=True)
class Identity:
    """What is the same in every sample of an agent: its name, and what its operator says about the connection."""

    agent: str
    country: str = UNKNOWN
    provision: str = UNKNOWN
    connection: str = UNKNOWN


class Group(NamedTuple):
    """What the summary counts together: measurement and tags of the summary line, and how the attempt ended."""

    series: bytes
    outcome: Outcome


class Row(NamedTuple):
    """What the summary needs to know of one line."""

    group: Group
    bytes: int
    micros: int | None
    """exec_time in microseconds, None where the line has none."""
    stamp: int


@dataclass(frozen=True)
class Line:
    """One line of line protocol, understood."""

    measurement: str
    tags: dict[str, str]
    fields: dict[str, bool | int | float | str]
    stamp: int
    """Nanoseconds since 1970-01-01 UTC."""


def tag(value: str) -> str:
    """Given any text, return it as a tag value: bounded, one line, escaped, never empty (`xx`), a slash for a backslash."""
    return (_one_line(value, LONGEST_TAG).strip() or UNKNOWN).translate(_TAG_ESCAPES)


def string(value: str) -> str:
    """Given any text, return it as a string field with its quotes: bounded, one line, escaped."""
    return f'"{_one_line(value, LONGEST_STRING).translate(_STRING_ESCAPES)}"'


class LineWriter:
    """Writes the lines of one agent. Not thread-safe."""

    def __init__(self, identity: Identity) -> None:
        self._agent = f"agent={tag(identity.agent)}"
        self._operator = (
            f"country={tag(identity.country)},provision={tag(identity.provision)},connection={tag(identity.connection)}"
        )
        self._heads: dict[tuple[object, ...], tuple[bytes, Group]] = {}

    def line(self, sample: Sample, stamp: int) -> tuple[bytes, Group, int | None]:
        """Given a sample and its timestamp, return its line, its group in the summary and its exec_time in microseconds.

        exec_time is None, and not in the line, where it is no duration: negative, NaN, infinite, more than 30 years. Raise
        ValueError for a timestamp or a number of bytes that InfluxDB cannot hold. It runs once for each sample: no calls.
        """
        # An Enum that is no str hashes slowly, hence `label`.
        key = (
            sample.type,
            None if sample.filesize is None else sample.filesize.label,
            sample.task,
            sample.worker,
            sample.client,
            sample.outcome,
            sample.md5_valid,
            sample.attempt,
            sample.reason,
            sample.commit,
        )
        try:
            template, group = self._heads[key]
        except KeyError:
            template, group = self._new_head(key, sample)
        size, seconds = sample.bytes, sample.exec_time
        if not (0 <= stamp <= MOST_INTEGER and 0 <= size <= MOST_INTEGER):
            raise ValueError(f"no line can hold the timestamp {stamp} or {size} bytes")
        micros = int(seconds * 1e6 + 0.5) if 0.0 <= seconds < _MOST_SECONDS else None
        if micros is None or sample.cost is not None or sample.figures:
            return _rare_line(template, sample, micros, stamp), group, micros
        # A float holds the microseconds of 30 years well enough for six decimals. % on bytes is the fastest way.
        return template % (size, micros / 1e6, stamp), group, micros

    def _new_head(self, key: tuple[object, ...], sample: Sample) -> tuple[bytes, Group]:
        """What a line is made from with its numbers, and the group that all lines made from it belong to."""
        size = UNKNOWN if sample.filesize is None else tag(sample.filesize.label)
        kind = f"type={tag(sample.type.value)},filesize={size}"
        what = f"task={tag(sample.task)},worker={tag(str(sample.worker))},client={tag(sample.client)}"
        text = (
            f"{MEASUREMENT},{self._agent},{kind},{what},{self._operator} {_flags(sample)},attempt={sample.attempt}i,"
            f"reason={string(sample.reason)},commit={string(sample.commit)}"
        )
        series = f"{SUMMARY_MEASUREMENT},{self._agent},{kind},{self._operator}"
        if len(self._heads) >= _MOST_HEADS:
            self._heads.clear()
        template = text.replace("%", "%%").encode() + _NUMBERS_TEMPLATE
        head = self._heads[key] = template, Group(series.encode(), sample.outcome)
        return head


def _rare_line(template: bytes, sample: Sample, micros: int | None, stamp: int) -> bytes:
    """The line of a sample that has a cost or figures, or no exec_time."""
    figures = "".join(_figure(name, value) for name, value in sample.figures).encode()
    cost = b"" if sample.cost is None else _cost(sample.cost)
    head = template.removesuffix(_NUMBERS_TEMPLATE).replace(b"%%", b"%")
    seconds = b"" if micros is None else b",exec_time=%.6f" % (micros / 1e6)
    return b"%b%b,bytes=%di%b%b %d\n" % (head, figures, sample.bytes, seconds, cost, stamp)


def _figure(name: str, value: Figure) -> str:
    """The field with its comma, or nothing for a number that InfluxDB cannot hold."""
    if isinstance(value, str):
        return f",{name}={string(value)}"
    if isinstance(value, bool):
        return f",{name}={'true' if value else 'false'}"
    if isinstance(value, int):
        return f",{name}={value}i" if abs(value) <= MOST_INTEGER else ""
    return f",{name}={value!r}" if math.isfinite(value) else ""


def _flags(sample: Sample) -> str:
    """The boolean fields: at most one of the error kinds is true; MD5_INVALID shows as `ok` and all of them false, and
    so does THRESHOLDS_FAILED, with a field of its own behind them."""
    flags = {
        "ok": sample.outcome is Outcome.OK,
        "md5_checked": sample.md5_valid is not None,
        "md5_valid": sample.md5_valid is True,
        **{kind.value: sample.outcome is kind for kind in _FLAGS},
    }
    text = ",".join(f"{name}={'true' if value else 'false'}" for name, value in flags.items())
    return text + _THRESHOLDS_FAILED if sample.outcome is Outcome.THRESHOLDS_FAILED else text


def _cost(cost: Decimal) -> bytes:
    """The field with its comma, or nothing for a cost that no float can hold."""
    value = math.nan if cost.is_snan() else float(cost)
    return f",cost={value!r}".encode() if math.isfinite(value) else b""


def _one_line(value: str, most: int) -> str:
    """A bounded text on one line. Lone surrogates (bytes of a client's output that were no UTF-8) become question marks."""
    return value[:most].encode("utf-8", "replace").decode("utf-8").translate(_CONTROLS)


_TAG = r"(?:[^\\ ,=\n]|\\[ ,=])+"
_STRING = r'"(?:[^"\\\n]|\\["\\])*"'
_BOOLEAN = r"(?:true|false)"
_FLOAT = r"-?\d+(?:\.\d+)?(?:e[-+]?\d+)?"
_VALUE = rf"(?:{_STRING}|{_BOOLEAN}|-?\d+i|{_FLOAT})"
_HEAD = re.compile(
    rf"{MEASUREMENT},(agent={_TAG},type={_TAG},filesize={_TAG}),task={_TAG},worker={_TAG},client={_TAG},"
    rf"(country={_TAG},provision={_TAG},connection={_TAG}) ok=({_BOOLEAN}),md5_checked={_BOOLEAN},"
    rf"md5_valid={_BOOLEAN},({','.join(f'{kind.value}={_BOOLEAN}' for kind in _FLAGS)})({_THRESHOLDS_FAILED})?,attempt=-?\d+i,"
    rf"reason={_STRING},commit={_STRING}(?:,\w+={_VALUE})*",
    re.ASCII,
)
_NUMBERS = re.compile(rf"(\d+)i(?:,exec_time=(\d+)\.(\d{{6}}))?(?:,cost={_FLOAT})? (\d+)".encode())
_LINE = re.compile(
    rf"({MEASUREMENT}|{SUMMARY_MEASUREMENT})((?:,\w+={_TAG})+) ((?:\w+={_VALUE},)*\w+={_VALUE}) (\d+)", re.ASCII
)
_EACH_TAG = re.compile(rf",(\w+)=({_TAG})", re.ASCII)
_EACH_FIELD = re.compile(rf"(\w+)=({_VALUE})", re.ASCII)


class LineReader:
    """Reads lines that a LineWriter wrote, fast. Not thread-safe."""

    def __init__(self) -> None:
        self._groups: dict[bytes, Group | None] = {}

    def rows(self, chunk: bytes) -> Iterator[tuple[bytes, Row | None]]:
        """Given whole lines, return each line (without its end) with what it says, or None for one that is not ours."""
        for line in chunk.split(b"\n")[:-1]:
            head, _, numbers = line.rpartition(b",bytes=")
            group = self._group(head)
            found = _NUMBERS.fullmatch(numbers)
            if group is None or found is None:
                yield line, None
                continue
            size, seconds, rest, stamp = found.groups()
            yield line, Row(group, int(size), None if seconds is None else int(seconds + rest), int(stamp))

    def _group(self, head: bytes) -> Group | None:
        if head not in self._groups:
            if len(self._groups) >= _MOST_HEADS:
                self._groups.clear()
            self._groups[head] = _group_of(head)
        return self._groups[head]


def _group_of(head: bytes) -> Group | None:
    try:
        found = _HEAD.fullmatch(head.decode("utf-8"))
    except UnicodeDecodeError:
        return None
    if found is None:
        return None
    kind, operator, ok, flags, thresholds = found.groups()
    raised = [outcome for outcome, flag in zip(_FLAGS, flags.split(","), strict=True) if flag.endswith("=true")]
    neither = Outcome.THRESHOLDS_FAILED if thresholds else Outcome.MD5_INVALID
    outcome = Outcome.OK if ok == "true" else raised[0] if raised else neither
    return Group(f"{SUMMARY_MEASUREMENT},{kind},{operator}".encode(), outcome)


def parse(line: str) -> Line:
    """Given a line of ours (sample or summary, without its end), return what it says. Raise MetricsError for another."""
    found = _LINE.fullmatch(line)
    if found is None:
        raise MetricsError(f"not a line of ours: {line[:200]!r}")
    measurement, tags, fields, stamp = found.groups()
    return Line(
        measurement,
        {key: re.sub(r"\\([ ,=])", r"\1", value) for key, value in _EACH_TAG.findall(tags)},
        {key: _value(text) for key, text in _EACH_FIELD.findall(fields)},
        int(stamp),
    )


def _value(text: str) -> bool | int | float | str:
    if text.startswith('"'):
        return re.sub(r'\\(["\\])', r"\1", text[1:-1])
    if text in ("true", "false"):
        return text == "true"
    return int(text[:-1]) if text.endswith("i") else float(text)
