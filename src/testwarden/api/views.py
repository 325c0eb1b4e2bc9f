"""What callers get to read of an own run, as plain data."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from testwarden.clients.k6_numbers import K6Numbers
from testwarden.model import FileSize, TestType
from testwarden.running.own_runs import OwnRun

MOST_LOG = 1024 * 1024
"""Characters of a log that one answer has."""


def run_view(run: OwnRun) -> dict[str, Any]:
    """Return an own run."""
    return {
        "number": run.number,
        "ref": run.ref,
        "type": run.test.type.value,
        "title": run.test.title,
        "filesize": _label(run),
        "started": run.started.isoformat(),
        "running": run.ended is None,
        "ended": None if run.ended is None else run.ended.isoformat(),
        "outcome": None if run.outcome is None else run.outcome.value,
        "reason": run.reason,
        "port": run.port,
        "figures": dict(run.figures),
    }


def _label(run: OwnRun) -> str | None:
    size: FileSize = run.test.filesize
    return None if run.test.type is TestType.K6 else size.label


def metrics_view(numbers: K6Numbers | None) -> dict[str, str]:
    """Return what an orchestrator reads of a run: durations in milliseconds, `failed` as a count, `0` for what is not
    known (yet): it wants to calculate, and an empty text would not let it."""
    n = numbers or K6Numbers()
    return {
        "rps": f"{n.rps:.1f}" if n.rps else "0",
        "rt90p": _ms(n.rt90p),
        "rt95p": _ms(n.rt95p),
        "rt99p": _ms(n.rt99p),
        "rtMax": _ms(n.rt_max),
        "failed": str(round((n.failed or 0) * n.requests)),
        "vus": str(n.vus),
        "sent": str(n.sent),
        "received": str(n.received),
    }


def _ms(seconds: float | None) -> str:
    return "0" if seconds is None else f"{seconds * 1000:.1f}"


def part_of_log(path: Path | None, length: int, *, head: bool) -> str:
    """Given a log, return its last characters, or its first ones; empty where there is none (yet)."""
    length = min(max(length, 0), MOST_LOG)
    if path is None or length == 0:
        return ""
    most = length * 4  # bytes that a character may take
    try:
        with path.open("rb") as file:
            if not head:
                file.seek(max(0, os.fstat(file.fileno()).st_size - most))
            data = file.read(most)
    except OSError:
        return ""
    # What was cut in two becomes U+FFFD, and lies outside: so many bytes hold at least so many characters beside it.
    text = data.decode("utf-8", "replace")
    return text[:length] if head else text[-length:]
