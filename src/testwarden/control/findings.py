"""Collecting findings: how many are kept, and how what a stranger wrote is shown in them."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from testwarden.model import Finding, Level

MOST_FINDINGS = 100
"""So many findings are kept; the rest is counted. A file full of errors must not fill a memory, a log or a screen."""

MOST_SHOWN = 40
"""So many characters of a wrong value are shown."""


class Findings:
    """The errors of one file, or of one task in it."""

    def __init__(self, file: str, task: str | None = None, most: int = MOST_FINDINGS) -> None:
        self._file = file
        self._task = task
        self._most = most
        self._kept: list[Finding] = []
        self._more = 0
        self._last_line = 0

    def __bool__(self) -> bool:
        return bool(self._kept)

    def error(self, line: int, message: str) -> None:
        """Given a 1-based line (0: the whole file) and a sentence, keep or count the error."""
        if len(self._kept) < self._most:
            self._kept.append(Finding(self._file, line, Level.ERROR, message, self._task))
        else:
            self._more += 1
            self._last_line = line

    def listed(self) -> list[Finding]:
        """Return what was kept, by line, with a last one that counts what was not."""
        kept = sorted(self._kept, key=lambda finding: finding.line)
        if not self._more:
            return kept
        line = max(kept[-1].line, self._last_line)
        return [*kept, Finding(self._file, line, Level.ERROR, f"and {self._more:,} more errors", self._task)]


def shown(text: str) -> str:
    """Given any text, return it quoted, short, and without a character that a terminal would act on."""
    return repr(text if len(text) <= MOST_SHOWN else text[:MOST_SHOWN] + "…")


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Given an unknown word and the known ones, return `; did you mean X?`, or a list of them if none is near."""
    names = list(known)
    near = difflib.get_close_matches(word[:MOST_SHOWN].lower(), [name.lower() for name in names], n=1)
    if not near:
        return f"; known are {', '.join(names)}" if names else ""
    return f"; did you mean {next(name for name in names if name.lower() == near[0])}?"
