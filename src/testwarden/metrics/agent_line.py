"""One line a minute about the agent itself: budgets, kill switch, what runs, what was refused. Shape and escaping are those
of `line_protocol`; a budget that is not known is left out, because no number is better than a wrong one.

    testwarden_agent,agent=…,country=xx,provision=xx,connection=xx kill_switch=0i,…,ant_used=0.0,ant_limit=0.0 STAMP
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal

from testwarden.metrics.line_protocol import MOST_INTEGER, Identity, string, tag
from testwarden.safety.budget import Usage
from testwarden.safety.kill_switch import Standing, SwitchState
from testwarden.safety.limits import Limits

AGENT_MEASUREMENT = "testwarden_agent"
SWITCH_NUMBERS = {SwitchState.CLEAR: 0, SwitchState.ACTIVE: 1, SwitchState.UNKNOWN: 2}
"""The kill switch as an integer, so that databases can take its maximum."""


@dataclass(frozen=True)
class AgentState:
    """What holds at the moment of the line."""

    standing: Standing
    usage: Usage | None
    """None: the ledger cannot be read."""
    limits: Limits
    paused: bool = False
    running: int = 0
    """Workers."""
    refusals: Mapping[str, int] | None = None
    """Why attempts were refused since the line before, and how many."""
    commit: str = ""
    """Of the control file; empty: none yet."""


class Refusals:
    """Counts refused attempts by reason, from one line to the next. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: Counter[str] = Counter()

    def note(self, reason: str) -> None:
        """Count one."""
        with self._lock:
            self._counts[reason] += 1

    def take(self) -> Mapping[str, int]:
        """Return what was counted, and begin anew."""
        with self._lock:
            counts, self._counts = self._counts, Counter()
        return counts


def agent_line(identity: Identity, state: AgentState, stamp: int) -> bytes:
    """Given whose it is, what holds, and when (nanoseconds since 1970-01-01 UTC), return the line with its end."""
    tags = {"agent": identity.agent, "country": identity.country}
    tags |= {"provision": identity.provision, "connection": identity.connection}
    fields = _state_fields(state) | ({} if state.usage is None else _budget_fields(state.usage, state.limits))
    series = "".join(f",{name}={tag(value)}" for name, value in tags.items())
    return f"{AGENT_MEASUREMENT}{series} {','.join(f'{k}={v}' for k, v in fields.items())} {stamp}\n".encode()


def _state_fields(state: AgentState) -> dict[str, str]:
    switch, refusals = state.standing.state, state.refusals or {}
    often = sorted(refusals.items(), key=lambda row: (-row[1], row[0]))
    return {
        "kill_switch": f"{SWITCH_NUMBERS[switch]}i",
        "kill_switch_reason": string("" if switch is SwitchState.CLEAR else state.standing.reason),
        "paused": "true" if state.paused else "false",
        "running": f"{state.running}i",
        "refused": f"{sum(refusals.values())}i",
        "refused_reasons": string("; ".join(f"{count} × {reason}" for reason, count in often)),
        "commit": string(state.commit),
    }


def _budget_fields(usage: Usage, limits: Limits) -> dict[str, str]:
    fields = {}
    for row in limits.types:
        fields[f"{row.type.value}_used"] = f"{usage.attempts.get(row.type, 0)}i"
        fields[f"{row.type.value}_limit"] = f"{row.attempts}i"
    return {
        **fields,
        "own_used": f"{sum(usage.own.values())}i",
        "bytes_used": f"{min(usage.bytes, MOST_INTEGER)}i",
        "bytes_limit": f"{limits.bytes_per_day}i",
        "ant_used": repr(float(usage.spent)),
        "ant_limit": repr(float(limits.spend_per_day or Decimal(0))),
    }
