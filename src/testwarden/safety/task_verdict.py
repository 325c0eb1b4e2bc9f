"""The verdict on a task: its values brought inside the limits, or why it must not run. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from testwarden.model import Decision, FileSize, K6Options, Origin, Task, TestType, Verdict
from testwarden.safety.cycle import WINDOW_ENDS, WINDOW_OPENS
from testwarden.safety.limits import Limits, TypeLimits
from testwarden.safety.targets import is_within


@dataclass(frozen=True)
class Judged:
    """A task with its verdict."""

    task: Task
    """With every value inside the limits."""
    verdict: Verdict
    clamps: Mapping[str, str]
    """What was clamped: the name of the value → `5000→10`."""


def judge_task(task: Task, limits: Limits, impossible: str = "") -> Judged:
    """Given a task, the limits, and why such a task cannot run here at all (empty: it can), return the task inside the
    limits, judged."""
    row = limits.of(task.type)
    why = _why_not(task, row, limits, impossible)
    if row is None or why:
        return Judged(task, Verdict(Decision.REFUSED, why), {})
    if task.origin is Origin.OWN:
        return _clamped(task, {"timeout": limits.own.seconds}, {"vus": limits.own.vus})
    most = {
        "workers": row.workers,
        "retry": limits.retry,
        "offset": limits.offset,
        "time_offset": limits.time_offset,
        "timeout": row.seconds or (WINDOW_ENDS - WINDOW_OPENS) * 60,
    }
    return _clamped(task, most, {"vus": row.vus, "rate": row.rate, "duration": row.seconds})


def _clamped(task: Task, most: Mapping[str, int], most_load: Mapping[str, int | None]) -> Judged:
    """Given the largest values of a task and of its load, return it with none above them. No load is asked for where
    a value is None: the script decides then, and is held against the same limits before it runs."""
    over = {name: top for name, top in most.items() if getattr(task, name) > top}
    clamps = {name: f"{getattr(task, name)}→{top}" for name, top in over.items()}
    load = task.k6
    if load is not None:
        heavy = {name: top for name, top in most_load.items() if top is not None and (getattr(load, name) or 0) > top}
        clamps.update({name: f"{getattr(load, name):g}→{top}" for name, top in heavy.items()})
        load = replace(load, **heavy)  # type: ignore[arg-type]  # all of these are numbers
    if not clamps:
        return Judged(task, Verdict(Decision.ALLOWED, "within the limits"), {})
    reason = ", ".join(f"{name} {change}" for name, change in clamps.items())
    clamped = replace(task, k6=load, **over)  # type: ignore[arg-type]  # all of these are integers
    return Judged(clamped, Verdict(Decision.CLAMPED, reason), clamps)


def _why_not(task: Task, row: TypeLimits | None, limits: Limits, impossible: str) -> str:
    if row is None:
        return f"this version runs no {task.type.value} tests"
    if impossible:
        return impossible
    if task.origin is Origin.PUBLIC and (row.attempts == 0 or row.workers == 0):
        return f"the operator allows no {task.type.value} attempts"
    if task.type is TestType.K6:
        return _why_no_load(task.k6, task.origin, limits)
    if not limits.allows_size(task.filesize):
        allowed = [size for size in FileSize if limits.allows_size(size)]
        largest = limits.largest_filesize.label
        names = ", ".join(size.label for size in allowed)
        return f"file size {task.filesize.label} is above limits.largest_filesize = {largest}; allowed are {names}"
    return ""


def _why_no_load(load: K6Options | None, origin: Origin, limits: Limits) -> str:
    if load is None:
        return "it names no script"
    if origin is Origin.OWN:
        return ""  # the operator answers for the target
    if load.params:
        return "a control file cannot give arguments to k6"
    if not load.targets:
        return "it names no targets"
    outside = [target for target in load.targets if not is_within(target, limits.targets)]
    if outside:
        allowed = f"allowed are {', '.join(limits.targets)}" if limits.targets else "it is empty"
        return f"{', '.join(outside)} is not among k6.allowed_targets, which the operator sets: {allowed}"
    return ""
