"""The meaning of one `<Task>` of the right structure: its texts become a Task, or findings that say what is allowed."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import TypeVar

from lxml import etree

from testwarden.control.catalogue import Catalogues
from testwarden.control.findings import MOST_SHOWN, Findings, did_you_mean, shown
from testwarden.control.source import DOWNLOAD_CATALOGUE, QUOTE_CATALOGUE, UPLOAD_CATALOGUE
from testwarden.model import FileSize, Task, TestType

FIRST_MINUTE = 5
LAST_MINUTE = 54
OPTION_KEYS = ("filesize", "workers", "offset", "repeat", "timeout", "retry")

_REF = "00[1-9]|0[1-9][0-9]|[1-9][0-9][0-9]"
_MOST_DIGITS = 9
_NAMES = {
    TestType.DOWNLOAD: "Download",
    TestType.QUOTE: "Quote",
    TestType.UPLOAD: "Upload",
    TestType.K6: "K6",
    TestType.IPERF: "Iperf",
}
_NOT_YET = (TestType.K6, TestType.IPERF)

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
        self._options = self._read_options()

    def read(self, catalogues: Catalogues) -> Task | None:
        """Return the task, or None if there is a finding."""
        task = Task(
            ref=self._text("TaskRef", _ref, ""),
            description=self._text("Description", _description, ""),
            minute=self._text("TimePeriod", _minute, FIRST_MINUTE),
            time_offset=self._text("TimeOffset", _count, 0),
            type=self._text("TestType", _test_type, TestType.DOWNLOAD),
            filesize=self._option("filesize", _filesize, FileSize.TINY),
            workers=self._option("workers", _positive, 1),
            offset=self._option("offset", _offset, 0),
            repeat=self._option("repeat", _flag, False),
            timeout=self._option("timeout", _positive, 30),
            retry=self._option("retry", _count, 3),
            line=self._lines[self._task],
        )
        if not self._findings:
            self._check_catalogue(task, catalogues)
        return None if self._findings else task

    def _text(self, name: str, understand: Callable[[str], T], default: T) -> T:
        element = self._task.find(name)
        if element is None:
            return default
        return self._understand(f"<{name}>", element.text or "", self._lines[element], understand, default)

    def _option(self, key: str, understand: Callable[[str], T], default: T) -> T:
        option = self._options.get(key)
        if option is None:
            return default
        return self._understand(f"option {key}", option.get("value", ""), self._lines[option], understand, default)

    def _understand(self, what: str, text: str, line: int, understand: Callable[[str], T], default: T) -> T:
        text = text.strip()
        if not text:
            self._findings.error(line, f"{what} is empty")
            return default
        try:
            return understand(text)
        except ValueError as wrong:
            self._findings.error(line, f"{what} {wrong}")
            return default

    def _read_options(self) -> dict[str, etree._Element]:
        options: dict[str, etree._Element] = {}
        for option in self._task.iterfind("TestOptions/Option"):
            key = option.get("key", "")
            if key not in OPTION_KEYS:
                self._findings.error(
                    self._lines[option], f"option {shown(key)} is not known{did_you_mean(key, OPTION_KEYS)}"
                )
            elif key in options:
                first = self._lines[options[key]]
                self._findings.error(self._lines[option], f"option {key} appears twice; first on line {first}")
            else:
                options[key] = option
        return options

    def _check_catalogue(self, task: Task, catalogues: Catalogues) -> None:
        name, sizes = _catalogue(task.type, catalogues)
        if task.filesize in sizes:
            return
        has = f"it has {', '.join(size.label for size in sizes)}" if sizes else "it has no usable row at all"
        line = self._lines[self._options["filesize"]] if "filesize" in self._options else task.line
        self._findings.error(line, f"{name} has no row of file size {task.filesize.label}; {has}")


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
    if not _is_count(text) or not FIRST_MINUTE <= int(text) <= LAST_MINUTE:
        raise ValueError(f"is {shown(text)}; it must be a minute from {FIRST_MINUTE} to {LAST_MINUTE}")
    return int(text)


def _test_type(text: str) -> TestType:
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


def _is_count(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= _MOST_DIGITS


def _count(text: str) -> int:
    if not _is_count(text):
        raise ValueError(
            f"is {shown(text)}; it must be a whole number from 0, in digits, at most {_MOST_DIGITS} of them"
        )
    return int(text)


def _positive(text: str) -> int:
    if not _is_count(text) or int(text) < 1:
        raise ValueError(
            f"is {shown(text)}; it must be a whole number from 1, in digits, at most {_MOST_DIGITS} of them"
        )
    return int(text)


def _flag(text: str) -> bool:
    if text.lower() not in ("true", "false"):
        raise ValueError(f"is {shown(text)}; it must be true or false")
    return text.lower() == "true"


def _offset(text: str) -> int:
    if text.lower() == "false":
        return 0
    if not _is_count(text):
        raise ValueError(f"is {shown(text)}; it must be a whole number of minutes, or false")
    return int(text)
