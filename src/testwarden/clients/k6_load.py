"""How much load a k6 run makes: what is asked for, what k6 says it would do, what is allowed, and what comes of it.

Checked with v1.8.1 and v2.2.0: `--duration`, `--iterations` and `--stage` (or `K6_DURATION` …) replace the scenarios of a
script entirely; a number of virtual users together with one of them is obeyed by both. Alone, it is ignored by v1 where
the script has scenarios or no load of its own. Whatever runs by these options gives its iterations GRACEFUL seconds to
end, and no option changes that.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from testwarden.clients.k6_numbers import number, whole
from testwarden.model import K6Options

GRACEFUL = 30.0
"""Seconds after the duration in which iterations may come to their end: k6's default gracefulStop."""

_UNITS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "μs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_PART = re.compile(r"(\d+(?:\.\d*)?|\.\d+)(ns|us|µs|μs|ms|s|m|h|d)", re.ASCII)
_PLAIN = re.compile(r"\d+(?:\.\d+)?", re.ASCII)
_LONGEST = 64
_FOREVER = 1e9


@dataclass(frozen=True)
class Load:
    """A load by k6's own options. None or empty: the script decides."""

    vus: int | None = None
    duration: float | None = None
    """Seconds."""
    iterations: int | None = None
    stages: tuple[str, ...] = ()
    """`DURATION:VUS` each."""
    rate: int | None = None
    """Requests a second of k6's http module."""

    def flags(self) -> tuple[str, ...]:
        """Return it as flags of `k6 run`."""
        pairs = [(f"--{name}", value) for name, value in self._values().items()]
        stages = [("--stage", stage) for stage in self.stages]
        return tuple(word for pair in pairs + stages for word in pair)

    def env(self) -> dict[str, str]:
        """Return it as variables, the only way that `k6 inspect` takes it."""
        stages = {"K6_STAGES": ",".join(self.stages)} if self.stages else {}
        return {f"K6_{name.upper()}": value for name, value in self._values().items()} | stages

    def _values(self) -> dict[str, str]:
        duration = None if self.duration is None else go_duration(self.duration)
        values = {"vus": self.vus, "duration": duration, "iterations": self.iterations, "rps": self.rate}
        return {name: str(value) for name, value in values.items() if value is not None}


@dataclass(frozen=True)
class K6Bounds:
    """What one run may use at most."""

    most_vus: int
    most_seconds: float
    """From start to end, with the time that iterations get to end."""
    most_rate: int | None = None
    """Requests a second; None: no limit."""
    most_bytes: int | None = None
    """Bytes over the network in both directions; None: no limit."""
    most_memory: int | None = None
    """Bytes of memory of k6; None: no limit."""
    most_file_bytes: int | None = None
    """Size of a file that it writes; None: no limit."""


@dataclass(frozen=True)
class Requirements:
    """What `k6 inspect --execution-requirements` says that a run would do."""

    vus: int
    """Virtual users, at most."""
    seconds: float
    """In all, with the time that iterations get to end. Setup and teardown are not in it: k6 does not count them."""
    rate: int | None = None
    """Requests a second, if there is a limit."""
    iterations: int | None = None
    """How many there are in all, None where they go on until the time is over."""
    by_options: bool = False
    """Whether a duration, iterations or stages stand in the options rather than scenarios, or nothing."""
    users: int | None = None
    """The number of virtual users that stands in the options beside that; None where there is none."""


@dataclass(frozen=True)
class Plan:
    """The load that k6 is told to make."""

    load: Load
    vus: int
    """Virtual users that there will be, at most."""
    changes: tuple[str, ...] = ()
    """What was clamped, `virtual users 5000→20`."""


@dataclass(frozen=True)
class Refusal:
    """Why there is no run, with what is asked for and what is allowed."""

    reason: str


def parse_duration(text: str) -> float:
    """Given a duration as Go and k6 write it (`1m3s`, `1.5h`, `1d`; digits alone are milliseconds), return seconds.

    Raise ValueError for anything else, and for negative ones.
    """
    if len(text) <= _LONGEST:
        if _PLAIN.fullmatch(text):
            return float(text) / 1000
        parts = _PART.findall(text)
        if parts and "".join(number_ + unit for number_, unit in parts) == text:
            return math.fsum(float(number_) * _UNITS[unit] for number_, unit in parts)
    raise ValueError(f"{text[:_LONGEST]!r} is no duration like 1m30s")


def go_duration(seconds: float) -> str:
    """Given seconds, return them as Go reads them, to the millisecond, downwards: never more than was given."""
    millis = math.floor(seconds * 1000 + 1e-6)
    return f"{millis // 1000}s" if millis % 1000 == 0 else f"{millis}ms"


def load_of(options: K6Options) -> Load:
    """Given the options of a task, return the load that they ask for."""
    return Load(options.vus, options.duration, options.iterations, (), options.rate)


