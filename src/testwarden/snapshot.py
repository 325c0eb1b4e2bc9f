"""What the agent says of itself, as plain data: for the status file, the status table and whoever reads its JSON."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime, timezone
from typing import Any

from testwarden.model import Moment, Sample
from testwarden.running.runner import Running
from testwarden.running.scheduler import Due
from testwarden.safety.budget import Usage
from testwarden.safety.cycle import Cycle
from testwarden.safety.gate import Conditions
from testwarden.safety.limits import Limits


def moment_view(now: Moment, cycle: Cycle, conditions: Conditions) -> dict[str, Any]:
    """Return what holds at this moment: phase, kill switch, pause, clock."""
    standing = conditions.switch.standing(now)
    return {
        "updated": text(now.utc),
        "cycle_seconds": cycle.seconds,
        "phase": cycle.phase(now.utc).value,
        "paused": conditions.paused,
        "kill_switch": {"state": standing.state.value, "reason": standing.reason},
        "clock_skew": conditions.skew,
    }


def budgets_view(usage: Usage, limits: Limits) -> Mapping[str, Any]:
    """Return what is used of each limit: attempts in 3600 s, bytes and ANT in 24 h."""
    return {
        "attempts": {
            row.type.value: {"used": usage.attempts.get(row.type, 0), "limit": row.attempts} for row in limits.types
        },
        "bytes": {"used": usage.bytes, "limit": limits.bytes_per_day},
        "spent": {
            "used": f"{usage.spent:f}",
            "limit": f"{limits.spend_per_day:f}" if limits.spend_per_day else None,
        },
    }


def running_view(running: Iterable[Running]) -> list[dict[str, Any]]:
    """Return the tasks that run."""
    return [
        {"task": r.ref, "type": r.type, "filesize": r.filesize, "workers": r.workers, "since": text(r.since)}
        for r in running
    ]


def next_view(dues: Iterable[Due]) -> list[dict[str, str]]:
    """Return what will run, soonest first."""
    return [{"name": due.name, "at": text(due.at)} for due in dues]


def outcome_view(sample: Sample) -> dict[str, Any]:
    """Return how an attempt ended."""
    return {
        "ended": text(datetime.fromtimestamp(sample.ended_ns / 1e9, timezone.utc)),
        "task": sample.task,
        "worker": sample.worker,
        "type": sample.type.value,
        "filesize": sample.filesize.label,
        "outcome": sample.outcome.value,
        "exec_time": sample.exec_time,
        "bytes": sample.bytes,
        "reason": sample.reason,
    }


def text(moment: datetime) -> str:
    """Return an instant as RFC 3339, to the second."""
    return moment.isoformat(timespec="seconds")
