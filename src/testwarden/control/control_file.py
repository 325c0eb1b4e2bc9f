"""Reading control files: XML → tasks and findings.

Each task is read alone: what is wrong with it refuses it and nothing else. What is not understood is refused, never
guessed. Values above a limit are not judged here: the gate clamps them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timezone

from lxml import etree

from testwarden.control.catalogue import Catalogues
from testwarden.control.findings import Findings, did_you_mean, shown
from testwarden.control.task_meaning import TaskMeaning, known_ref
from testwarden.control.task_structure import TaskStructure, name_of
from testwarden.control.xml_document import Document, Unreadable, read_xml
from testwarden.model import Finding, Level, Task

MOST_BYTES = 1024 * 1024
MOST_TASKS = 1000
"""There are 999 references, and 50 minutes. Reading on would only cost time."""
MOST_FINDINGS_OF_A_TASK = 20

_INSTANT = r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(?:Z|[+-][0-9]{2}:[0-9]{2})"


@dataclass(frozen=True)
class ControlFile:
    """What a control file asks for, as far as it was understood."""

    tasks: tuple[Task, ...]
    """By minute; no two have the same one."""
    findings: tuple[Finding, ...]
    """By line. Every task that was refused has at least one."""
    not_after: datetime | None
    """The instant (UTC) past which nothing of this file runs."""


def parse(data: bytes, name: str, catalogues: Catalogues) -> ControlFile:
    """Given the bytes of a control file, its name for findings, and the catalogues beside it, return what it asks for.

    Never raises, whatever the bytes: what cannot be read is a finding and no task.
    """
    try:
        document = read_xml(data, MOST_BYTES)
        not_after = _not_after(document)
    except Unreadable as wrong:
        return ControlFile((), (Finding(name, wrong.line, Level.ERROR, str(wrong)),), None)
    tasks, findings = _Reading(document, name).tasks(catalogues)
    findings.sort(key=lambda finding: finding.line)
    return ControlFile(tuple(sorted(tasks, key=lambda task: task.minute)), tuple(findings), not_after)


def _not_after(document: Document) -> datetime | None:
    """Return until when the file holds. Raise Unreadable if the root element is not what it must be."""
    root = document.root
    line = document.lines[root]
    if root.tag != "Schedule":
        raise Unreadable(line, f"the root element must be <Schedule>, without a namespace, not <{name_of(root)}>")
    for attribute in map(str, root.attrib):
        # Not merely ignored: who mistypes notAfter wanted the tests to end.
        if attribute != "notAfter":
            raise Unreadable(line, f"<Schedule> has no attribute {shown(attribute)}; known is notAfter")
    text = root.get("notAfter")
    return None if text is None else _instant(text, line)


def _instant(text: str, line: int) -> datetime:
    wrong = Unreadable(
        line, f"notAfter is {shown(text)}; it must be an instant with its zone, like 2026-12-31T00:00:00Z"
    )
    if not re.fullmatch(_INSTANT, text):
        raise wrong
    try:
        return datetime.fromisoformat(text.replace("Z", "+00:00")).astimezone(timezone.utc)
    except (ValueError, OverflowError):
        raise wrong from None


class _Reading:
    """One walk through the tasks of a document: what was found, and what is taken."""

    def __init__(self, document: Document, name: str) -> None:
        self._document = document
        self._lines = document.lines
        self._name = name
        self._structure = TaskStructure()
        self._refs: dict[str, int] = {}
        self._minutes: dict[int, Task] = {}

    def tasks(self, catalogues: Catalogues) -> tuple[list[Task], list[Finding]]:
        """Return the good tasks, and what is wrong with the others and around them."""
        around = Findings(self._name)
        listed: list[Finding] = []
        for element in self._task_elements(around):
            findings = Findings(self._name, known_ref(element), MOST_FINDINGS_OF_A_TASK)
            task = self._task(element, catalogues, findings)
            if task is not None:
                self._minutes[task.minute] = task
            listed += findings.listed()
        return list(self._minutes.values()), around.listed() + listed

    def _task_elements(self, around: Findings) -> Iterator[etree._Element]:
        """Return the first tasks; add findings for what else stands in the Schedule."""
        root = self._document.root
        if (root.text or "").strip():
            around.error(self._lines[root], "<Schedule> holds text beside its tasks")
        for child in root[:MOST_TASKS]:
            if child.tag == "Task":
                yield child
            else:
                hint = did_you_mean(name_of(child), ["Task"])
                around.error(self._lines[child], f"<{name_of(child)}> is not known in <Schedule>{hint}")
            if (child.tail or "").strip():
                around.error(self._lines[child], f"<Schedule> holds text behind this <{name_of(child)}>")
        if len(root) > MOST_TASKS:
            line = self._lines[root[MOST_TASKS]]
            around.error(
                line, f"{len(root):,} elements in <Schedule>; from here on, after {MOST_TASKS:,}, they are not read"
            )

    def _task(self, element: etree._Element, catalogues: Catalogues, findings: Findings) -> Task | None:
        task = None
        if self._structure.check(element, self._lines, findings):
            task = TaskMeaning(element, self._lines, findings).read(catalogues)
        self._claim_ref(element, findings)
        if task is not None:
            self._check_minute(task, findings)
        return None if findings else task

    def _claim_ref(self, element: etree._Element, findings: Findings) -> None:
        """A reference is taken by the first task that has it, even if that one is refused: names must not wander."""
        ref = known_ref(element)
        line = self._lines[element]
        if ref in self._refs:
            findings.error(line, f"TaskRef {ref} is used before, by the task on line {self._refs[ref]}")
        elif ref is not None:
            self._refs[ref] = line

    def _check_minute(self, task: Task, findings: Findings) -> None:
        """A minute is taken by the first good task that has it."""
        other = self._minutes.get(task.minute)
        if other is not None:
            taken = f"minute {task.minute} is taken by task {other.ref} on line {other.line}; one task a minute"
            findings.error(task.line, taken)
