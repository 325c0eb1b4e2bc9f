"""What a maintainer wants to know of a control file before it is merged."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timezone
from pathlib import Path

from testwarden.control.directory import DirectorySource
from testwarden.control.fetch import Reading, read
from testwarden.control.source import CONTROL_FILE
from testwarden.errors import SourceError
from testwarden.model import Decision, Level, Task
from testwarden.safety.limits import BUILT_IN, Limits
from testwarden.safety.task_verdict import judge_task


@dataclass(frozen=True)
class Report:
    """The findings as lines, and whether any task, or the whole file, is refused."""

    lines: list[str]
    refused: bool


def check_folder(path: Path) -> Report:
    """Given a folder, or the control file in it, return what is found, by the built-in limits.

    The files that tasks need are read and held against their digests; a finding says which digest is right.
    """
    folder = path.parent if path.is_file() else path
    if path.is_file() and path.name != CONTROL_FILE:
        return Report([f"{path}:0: error: a control file is called {CONTROL_FILE}"], True)
    try:
        reading = read(DirectorySource(folder, lambda: datetime.now(timezone.utc)))
    except SourceError as problem:
        return Report([f"{path}:0: error: {problem}"], True)
    lines = [f"{folder / finding.file}:{finding.line}: {finding.level.value}: {finding.message}"
             for finding in reading.findings]  # fmt: skip
    judged, refused = _judge(reading, folder)
    lines += judged
    bad = refused > 0 or any(finding.level is Level.ERROR for finding in reading.findings)
    allowed = len(reading.control.tasks) - refused
    lines.append(f"{allowed} tasks will run, {len(lines)} findings")
    return Report(lines, bad)


def _judge(reading: Reading, folder: Path) -> tuple[list[str], int]:
    lines, refused = [], 0
    for task in reading.control.tasks:
        verdict = judge_task(task, _limits_for(task)).verdict
        if verdict.decision is not Decision.ALLOWED:
            level = Level.ERROR if verdict.refused else Level.WARNING
            refused += verdict.refused
            text = f"task {task.ref} is {verdict.decision.value}: {verdict.reason}"
            lines.append(f"{folder / CONTROL_FILE}:{task.line}: {level.value}: {text}")
    return lines, refused


def _limits_for(task: Task) -> Limits:
    """Return the built-in limits with whatever targets the task names: which ones are allowed, each operator says."""
    targets = task.k6.targets if task.k6 else None
    return replace(BUILT_IN, targets=targets or ())
