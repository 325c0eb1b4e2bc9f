"""Attempts, as Prometheus counts them: by test type, file size and outcome, since the agent was started."""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator

from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from testwarden.metrics.line_protocol import UNKNOWN
from testwarden.model import Sample

BOUNDS = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0)
"""Seconds: upper bounds of the histogram. An attempt may last the window, 50 minutes."""

_Kind = tuple[str, ...]
"""Test type and file size (`xx` for a type that is not about files, as in the metrics files); then perhaps the outcome."""


class AttemptCollector(Collector):
    """Counts attempts. Thread-safe. The library's own counters would add a `_created` series to each of these."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._outcomes: Counter[_Kind] = Counter()
        self._bytes: Counter[_Kind] = Counter()
        self._buckets: dict[_Kind, list[int]] = defaultdict(lambda: [0] * (len(BOUNDS) + 1))
        self._seconds: dict[_Kind, float] = defaultdict(float)

    def note(self, sample: Sample) -> None:
        """Count an attempt. What is no duration (NaN, negative) is counted, and not among the durations."""
        kind = sample.type.value, sample.filesize.label if sample.filesize else UNKNOWN
        ended = (*kind, sample.outcome.value)
        with self._lock:
            self._outcomes[ended] += 1
            self._bytes[kind] += sample.bytes
            if 0.0 <= sample.exec_time < float("inf"):
                self._buckets[kind][bisect_left(BOUNDS, sample.exec_time)] += 1
                self._seconds[kind] += sample.exec_time

    def describe(self) -> Iterable[Metric]:
        """Return nothing: what is there depends on the attempts."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """Yield what was counted so far."""
        with self._lock:
            outcomes, moved = dict(self._outcomes), dict(self._bytes)
            times = {kind: (list(buckets), self._seconds[kind]) for kind, buckets in self._buckets.items()}
        yield _counter("testwarden_attempts", "Attempts, by how they ended.", ["type", "filesize", "outcome"], outcomes)
        yield _counter("testwarden_attempt_bytes", "Bytes that attempts moved.", ["type", "filesize"], moved)
        said = "How long the client of an attempt took, failed attempts too."
        histogram = HistogramMetricFamily("testwarden_attempt_duration_seconds", said, labels=["type", "filesize"])
        for kind, (buckets, seconds) in times.items():
            histogram.add_metric(kind, _cumulated(buckets), seconds)
        yield histogram


def _counter(name: str, said: str, labels: list[str], rows: dict[_Kind, int]) -> CounterMetricFamily:
    counter = CounterMetricFamily(name, said, labels=labels)
    for row, value in rows.items():
        counter.add_metric(row, value)
    return counter


def _cumulated(buckets: list[int]) -> list[tuple[str, float]]:
    """Return upper bounds with how many attempts took no longer."""
    total, rows = 0, []
    for bound, count in zip((*map(str, BOUNDS), "+Inf"), buckets, strict=True):
        total += count
        rows.append((bound, float(total)))
    return rows
