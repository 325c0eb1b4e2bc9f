"""The texts of one `<Task>`: each is understood once, and what is wrong with it becomes a finding at its line."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeVar

from lxml import etree

from testwarden.control.findings import Findings

T = TypeVar("T")


class TaskOptions:
    """The options of a task by their keys, each of which is there once and belongs to the task's test type."""

    def __init__(
        self,
        task: etree._Element,
        lines: Mapping[etree._Element, int],
        findings: Findings,
        wrong_key: Callable[[str], str],
    ) -> None:
        """Given a Task element of the right structure, the lines of its elements, where to put what is wrong, and what
        says why a key cannot be used ("": it can)."""
        self._lines = lines
        self._findings = findings
        self._task_line = lines[task]
        self._options: dict[str, etree._Element] = {}
        for option in task.iterfind("TestOptions/Option"):
            self._take(option, wrong_key)

    def _take(self, option: etree._Element, wrong_key: Callable[[str], str]) -> None:
        key = option.get("key", "")
        problem = wrong_key(key)
        if key in self._options:
            problem = f"option {key} appears twice; first on line {self.line(key)}"
        if problem:
            self._findings.error(self._lines[option], problem)
        else:
            self._options[key] = option

    def __contains__(self, key: str) -> bool:
        return key in self._options

    def starting_with(self, prefix: str) -> list[str]:
        """Return the keys that begin so, in the order of the file."""
        return [key for key in self._options if key.startswith(prefix)]

    def line(self, key: str) -> int:
        """Return the line of an option; of the task where it is not there."""
        return self._lines[self._options[key]] if key in self._options else self._task_line

    def error(self, key: str, message: str) -> None:
        """Add what is wrong with an option, or with the task for the lack of it."""
        self._findings.error(self.line(key), message)

    def read(self, key: str, understand: Callable[[str], T], default: T) -> T:
        """Return the value of an option; the default where it is not there or, with a finding, not understood."""
        option = self._options.get(key)
        if option is None:
            return default
        line = self._lines[option]
        return understood(f"option {key}", option.get("value", ""), line, understand, default, self._findings)


def understood(what: str, text: str, line: int, understand: Callable[[str], T], default: T, findings: Findings) -> T:
    """Given what a text is called, the text and its line, return its value; the default, with a finding, where it is
    empty or `understand` raises ValueError."""
    text = text.strip()
    if not text:
        findings.error(line, f"{what} is empty")
        return default
    try:
        return understand(text)
    except ValueError as wrong:
        findings.error(line, f"{what} {wrong}")
        return default
