"""What the agent says of itself, as plain data: for the status file, the status table and whoever reads its JSON."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict
from datetime import datetime, timezone
from typing import Any

from testwarden.clients.k6_numbers import K6Numbers
from testwarden.model import Moment, Sample
from testwarden.running.runner import Running
from testwarden.running.scheduler import Due
from testwarden.safety.budget import Usage
from testwarden.safety.cycle import Cycle
from testwarden.safety.gate import Conditions
from testwarden.safety.kill_switch import SwitchIssue
from testwarden.safety.limits import Limits
from testwarden.safety.task_verdict import Judged


def moment_view(now: Moment, cycle: Cycle, conditions: Conditions) -> dict[str, Any]:
    """Return what holds at this moment: phase, kill switch, pause, clock."""
    standing = conditions.switch.standing(now)
    return {
        "updated": text(now.utc),
        "cycle_seconds": cycle.seconds,
        "phase": cycle.phase(now.utc).value,
        "paused": conditions.paused,
        "kill_switch": {
            "state": standing.state.value,
            "reason": standing.reason,
            **({"issue": _issue_view(conditions.switch.issues[0])} if conditions.switch.issues else {}),
        },
        "clock_skew": conditions.skew,
    }


def _issue_view(issue: SwitchIssue) -> Mapping[str, Any]:
    return {
        "number": issue.number,
        "title": issue.title,
        "author": issue.author,
        "opened": text(issue.opened),
        "url": issue.url,
    }


def budgets_view(usage: Usage, limits: Limits) -> Mapping[str, Any]:
    """Return what is used of each limit: attempts in 3600 s, bytes and ANT in 24 h."""
    return {
        "attempts": {
            row.type.value: {"used": usage.attempts.get(row.type, 0), "limit": row.attempts} for row in limits.types
        },
        "bytes": {"used": usage.bytes, "limit": limits.bytes_per_day},
        "own": {kind.value: {"used": count, "limit": limits.own.attempts} for kind, count in usage.own.items()},
        "spent": {
            "used": f"{usage.spent:f}",
            "limit": f"{limits.spend_per_day:f}" if limits.spend_per_day else None,
        },
    }


def running_view(running: Iterable[Running], numbers: Mapping[str, K6Numbers]) -> list[dict[str, Any]]:
    """Return the tasks that run, with what k6 measures in those of which it is known."""
    return [
        {
            "task": r.ref,
            "type": r.type,
            "filesize": r.filesize,
            "workers": r.workers,
            "since": text(r.since),
            "origin": r.origin.value,
            **({"k6": vars(numbers[r.ref])} if r.ref in numbers else {}),
        }
        for r in running
    ]


def task_view(judged: Judged, starts: datetime | None, running: bool) -> Mapping[str, Any]:
    """Return a task of the control file with its verdict."""
    task = judged.task
    return {
        "ref": task.ref,
        "description": task.description,
        "minute": task.minute,
        "type": task.type.value,
        "filesize": task.size.label if task.size else None,
        "workers": task.workers,
        "repeat": task.repeat,
        "offset": task.offset,
        "timeout": task.timeout,
        "decision": judged.verdict.decision.value,
        "reason": judged.verdict.reason,
        "starts": text(starts) if starts is not None else None,
        "running": running,
    }


def refused_view(ref: str, why: str) -> Mapping[str, Any]:
    """Return a task that the control file has wrong: all that is known of it is why."""
    unknown = dict.fromkeys(("minute", "type", "filesize", "workers", "repeat", "offset", "timeout", "starts"))
    return {**unknown, "ref": ref, "description": "", "decision": "refused", "reason": why, "running": False}


def limits_view(limits: Limits) -> Mapping[str, Any]:
    """Return every limit in force, by its name; bytes, seconds and ANT as numbers and texts that JSON can hold."""
    plain = asdict(limits)
    plain["types"] = {row.type.value: {**asdict(row), "type": row.type.value} for row in limits.types}
    plain["largest_filesize"] = limits.largest_filesize.label
    plain["spend_per_day"] = f"{limits.spend_per_day:f}" if limits.spend_per_day is not None else None
    plain["spend_margin"] = f"{limits.spend_margin:f}"
    return plain


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
        "filesize": sample.filesize.label if sample.filesize else None,
        "outcome": sample.outcome.value,
        "exec_time": sample.exec_time,
        "bytes": sample.bytes,
        "reason": sample.reason,
    }


def text(moment: datetime) -> str:
    """Return an instant as RFC 3339, to the second."""
    return moment.isoformat(timespec="seconds")
