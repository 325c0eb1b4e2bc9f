"""The axis of time: from the first hour to the last, in as many steps as a chart can show."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from testwarden.report.tallies import Hour, Tally, joined

MOST_STEPS = 84
"""Three and a half days by the hour."""
_WIDTHS = (1, 2, 3, 6, 12, 24, 48, 168, 336, 720)
_TICKS = (1, 2, 3, 6, 12, 24, 48, 96, 168, 336, 720, 2160, 8640)


@dataclass(frozen=True)
class Axis:
    """Hours are whole hours since 1970-01-01 UTC."""

    first: int
    last: int
    """Of the last step, the last hour."""
    width: int
    """Hours of one step."""

    @property
    def steps(self) -> range:
        """The first hour of each step."""
        return range(self.first, self.last + 1, self.width)

    def step_of(self, hour: int) -> int:
        """Given an hour, return the first hour of its step."""
        return hour - (hour - self.first) % self.width

    def ticks(self, most: int) -> tuple[int, list[int]]:
        """Return how many hours the ticks are apart, and where they are, at most so many of them."""
        length = self.last + 1 - self.first
        apart = next((ticks for ticks in _TICKS if length / ticks <= most), _TICKS[-1])
        begin = -(-self.first // apart) * apart
        return apart, list(range(begin, self.last + 2, apart))

    def stepped(self, tallies: Iterable[Tally]) -> dict[int, Hour]:
        """Given tallies, return what they hold together, by step; steps without attempts are left out."""
        steps: dict[int, Hour] = {}
        for tally in tallies:
            for hour, held in tally.hours.items():
                step = self.step_of(hour)
                steps[step] = joined((steps[step], held)) if step in steps else joined((held,))
        return dict(sorted(steps.items()))


def axis_of(first: int, last: int) -> Axis:
    """Given the first and the last hour with a sample, return the axis: it begins and ends where a step does."""
    length = last - first + 1
    width = next((width for width in _WIDTHS if length / width <= MOST_STEPS), _WIDTHS[-1])
    begin = first // width * width
    return Axis(begin, begin + -(-(last + 1 - begin) // width) * width - 1, width)


def decades(low: float, high: float, most: int) -> list[float]:
    """Given a range of values above 0, return where to put ticks on a logarithmic scale, at most so many of them."""
    first, last = math.floor(math.log10(low)), math.floor(math.log10(high))
    powers = range(first, last + 1)
    for steps in ((1, 2, 3, 4, 5, 6, 7, 8, 9), (1, 2, 5), (1, 3), (1,)):
        ticks = [step * 10.0**power for power in powers for step in steps if low <= step * 10.0**power <= high]
        if len(ticks) <= most:
            return ticks
    apart = -(-len(powers) // most)
    return [10.0**power for power in powers if power % apart == 0 and low <= 10.0**power <= high]
