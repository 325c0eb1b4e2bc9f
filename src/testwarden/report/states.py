"""What the agents' own lines say, one a minute (agent.csv): how much of each budget was used, when the kill switch stood.

A line counts for the minute that ends with it. Where an agent wrote none for a while it was not running, and nothing is known.
"""

from __future__ import annotations

import re
from array import array
from collections.abc import Iterator
from dataclasses import dataclass, field

from testwarden.console.text import cut, safe_line
from testwarden.metrics.line_protocol import UNKNOWN
from testwarden.report.tallies import NS_PER_HOUR

AGENT_LINE = b"testwarden_agent,"
MINUTE = 60 * 10**9
GAP = 5 * MINUTE
"""Nanoseconds: when two lines are further apart, the agent was not running between them."""
LONGEST_LABEL = 40
"""Characters of a tag that are shown."""
STATES = {0: "clear", 1: "active", 2: "unknown"}

_STRINGS = re.compile(rb'"(?:[^"\\]|\\.)*"')
_AGENT = re.compile(rb",agent=((?:[^\\ ,=]|\\.)+)")
_SWITCH = re.compile(rb"[ ,]kill_switch=(\d)i")
_BUDGET = re.compile(rb"[ ,](\w+)_(used|limit)=(\d+(?:\.\d+)?(?:e[-+]?\d+)?)i?(?=[ ,])")
_STAMP = re.compile(rb" (\d{1,19})$")


@dataclass(frozen=True)
class Use:
    """The most that was used of a budget in one hour, and its limit then."""

    used: float
    limit: float

    @property
    def share(self) -> float:
        """Of the limit; 0 where there is none."""
        return self.used / self.limit if self.limit else 0.0


@dataclass(frozen=True)
class Period:
    """A time in which the kill switch was not clear."""

    agent: str
    state: str
    """`active` or `unknown`."""
    begin: int
    end: int
    """Nanoseconds since 1970-01-01 UTC."""


@dataclass
class States:
    """What the lines of all agents say."""

    uses: dict[str, dict[str, dict[int, Use]]] = field(default_factory=dict)
    """By agent, budget (`download`, `bytes`, `ant` …) and hour."""
    _switch: dict[str, tuple[array[int], array[int]]] = field(default_factory=dict)
    """By agent: stamps, and the kill switch then."""

    def add(self, line: bytes, first: int, last: int) -> int | None:
        """Given a line, and from when to when lines count, return its time; None for one that is not understood."""
        bare = _STRINGS.sub(b'""', line)  # A reason can hold anything, such as the name of a field.
        agent, switch, stamp = (pattern.search(bare) for pattern in (_AGENT, _SWITCH, _STAMP))
        if agent is None or switch is None or stamp is None:
            return None
        name = label(re.sub(rb"\\([ ,=])", rb"\1", agent[1]).decode("utf-8", "replace"))
        when = int(stamp[1])
        if first <= when <= last:
            stamps, states = self._switch.setdefault(name, (array("q"), array("b")))
            stamps.append(when)
            states.append(int(switch[1]))
            self._add_uses(name, (when - 1) // NS_PER_HOUR, bare)
        return when

    def _add_uses(self, agent: str, hour: int, bare: bytes) -> None:
        numbers = {(budget, what): float(number) for budget, what, number in _BUDGET.findall(bare)}
        budgets = self.uses.setdefault(agent, {})
        for (budget, what), used in numbers.items():
            limit = numbers.get((budget, b"limit"))
            if what == b"used" and limit is not None:
                hours = budgets.setdefault(budget.decode(), {})
                before = hours.get(hour)
                if before is None or (used / limit if limit else 0.0, used) > (before.share, before.used):
                    hours[hour] = Use(used, limit)

    @property
    def periods(self) -> list[Period]:
        """When the kill switch was not clear, by agent and time."""
        return [period for agent in sorted(self._switch) for period in _periods(agent, *self._switch[agent])]


def _periods(agent: str, stamps: array[int], states: array[int]) -> Iterator[Period]:
    begin = end = state = 0
    for stamp, now in sorted(zip(stamps, states, strict=True)):
        goes_on = now == state and stamp - end <= GAP
        if state and not goes_on:
            yield Period(agent, STATES.get(state, "unknown"), begin, end)
        if not goes_on:
            begin = stamp - MINUTE
        end, state = stamp, now
    if state:
        yield Period(agent, STATES.get(state, "unknown"), begin, end)


def label(text: str) -> str:
    """Given the value of a tag, return it as it is shown: one line, bounded, never empty."""
    return cut(safe_line(text), LONGEST_LABEL) or UNKNOWN
