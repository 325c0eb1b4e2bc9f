"""What a report keeps of the samples: counts by hour, and two numbers of each attempt. No object per sample.

An hour is the number of whole hours since 1970-01-01 UTC. Durations are whole microseconds, as the lines carry them.
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from testwarden.model import Outcome

NS_PER_HOUR = 3600 * 10**9
OK = Outcome.OK.value
OTHER = "other_error"
"""An attempt that was not ok, for a reason that only a newer version knows."""
KINDS = (
    Outcome.NETWORK_ERROR.value,
    Outcome.CLIENT_ERROR.value,
    Outcome.CLIENT_KILLED.value,
    Outcome.DATA_LOSS.value,
    Outcome.MD5_INVALID.value,
    Outcome.THRESHOLDS_FAILED.value,
    Outcome.UNKNOWN_ERROR.value,
    OTHER,
)
"""How an attempt can end other than ok, in the order in which it is shown."""
MOST_REASONS = 500
"""Different reasons that are counted; they can differ without end."""


class Series(NamedTuple):
    """What is shown apart: who measured, what, with files of which size."""

    agent: str
    type: str
    size: str
    """`xx` for a type that is not about files."""

    @property
    def kind(self) -> str:
        """Type and size for a person."""
        return self.type if self.size == "xx" else f"{self.type} {self.size}"


@dataclass(slots=True)
class K6Hour:
    """Sums over the k6 runs of an hour that measured requests."""

    runs: int = 0
    requests: int = 0
    failed: float = 0.0
    """Requests that failed by k6's own account: rate times requests."""
    rps: float = 0.0
    """Of requests a second."""
    p50: float = 0.0
    p95: float = 0.0
    """Of seconds."""
    slowest: float = 0.0
    """Seconds; the largest, no sum."""
    checks_failed: int = 0
    thresholds_failed: int = 0
    """Runs."""

    def add(self, other: K6Hour) -> None:
        """Count another hour in."""
        for name in ("runs", "requests", "failed", "rps", "p50", "p95", "checks_failed", "thresholds_failed"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.slowest = max(self.slowest, other.slowest)


@dataclass(slots=True)
class Costs:
    """What quotes or uploads cost, in ANT."""

    count: int = 0
    sum: float = 0.0
    least: float = float("inf")
    most: float = 0.0

    def add(self, count: int, total: float, least: float, most: float) -> None:
        """Count some more in: how many, their sum, the smallest and the largest."""
        self.count += count
        self.sum += total
        self.least = min(self.least, least)
        self.most = max(self.most, most)

    @property
    def mean(self) -> float:
        return self.sum / self.count


@dataclass(slots=True)
class Hour:
    """The attempts of a series that ended in one hour, or of several series and hours together."""

    ended: Counter[str] = field(default_factory=Counter)
    """How many ended how: `ok` and KINDS."""
    bytes: int = 0
    bytes_ok: int = 0
    micros_ok: int = 0
    """Bytes and durations of those attempts that moved something and were ok: what throughput is made of."""
    costs: Costs | None = None
    k6: K6Hour | None = None

    def add(self, other: Hour) -> None:
        """Count another hour in."""
        self.ended.update(other.ended)
        self.bytes += other.bytes
        self.bytes_ok += other.bytes_ok
        self.micros_ok += other.micros_ok
        if other.costs is not None:
            self.costs = self.costs or Costs()
            self.costs.add(other.costs.count, other.costs.sum, other.costs.least, other.costs.most)
        if other.k6 is not None:
            self.k6 = self.k6 or K6Hour()
            self.k6.add(other.k6)

    @property
    def count(self) -> int:
        return sum(self.ended.values())

    @property
    def ok(self) -> int:
        return self.ended[OK]

    @property
    def throughput(self) -> float | None:
        """Bytes a second of the attempts that were ok and moved something; None where there is none."""
        return self.bytes_ok * 1e6 / self.micros_ok if self.micros_ok else None


@dataclass(slots=True)
class Tally:
    """All attempts of one series."""

    hours: dict[int, Hour] = field(default_factory=dict)
    times: array[int] = field(default_factory=lambda: array("q"))
    """exec_time of each attempt that has one, in microseconds."""
    rates: array[float] = field(default_factory=lambda: array("d"))
    """Bytes a second of each attempt that was ok and moved something."""
    retries: int = 0
    """Attempts that were not the first try."""

    @property
    def total(self) -> Hour:
        """All hours together."""
        return joined(self.hours.values())


@dataclass
class Samples:
    """What the files say."""

    tallies: dict[Series, Tally] = field(default_factory=dict)
    reasons: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    """How often an attempt of which type ended how, for which reason."""
    newest: int = 0
    """Nanoseconds since 1970-01-01 UTC, of any sample that was read, shown or not."""

    @property
    def agents(self) -> list[str]:
        """Who measured, most attempts first."""
        counts: Counter[str] = Counter()
        for series, tally in self.tallies.items():
            counts[series.agent] += sum(hour.count for hour in tally.hours.values())
        return [agent for agent, _ in sorted(counts.items(), key=lambda item: (-item[1], item[0]))]

    @property
    def types(self) -> list[str]:
        """The types of tests, in the order of the alphabet."""
        return sorted({series.type for series in self.tallies})

    @property
    def span(self) -> tuple[int, int] | None:
        """The first and the last hour with a sample; None if there is none."""
        hours = [hour for tally in self.tallies.values() for hour in tally.hours]
        return (min(hours), max(hours)) if hours else None

    def by(self, key: Callable[[Series], str | None]) -> dict[str, list[Tally]]:
        """Given what names a series, return the tallies by that name, in order of the names; None leaves one out."""
        found: dict[str, list[Tally]] = {}
        for series in sorted(self.tallies):
            name = key(series)
            if name is not None:
                found.setdefault(name, []).append(self.tallies[series])
        return found


def joined(hours: Iterable[Hour]) -> Hour:
    """Return several hours together."""
    total = Hour()
    for hour in hours:
        total.add(hour)
    return total


def all_times(tallies: Iterable[Tally]) -> list[int]:
    """Return the durations of all attempts in rising order, in microseconds."""
    return sorted(_flat(tally.times for tally in tallies))


def all_rates(tallies: Iterable[Tally]) -> list[float]:
    """Return the bytes a second of all attempts that have some, in rising order."""
    return sorted(_flat(tally.rates for tally in tallies))


def _flat(parts: Iterable[array]) -> Iterator:  # type: ignore[type-arg]  # of either kind of number
    for part in parts:
        yield from part
