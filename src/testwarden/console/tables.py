"""What the console shows as a whole: the table of tasks, the status, the keys. Pure: values in, text out.

Much of it comes from a control file, a client or a file on disk: every cell is made safe to show.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from testwarden.console.text import cut, safe_line
from testwarden.model import Decision, Finding, K6Options
from testwarden.safety.task_verdict import Judged

DESCRIPTION = 100
"""Characters of a description that are shown."""
REASON = 300
"""Characters that any other cell shows."""
READABLE = 24
"""Characters below which a wrapped text cannot be read any more."""
BORDER = 3
"""What the grid adds to each column: a bar and two spaces."""
HEADER_MARGIN = 2
"""By how much tabulate makes a column wider than its header."""
WRAPPED = ("verdict", "description")

MB = 10**6

HELP = """\
q  quit: stops what runs, saves what was measured
f  fetch the control file now
r  run a task now, by its reference; it still passes the gate
s  show the status
p  pause, and resume: while paused nothing new starts
?  show this help
"""


@dataclass(frozen=True)
class TaskRow:
    """One line of the task table, as text."""

    task: str
    minute: str = ""
    workers: str = ""
    repeat: str = ""
    offset: str = ""
    type: str = ""
    size: str = ""
    verdict: str = ""
    description: str = ""


def judged_row(judged: Judged) -> TaskRow:
    """Given a task with the gate's verdict, return its line; what was clamped shows as `5000→10`."""
    task, verdict = judged.task, judged.verdict
    offset = judged.clamps.get("offset", str(task.offset))
    return TaskRow(
        task=task.ref,
        minute=str(task.minute),
        workers=judged.clamps.get("workers", str(task.workers)),
        repeat="yes" if task.repeat else "no",
        offset="no" if offset == "0" else f"{offset} min",
        type=task.type.value,
        size=task.filesize.label if task.k6 is None else _load(task.k6, judged.clamps),
        verdict=verdict.decision.value + (f": {verdict.reason}" if verdict.decision is not Decision.ALLOWED else ""),
        description=task.description,
    )


def _load(load: K6Options, clamps: Mapping[str, str]) -> str:
    """Return what a k6 task puts on its targets, as far as it says so itself: `5000→20 VUs, 60 s, 20/s`."""
    asked = [("vus", load.vus, " VUs"), ("duration", load.duration, " s"), ("iterations", load.iterations, " times")]
    parts = [
        clamps.get(name, f"{value:g}") + unit
        for name, value, unit in (*asked, ("rate", load.rate, "/s"))
        if value is not None
    ]
    return ", ".join(parts) or "by its script"


def refused_row(finding: Finding) -> TaskRow:
    """Given the finding for which the control file's task never reached the gate, return the task's line."""
    where = f"{finding.file}:{finding.line}"
    return TaskRow(task=finding.task or "?", verdict=f"{Decision.REFUSED.value}: {finding.message} ({where})")


def task_table(rows: Sequence[TaskRow], width: int | None = None) -> str:
    """Given the tasks and the characters of a line (None: no bound), return the table."""
    if not rows:
        return "no tasks"
    shown = [{name: cut(safe_line(value), REASON) for name, value in vars(row).items()} for row in rows]
    for cells in shown:
        cells["description"] = cut(cells["description"], DESCRIPTION)
    names = list(shown[0])
    widths = {name: _widest(shown, name) for name in names}
    if width is not None and _total({**widths, **dict.fromkeys(WRAPPED, READABLE)}) > width:
        return _compact(shown, width)
    while width is not None and _total(widths) > width:
        widths[max(WRAPPED, key=lambda name: widths[name])] -= 1
    return _grid(names, [list(cells.values()) for cells in shown], list(widths.values()))


def _widest(shown: Sequence[Mapping[str, str]], name: str) -> int:
    return max(len(name) + HEADER_MARGIN, *(len(cells[name]) for cells in shown))


def _total(widths: Mapping[str, int]) -> int:
    return sum(widths.values()) + BORDER * len(widths) + 1


def _compact(shown: Sequence[Mapping[str, str]], width: int) -> str:
    """Nothing is left out for a narrow terminal: what does not fit beside each other stands below each other."""
    rows = []
    for cells in shown:
        plain = [f"{name} {cells[name]}" for name in ("minute", "workers", "repeat", "offset") if cells[name]]
        lines = [", ".join([*plain, f"{cells['type']} {cells['size']}"]), *(cells[name] for name in WRAPPED)]
        rows.append([cells["task"], "\n".join(line for line in lines if line.strip())])
    reference = len("task") + HEADER_MARGIN
    return _grid(
        ("task", "what, verdict, description"), rows, (reference, max(READABLE, width - reference - 2 * BORDER - 1))
    )


