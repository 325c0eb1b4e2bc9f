"""From the arguments of `testwarden report` to the report."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from importlib.util import find_spec
from pathlib import Path

from testwarden.errors import MetricsError, TestwardenError
from testwarden.metrics.files import FileVanished, lines, metric_files
from testwarden.report import words
from testwarden.report.facts import Facts
from testwarden.report.reading import Reading
from testwarden.report.text import text

OK, TROUBLE = 0, 1
NEEDED = "matplotlib"
MISSING = (
    "the page needs the extra `report`: pip install 'testwarden[report]'; `testwarden report --text` works without it"
)
_SPAN = re.compile(r"(\d{1,4})\s*([mhdw])", re.ASCII)
_SECONDS = {"m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}


class UsageError(TestwardenError):
    """The command line asks for something that cannot be."""


@dataclass(frozen=True)
class Asked:
    """The command line."""

    paths: tuple[Path, ...]
    """Files, and folders of metrics files."""
    output: Path
    since: str | None = None
    """Such as `7d`, `12h`, `2w`."""
    as_text: bool = False


def report(asked: Asked, now: datetime, version: str, say: Callable[[str], None]) -> int:
    """Given the command line, the time, the version of this program and what prints a line, write the report.

    Return the exit code: 1 if there is none, or a file could not be read. Raise UsageError, one sentence.
    """
    since = None if asked.since is None else now - span_of(asked.since)
    if not asked.as_text:
        _check_page(asked.output)
    facts = read(asked.paths, now, since)
    if not facts.files:
        where = ", ".join(map(str, asked.paths))
        for trouble in facts.troubles or (f"{where}: no metrics files are there; has an agent run?",):
            say(f"testwarden: {trouble}")
        return TROUBLE
    if asked.as_text:
        say(text(facts))
    else:
        _write(asked.output, _page(facts, version))
        for trouble in facts.troubles:
            say(f"testwarden: {trouble}")
        say(
            f"{asked.output}: {words.counted(facts.account.counted, 'sample')} from {words.counted(facts.files, 'file')}"
        )
    return TROUBLE if facts.troubles else OK


def span_of(given: str) -> timedelta:
    """Given a text such as `7d`, return how long that is. Raise UsageError."""
    found = _SPAN.fullmatch(given.strip())
    if found is None or not int(found[1]):
        raise UsageError(f"--since {given!r}: allowed is a number with m, h, d or w, such as 90m, 12h, 7d, 2w")
    return timedelta(seconds=int(found[1]) * _SECONDS[found[2]])


def read(paths: tuple[Path, ...], now: datetime, since: datetime | None = None) -> Facts:
    """Given files and folders, the time, and from when on samples count, return what they say."""
    reading, troubles, done = Reading(now, since), [], 0
    seen: set[Path] = set()
    while True:
        listed, missing = _listed(paths)
        new = [path for path in listed if path.absolute() not in seen]
        if not seen:
            troubles += missing
        if not new:
            break
        # An agent that rotates meanwhile gives a file another name: look again afterwards, no sample counts twice.
        for path in new:
            seen.add(path.absolute())
            try:
                reading.read(path, lines(path))
                done += 1
            except FileVanished:
                pass  # Packed or put away meanwhile: it is found by its new name.
            except MetricsError as problem:
                troubles.append(str(problem))
    return Facts(reading.samples, reading.states, reading.account, done, tuple(troubles), now, since)


def _listed(paths: tuple[Path, ...]) -> tuple[list[Path], list[str]]:
    listed: dict[Path, None] = {}
    troubles = []
    for path in paths:
        try:
            listed |= dict.fromkeys([*metric_files([path]), *metric_files([path], "agent")])
        except MetricsError as problem:
            troubles.append(str(problem))
    return list(listed), troubles


def _check_page(output: Path) -> None:
    """What is wrong with the output is said before a million lines are read."""
    if find_spec(NEEDED) is None:
        raise UsageError(MISSING)
    if output.is_dir() or not output.absolute().parent.is_dir():
        raise UsageError(f"{output}: {'is a folder' if output.is_dir() else 'its folder does not exist'}")


def _page(facts: Facts, version: str) -> str:
    from testwarden.report.page import page

    return page(facts, version)


def _write(output: Path, document: str) -> None:
    try:
        output.write_text(document, encoding="utf-8")
    except OSError as problem:
        raise UsageError(f"{output}: cannot be written: {problem.strerror}") from None