def read_requirements(printed: str) -> Requirements:
    """Given what `k6 inspect --execution-requirements` printed, return what it says. Raise ValueError if it is not that."""
    try:
        found = json.loads(printed)
    except (ValueError, RecursionError):
        raise ValueError("it is no JSON") from None
    if not isinstance(found, dict) or type(found.get("maxVUs")) is not int or found["maxVUs"] < 0:
        raise ValueError("there is no maxVUs")
    if not isinstance(found.get("totalDuration"), str):
        raise ValueError("there is no totalDuration")  # noqa: TRY004 - one kind of error for all that is not understood
    return Requirements(
        vus=found["maxVUs"],
        seconds=parse_duration(found["totalDuration"]),
        rate=whole(found.get("rps")) or None,
        iterations=_iterations(found.get("scenarios")),
        by_options=any(found.get(name) is not None for name in ("duration", "iterations", "stages")),
        users=whole(found.get("vus")) or None,
    )


def _iterations(scenarios: object) -> int | None:
    """Return how many iterations the scenarios make together, None where one of them has no number of them."""
    if not isinstance(scenarios, dict) or not scenarios:
        return None
    counts = [_of_one(scenario) for scenario in scenarios.values()]
    return None if None in counts else sum(count for count in counts if count is not None)


def _of_one(scenario: object) -> int | None:
    kind = scenario if isinstance(scenario, Mapping) else {}
    if kind.get("executor") == "shared-iterations":
        return _or_one(kind, "iterations")
    if kind.get("executor") == "per-vu-iterations":
        return _or_one(kind, "vus") * _or_one(kind, "iterations")
    return None


def _or_one(scenario: Mapping[str, Any], name: str) -> int:
    """k6's default for both is 1."""
    return 1 if number(scenario.get(name)) is None else whole(scenario[name])


def lacks_users(asked: Load) -> bool:
    """Whether a load says how long or how often, and not by how many virtual users."""
    return asked.vus is None and (asked.duration is not None or asked.iterations is not None)


def with_users(plain: Requirements, asked: Load) -> Load:
    """Given what the script itself asks for, and a load that lacks users, return it with the users that k6 would take:
    the script's, else one. `k6 run` knows that by itself; `k6 inspect`, which is told by variables, fails (seen, 2.2.0)."""
    return asked if plain.users else replace(asked, vus=1)


def settled(needs: Requirements, asked: Load) -> Load:
    """Given what k6 would do and what was asked for, return what to ask for instead, so that every k6 does the same.

    A number of virtual users alone means so many iterations, as with k6 2.1 and later; before, it is ignored.
    """
    if asked.vus is None or needs.by_options or asked.duration or asked.iterations or asked.stages:
        return asked
    return replace(asked, iterations=asked.vus)


def decide(needs: Requirements, asked: Load, bounds: K6Bounds) -> Plan | Refusal:
    """Given what k6 would do, what it is asked for and what is allowed, return what to tell it, or why there is no way.

    What is within the bounds stays as it is. What is not becomes a plain load with the numbers that are allowed: as many
    iterations as were wanted, where that is a number, else a duration.
    """
    rate, changes = _rate(needs, asked, bounds)
    if is_within(needs, bounds):
        return Plan(replace(asked, rate=rate), needs.vus, changes)
    room = math.floor(min(bounds.most_seconds, _FOREVER) - GRACEFUL)
    if room < 1 or bounds.most_vus < 1:
        return Refusal(
            f"{shown(needs, bounds)}, and k6 cannot be clamped to that: what it is told to do takes at least "
            f"{1 + GRACEFUL:.0f} s, with the time that iterations get to end"
        )
    vus = max(1, min(needs.vus, bounds.most_vus))
    duration = max(1, min(math.floor(needs.seconds - GRACEFUL), room))
    iterations = None if needs.iterations is None else max(needs.iterations, vus)  # k6 refuses fewer than users
    changes += _change("virtual users", needs.vus, vus) + _change("seconds", needs.seconds, duration + GRACEFUL)
    return Plan(Load(vus, float(duration), iterations, rate=rate), vus, changes)


def is_within(needs: Requirements, bounds: K6Bounds) -> bool:
    """Whether a run is within what is allowed; its rate is another matter, that is always told to k6."""
    return needs.vus <= bounds.most_vus and needs.seconds <= bounds.most_seconds


def shown(needs: Requirements, bounds: K6Bounds) -> str:
    """Say both numbers of what is asked for too much."""
    too_much = [
        f"{asked:g} {what} and {most:g} are allowed"
        for what, asked, most in (
            ("virtual users", needs.vus, bounds.most_vus),
            ("seconds", needs.seconds, bounds.most_seconds),
        )
        if asked > most
    ]
    return f"the script asks for {', for '.join(too_much)}"


def _rate(needs: Requirements, asked: Load, bounds: K6Bounds) -> tuple[int | None, tuple[str, ...]]:
    wanted = asked.rate or needs.rate
    if bounds.most_rate is None:
        return asked.rate, ()
    if wanted is None:
        return bounds.most_rate, ()
    rate = min(wanted, bounds.most_rate)
    return rate, _change("requests a second", wanted, rate)


def _change(what: str, asked: float, given: float) -> tuple[str, ...]:
    return (f"{what} {asked:g}→{given:g}",) if given < asked else ()
