"""An InfluxDB in memory: the twin of the doors, with a set of points, and what can be wrong with a server."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from testwarden.metrics.influx import Refusal

Trouble = Callable[[int], None]
"""Given the number of a write, from 1, raise what goes wrong with it."""


class MemoryInflux:
    """Stores lines, the last of the same tags and time, in the order of their writes. A line with a word of `hates` in it
    is refused as influxd 1 does it: without saying which line it was."""

    name = "an InfluxDB in memory"

    def __init__(self, hates: Iterable[bytes] = (), trouble: Trouble = lambda _: None) -> None:
        self.hates = tuple(hates)
        self.trouble = trouble
        self.points: dict[bytes, bytes] = {}
        self.bodies: list[bytes] = []
        self.closed = 0

    @property
    def written(self) -> list[bytes]:
        """Each line of each write."""
        return [line for body in self.bodies for line in body.splitlines()]

    def write(self, body: bytes, lines: int) -> Refusal | None:
        assert body.count(b"\n") == lines
        self.bodies.append(body)
        self.trouble(len(self.bodies))
        bad = 0
        for line in body.splitlines():
            if any(word in line for word in self.hates):
                bad += 1
            else:
                self.points[line.split(b" ", 1)[0] + line.rsplit(b" ", 1)[1]] = line
        return Refusal(f"partial write: it hates {bad} of them") if bad else None

    def close(self) -> None:
        self.closed += 1
