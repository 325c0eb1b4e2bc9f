"""One line per test type and file size for each UTC minute: how many attempts, how they ended, how long they took.

All attempts of the minute count, in every figure, failed ones too: the error counts beside them say how many those are.
p50 and p95 are measured values: in order, the one whose rank is nearest to 50 % (95 %) of their number, as InfluxQL's
`percentile()` takes it, so that both tell the same.
A minute is the number of whole minutes since 1970-01-01 UTC. Durations are counted in whole microseconds, as the lines
carry them, so that a summary is the same whether it was counted while recording or read back from the lines.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from testwarden.metrics.line_protocol import MICROSECONDS, MOST_INTEGER, Group
from testwarden.model import Outcome

NS_PER_MINUTE = 60 * 10**9


@dataclass(slots=True)
class Tally:
    """What is counted of the attempts of one minute that belong together."""

    times: array[int] = field(default_factory=lambda: array("q"))
    """exec_time of each attempt that has one, in microseconds."""
    untimed: int = 0
    bytes: int = 0

    @property
    def count(self) -> int:
        return len(self.times) + self.untimed


class Summary:
    """Counts attempts by minute and group, and says so in line protocol. Eight bytes of memory an attempt."""

    def __init__(self) -> None:
        self._minutes: dict[int, dict[Group, Tally]] = {}
        self._groups: dict[Group, Tally] = {}
        """Those of the minute of the sample before: from `_begin` to `_end`, in nanoseconds."""
        self._begin = self._end = 0

    @property
    def minutes(self) -> set[int]:
        """The minutes in which attempts ended."""
        return set(self._minutes)

    @property
    def count(self) -> int:
        """How many attempts were added."""
        return sum(tally.count for groups in self._minutes.values() for tally in groups.values())

    def add(self, group: Group, size: int, micros: int | None, stamp: int) -> None:
        """Given the group of an attempt, its bytes, its exec_time in microseconds and its timestamp, count it."""
        if not self._begin <= stamp < self._end:
            self._turn_to(stamp // NS_PER_MINUTE)
        tally = self._groups.get(group)
        if tally is None:
            tally = self._groups[group] = Tally()
        tally.bytes += size
        if micros is None:
            tally.untimed += 1
        else:
            tally.times.append(micros)

    def _turn_to(self, minute: int) -> None:
        self._groups = self._minutes.setdefault(minute, {})
        self._begin = minute * NS_PER_MINUTE
        self._end = self._begin + NS_PER_MINUTE

    def lines(self) -> Iterator[bytes]:
        """Return the summary lines, by minute, then by type and size."""
        for minute in sorted(self._minutes):
            groups = self._minutes[minute]
            for series in sorted({group.series for group in groups}):
                tallies = {group.outcome: tally for group, tally in groups.items() if group.series == series}
                yield b"%s %s %d\n" % (series, _fields(tallies).encode(), minute * NS_PER_MINUTE)


def nearest_rank(ordered: list[int], percent: int) -> int:
    """Given values in rising order and a percentage, return the value of the nearest rank (a half is rounded up)."""
    return ordered[max(0, (len(ordered) * percent + 50) // 100 - 1)]


def _fields(tallies: dict[Outcome, Tally]) -> str:
    counts = {"count": sum(tally.count for tally in tallies.values())}
    counts |= {outcome.value: tallies[outcome].count if outcome in tallies else 0 for outcome in Outcome}
    counts |= {"bytes": min(sum(tally.bytes for tally in tallies.values()), MOST_INTEGER)}
    times = sorted(_joined(tally.times for tally in tallies.values()))
    return ",".join([f"{name}={number}i" for name, number in counts.items()] + _durations(times))


def _joined(parts: Iterable[array[int]]) -> array[int]:
    joined = array("q")
    for part in parts:
        joined.extend(part)
    return joined


def _durations(times: list[int]) -> list[str]:
    """Given microseconds in rising order, return the fields in seconds; none where nothing was timed."""
    if not times:
        return []
    values = {
        "min": times[0],
        "max": times[-1],
        "mean": round(sum(times) / len(times)),
        "p50": nearest_rank(times, 50),
        "p95": nearest_rank(times, 95),
    }
    return [f"{name}={value // MICROSECONDS}.{value % MICROSECONDS:06d}" for name, value in values.items()]