def _grid(headers: Sequence[str], rows: Iterable[Sequence[str]], widths: Sequence[int] | None = None) -> str:
    # Imported where it is used: `testwarden version` and its like draw nothing.
    from tabulate import tabulate

    table = [list(row) for row in rows]
    most = list(widths) if widths is not None else None
    # Without disable_numparse the task 001 would be shown as 1.
    return tabulate(table, list(headers), tablefmt="grid", disable_numparse=True, maxcolwidths=most)


def status_table(status: Mapping[str, Any], width: int | None = None) -> str:
    """Given what the agent says of itself (`Agent.snapshot`, or the status file), and the characters of a line,
    return it as text. What an older or newer agent does not say is left out."""
    parts = [
        "\n".join(f"{name:<12} {safe_line(value)}" for name, value in _facts(status).items() if value),
        _section(
            "budgets (attempts in 3600 s, the others in 24 h)", BUDGETS, _budget_rows(status.get("budgets") or {})
        ),
        _section("running", RUNNING, _rows({"running": _with_numbers(status)}, "running", RUNNING)),
        _section("last outcomes", RECENT, _rows(status, "recent", RECENT)),
        _section("next", NEXT, _rows(status, "next", NEXT)),
    ]
    lines = "\n".join(part for part in parts if part).split("\n")
    return "\n".join(line if width is None else cut(line, width) for line in lines)


BUDGETS = ("budget", "used", "limit", "left")
RUNNING = ("task", "type", "filesize", "workers", "since", "now")
RECENT = ("ended", "task", "worker", "type", "filesize", "outcome", "exec_time", "reason")
NEXT = ("at", "name")
_INSTANT = re.compile(r"\d{4}-\d\d-\d\dT(\d\d:\d\d:\d\d)\+00:00")
"""How snapshot.py writes one. In the tables the time will do: all of it lies within a cycle or two."""


def _facts(status: Mapping[str, Any]) -> dict[str, str]:
    switch = status.get("kill_switch") or {}
    states = [
        "" if status.get("alive", True) else "not running; this is what it said last",
        f"stopping ({status['stopping']})" if status.get("stopping") else "",
        "paused by the operator" if status.get("paused") else "",
    ]
    skew = status.get("clock_skew")
    return {
        "agent": _joined(status, "agent", "version"),
        "state": ", ".join(filter(None, states)) or "running",
        "phase": _joined(status, "phase"),
        "kill switch": "clear" if switch.get("state") == "clear" else _joined(switch, "state", "reason"),
        "tasks from": _joined(status, "source", "commit"),
        "client": _joined(status, "client"),
        "clock": "" if skew is None else f"{float(skew):+.1f} s against the source",
        "updated": _joined(status, "updated"),
    }


def _with_numbers(status: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return what runs, with what is measured of it at this moment as one text."""
    return [{**entry, "now": _numbers(entry.get("k6") or {})} for entry in status.get("running") or ()]


def _numbers(k6: Mapping[str, Any]) -> str:
    if not k6:
        return ""
    return f"{k6.get('vus')} VUs, {k6.get('requests')} requests, {float(k6.get('rps') or 0):.1f}/s"


def _joined(values: Mapping[str, Any], *names: str) -> str:
    return " · ".join(str(values[name]) for name in names if values.get(name))


def _section(title: str, headers: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    from tabulate import tabulate  # imported where it is used, as above

    # One line an entry, for a terminal of 24; without disable_numparse the task 001 would be shown as 1.
    return f"\n{title}\n{tabulate(rows, list(headers), tablefmt='simple', disable_numparse=True)}" if rows else ""


def _rows(status: Mapping[str, Any], part: str, names: Sequence[str]) -> list[list[str]]:
    return [[_cell(entry.get(name)) for name in names] for entry in status.get(part) or ()]


def _cell(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.3f} s"
    instant = _INSTANT.fullmatch(str(value))
    return instant[1] if instant else cut(safe_line(str(value)), DESCRIPTION)


def _budget_rows(budgets: Mapping[str, Any]) -> list[list[str]]:
    if "problem" in budgets:
        return [["unknown", safe_line(str(budgets["problem"])), "", ""]]
    rows = [[f"{name} attempts", *_budget(entry, 1, ",")] for name, entry in (budgets.get("attempts") or {}).items()]
    rows += [["MB moved", *_budget(budgets["bytes"], MB, ",.1f")]] if "bytes" in budgets else []
    rows += [["ANT spent", *_budget(budgets["spent"], 1, "f")]] if "spent" in budgets else []
    return rows


def _budget(entry: Mapping[str, Any], unit: int, form: str) -> list[str]:
    used = Decimal(entry["used"]) / unit
    if entry["limit"] is None:
        return [format(used, form), "none set", ""]
    limit = Decimal(entry["limit"]) / unit
    return [format(used, form), format(limit, form), format(limit - used, form)]
