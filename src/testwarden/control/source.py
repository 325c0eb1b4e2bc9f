"""Where tasks come from: the protocol, and what an answer carries."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from testwarden.errors import SourceBadAnswer
from testwarden.safety.kill_switch import SwitchIssue

CONTROL_FILE = "00-control.xml"
DOWNLOAD_CATALOGUE = "01-download-files.csv"
QUOTE_CATALOGUE = "02-quote-files.csv"
UPLOAD_CATALOGUE = "03-upload-files.csv"
CATALOGUES = (DOWNLOAD_CATALOGUE, QUOTE_CATALOGUE, UPLOAD_CATALOGUE)

MOST_PATH = 200
"""Bytes of the path of a further file."""


def path_problem(path: str) -> str:
    """Given the path of a further file, return why it cannot be one below the folder of the control file, else ""."""
    if not path.isprintable() or "\\" in path or not 0 < len(path.encode()) <= MOST_PATH:
        return f"it must be a path with forward slashes, of at most {MOST_PATH} bytes, without control characters"
    if any(part in ("", ".", "..") for part in path.split("/")):
        return "it must lead straight down from the folder of the control file: no / first or last, no //, . and .."
    return ""


def check_path(path: str) -> None:
    """Raise SourceBadAnswer for a path that cannot be one below the folder of the control file."""
    problem = path_problem(path)
    if problem:
        raise SourceBadAnswer(f"{path!r}: {problem}")


def too_large(path: str, most_bytes: int) -> SourceBadAnswer:
    """Return the error for a further file that has more bytes than it may have."""
    return SourceBadAnswer(f"{path} is too large; at most {most_bytes:,} bytes are allowed")


@dataclass(frozen=True)
class Fetched:
    """The files of one fetch, all from the same commit."""

    commit: str
    """Commit id; empty for a source without commits."""
    files: dict[str, bytes]
    """Content by file name. A catalogue that does not exist is left out; the control file is always there."""


@dataclass(frozen=True)
class Allowance:
    """How many more requests the source will answer, by its own account (GitHub docs, "Rate limits for the REST API")."""

    limit: int
    remaining: int
    resets: datetime


@dataclass(frozen=True)
class Answer:
    """What every exchange with the source teaches beside its content."""

    allowance: Allowance | None
    skew: float | None
    """Seconds by which the local clock is ahead of the source's `Date` header; None where there is no such header."""


@dataclass(frozen=True)
class Look:
    """One good look at the kill switch."""

    issues: tuple[SwitchIssue, ...]
    """The open kill-switch issues; none means clear."""


class Source(Protocol):
    """A place that control files come from and where the kill switch is looked for.

    All calls raise SourceError (see the tree in errors.py) and nothing else for what the other side does, and no call
    waits longer than 15 s in all. They are called from different threads.
    """

    @property
    def description(self) -> str:
        """Where this source is, for a person: `github.com/owner/name@main` or a folder."""
        ...

    @property
    def poll_seconds(self) -> float:
        """The pause between two looks at the kill switch when nothing is scarce."""
        ...

    @property
    def last_answer(self) -> Answer | None:
        """What the newest exchange (also a failed one that had headers) taught; None before the first."""
        ...

    def fetch(self) -> Fetched:
        """Return the control file and the catalogues of the newest commit."""
        ...

    def fetch_file(self, commit: str, path: str, most_bytes: int) -> bytes:
        """Given the commit of a fetch and a path below the folder of the control file, return what that file holds.

        Raise SourceNotFound where there is none, SourceBadAnswer for a path that leads elsewhere, for what is no file
        and for one with more than `most_bytes`: asking again would not mend these. Every other SourceError may pass.
        """
        ...

    def look(self, *, thorough: bool) -> Look:
        """Return the open kill-switch issues.

        `thorough` walks all pages; it is used for the first look and for the one at the fetch that may resume testing.
        Without it, what changed since the look before is enough.
        """
        ...

    def close(self) -> None:
        """Give back connections."""
        ...
