"""The meaning of one `<Task>` of the right structure: its texts become a Task, or findings that say what is allowed."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import TypeVar

from lxml import etree

from testwarden.control.catalogue import Catalogues
from testwarden.control.findings import MOST_SHOWN, Findings, did_you_mean, shown
from testwarden.control.k6_meaning import ENV, K6_KEYS, default_timeout, read_k6, variable_problem
from testwarden.control.source import DOWNLOAD_CATALOGUE, QUOTE_CATALOGUE, UPLOAD_CATALOGUE
from testwarden.control.task_options import TaskOptions, understood
from testwarden.control.values import count, flag, is_count, positive
from testwarden.model import FileSize, Task, TestType

FIRST_MINUTE = 5
LAST_MINUTE = 54
_COMMON_KEYS = ("workers", "offset", "repeat", "timeout", "retry")
_TIMEOUT = 30

_REF = "00[1-9]|0[1-9][0-9]|[1-9][0-9][0-9]"
_NAMES = {
    TestType.DOWNLOAD: "Download",
    TestType.QUOTE: "Quote",
    TestType.UPLOAD: "Upload",
    TestType.K6: "K6",
    TestType.IPERF: "Iperf",
}
_NOT_YET = (TestType.IPERF,)
_BY_FILESIZE = (TestType.DOWNLOAD, TestType.QUOTE, TestType.UPLOAD)

T = TypeVar("T")


def known_ref(task: etree._Element) -> str | None:
    """Given a Task element, however broken, return its reference if it has exactly one and that is well-formed."""
    refs = task.findall("TaskRef")
    text = (refs[0].text or "").strip() if len(refs) == 1 else ""
    return text if re.fullmatch(_REF, text) else None


class TaskMeaning:
    """Reads the parts of one task; what is wrong is added to the findings, and reading goes on with a default."""

    def __init__(self, task: etree._Element, lines: Mapping[etree._Element, int], findings: Findings) -> None:
        """Given a Task element of the right structure, the lines of its elements, and where to put what is wrong."""
        self._task = task
        self._lines = lines
        self._findings = findings
        self._kind = self._text("TestType", _test_type, None)
        self._options = TaskOptions(task, lines, findings, lambda key: _key_problem(key, self._kind))

    def read(self, catalogues: Catalogues) -> Task | None:
        """Return the task, or None if there is a finding."""
        options = self._options
        k6 = read_k6(options) if self._kind is TestType.K6 else None
        task = Task(
            ref=self._text("TaskRef", _ref, ""),
            description=self._text("Description", _description, ""),
            minute=self._text("TimePeriod", _minute, FIRST_MINUTE),
            time_offset=self._text("TimeOffset", count, 0),
            type=self._kind or TestType.DOWNLOAD,
            filesize=options.read("filesize", _filesize, FileSize.TINY),
            workers=options.read("workers", positive, 1),
            offset=options.read("offset", _offset, 0),
            repeat=options.read("repeat", flag, False),
            timeout=options.read("timeout", positive, default_timeout(k6.duration) if k6 else _TIMEOUT),
            retry=options.read("retry", count, 3),
            line=self._lines[self._task],
            k6=k6,
        )
        if not self._findings and task.type in _BY_FILESIZE:
            self._check_catalogue(task, catalogues)
        return None if self._findings else task

    def _text(self, name: str, understand: Callable[[str], T], default: T) -> T:
        element = self._task.find(name)
        if element is None:
            return default
        text, line = element.text or "", self._lines[element]
        return understood(f"<{name}>", text, line, understand, default, self._findings)

    def _check_catalogue(self, task: Task, catalogues: Catalogues) -> None:
        name, sizes = _catalogue(task.type, catalogues)
        if task.filesize in sizes:
            return
        has = f"it has {', '.join(size.label for size in sizes)}" if sizes else "it has no usable row at all"
        self._options.error("filesize", f"{name} has no row of file size {task.filesize.label}; {has}")


def _key_problem(key: str, kind: TestType | None) -> str:
    """Given the key of an option and the test type (None: it is not known), return why it cannot be one, or ""."""
    of_k6 = key in K6_KEYS or key.startswith(ENV)
    if kind is not None and of_k6 and kind is not TestType.K6:
        return f"option {shown(key)} belongs to test type {_NAMES[TestType.K6]}"
    if kind is TestType.K6 and key == "filesize":
        return f"option {shown(key)} belongs to the test types {', '.join(_NAMES[other] for other in _BY_FILESIZE)}"
    if key.startswith(ENV):
        problem = variable_problem(key.removeprefix(ENV))
        return f"option {shown(key)} cannot be used: {problem}" if problem else ""
    if of_k6 or key == "filesize" or key in _COMMON_KEYS:
        return ""
    own = (*K6_KEYS, f"{ENV}NAME") if kind is TestType.K6 else ("filesize",)
    return f"option {shown(key)} is not known{did_you_mean(key, (*own, *_COMMON_KEYS))}"


def _catalogue(kind: TestType, catalogues: Catalogues) -> tuple[str, tuple[FileSize, ...]]:
    """Return the name of the catalogue that a test of this type picks from, and the sizes that it has."""
    return {
        TestType.DOWNLOAD: (DOWNLOAD_CATALOGUE, catalogues.downloads.sizes),
        TestType.QUOTE: (QUOTE_CATALOGUE, catalogues.quotes.sizes),
        TestType.UPLOAD: (UPLOAD_CATALOGUE, catalogues.uploads.sizes),
    }[kind]


# What follows turns one text, stripped and not empty, into a value, or raises ValueError with the rest of a sentence
# that begins with the element's or the option's name.


def _ref(text: str) -> str:
    if not re.fullmatch(_REF, text):
        raise ValueError(f"is {shown(text)}; it must be three digits from 001 to 999")
    return text


def _description(text: str) -> str:
    """Terminals act on some characters (U+009B begins a command); they become blanks, and blanks are folded."""
    return " ".join("".join(letter if letter.isprintable() else " " for letter in text).split())


def _minute(text: str) -> int:
    if not is_count(text) or not FIRST_MINUTE <= int(text) <= LAST_MINUTE:
        raise ValueError(f"is {shown(text)}; it must be a minute from {FIRST_MINUTE} to {LAST_MINUTE}")
    return int(text)


def _test_type(text: str) -> TestType | None:
    try:
        kind = TestType(text.lower())
    except ValueError:
        raise ValueError(f"is {shown(text)}, which is not known{did_you_mean(text, _NAMES.values())}") from None
    if kind in _NOT_YET:
        runs = ", ".join(name for kind, name in _NAMES.items() if kind not in _NOT_YET)
        raise ValueError(f"is {_NAMES[kind]}, which this release cannot run yet; it runs {runs}")
    return kind


def _filesize(text: str) -> FileSize:
    try:
        return FileSize.parse(text[:MOST_SHOWN])
    except ValueError as wrong:
        raise ValueError(f"is wrong: {wrong}") from None


def _offset(text: str) -> int:
    if text.lower() == "false":
        return 0
    if not is_count(text):
        raise ValueError(f"is {shown(text)}; it must be a whole number of minutes, or false")
    return int(text)
