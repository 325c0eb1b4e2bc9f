"""A folder as the source of tasks: for the first run, for tests, and for who tries an edit before it goes to GitHub.

Its kill switch is an entry whose name starts with `kill-switch`: `touch kill-switch` stops the agent.
"""

from __future__ import annotations

import os
import pwd
import stat
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path

from testwarden.control import catalogue, control_file
from testwarden.control.source import (
    CATALOGUES,
    CONTROL_FILE,
    Answer,
    Fetched,
    Look,
    check_path,
    too_large,
)
from testwarden.errors import SourceBadAnswer, SourceError, SourceNotFound, SourceUnavailable
from testwarden.safety.kill_switch import SwitchIssue

SWITCH_PREFIX = "kill-switch"
POLL_SECONDS = 1.0


class DirectorySource:
    """The control file and the catalogues of a folder, without commits."""

    def __init__(self, path: Path, now: Callable[[], datetime]) -> None:
        """Given the folder and what says the time (aware), for a kill switch whose own time cannot be read."""
        self._path = path
        self._now = now

    @property
    def description(self) -> str:
        """The folder."""
        return str(self._path)

    @property
    def poll_seconds(self) -> float:
        """A look costs one listing of the folder, so it can be often."""
        return POLL_SECONDS

    @property
    def last_answer(self) -> Answer | None:
        """Always None: a folder has no allowance and no clock."""
        return None

    def fetch(self) -> Fetched:
        """Return the files. Raise SourceNotFound without a control file, SourceUnavailable or SourceBadAnswer for a
        file that cannot be read or is none."""
        files = {CONTROL_FILE: _read(self._path / CONTROL_FILE, control_file.MOST_BYTES)}
        for name in CATALOGUES:
            try:
                files[name] = _read(self._path / name, catalogue.MOST_BYTES)
            except SourceNotFound:
                continue  # left out: the catalogues' reader says that it is missing
        return Fetched(commit="", files=files)

    def fetch_file(self, commit: str, path: str, most_bytes: int) -> bytes:  # noqa: ARG002 - a folder has no commits
        """See Source. What cannot be read is no file for us: there is no network in between that could recover."""
        check_path(path)
        try:
            content = _read(_below(self._path, path), most_bytes)
        except SourceUnavailable as problem:
            raise SourceBadAnswer(str(problem)) from None
        if len(content) > most_bytes:
            raise too_large(path, most_bytes)
        return content

    def look(self, *, thorough: bool) -> Look:  # noqa: ARG002 - every look at a folder is thorough
        """Return the entries that are a kill switch. Raise SourceError if the folder cannot be listed."""
        try:
            names = [entry.name for entry in self._path.iterdir()]
        except OSError as problem:
            raise _as_source_error(self._path, problem) from None
        switches = sorted(name for name in names if name.lower().startswith(SWITCH_PREFIX))
        return Look(tuple(issue for issue in map(self._issue, switches) if issue is not None))

    def close(self) -> None:
        """Nothing is held."""

    def _issue(self, name: str) -> SwitchIssue | None:
        """Return the entry as an issue; None if it has just been removed. What cannot be learned of it is no excuse."""
        entry = self._path / name
        author, opened = "unknown", self._now()
        try:
            seen = entry.lstat()
            author = _owner(seen.st_uid)
            opened = datetime.fromtimestamp(seen.st_mtime, timezone.utc)
        except FileNotFoundError:
            return None
        except (OSError, OverflowError, ValueError):
            pass  # no right to look at it, or a time that no calendar has: it is a switch all the same
        return SwitchIssue(0, _printable(name), author, opened, _printable(str(entry)))


def _owner(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def _printable(name: str) -> str:
    """File names may hold bytes that are no text; these become question marks."""
    return os.fsencode(name).decode("utf-8", "replace")


def _below(folder: Path, path: str) -> Path:
    """Return where a file below the folder really is. A link may stay below the folder, and not lead out of it."""
    try:
        real = (folder / path).resolve(strict=True)
        if real.is_relative_to(folder.resolve()):
            return real
    except OSError as problem:
        raise _as_source_error(folder / path, problem) from None
    except RuntimeError:
        raise SourceBadAnswer(f"{folder / path}: links that lead to each other") from None
    raise SourceBadAnswer(f"{folder / path} leads out of {folder}")


def _read(path: Path, most_bytes: int) -> bytes:
    """Return what a regular file holds, at most one byte more than `most_bytes`, so that its reader sees it is too big.

    Opened without waiting: a FIFO, or a link to one, would hold the agent until somebody writes to it.
    """
    try:
        with open(path, "rb", opener=_without_waiting) as file:
            seen = os.fstat(file.fileno())
            if stat.S_ISREG(seen.st_mode):
                return file.read(min(seen.st_size, most_bytes) + 1)
    except OSError as problem:
        raise _as_source_error(path, problem) from None
    raise SourceBadAnswer(f"{path} is not a regular file")


def _without_waiting(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK | os.O_NOCTTY)


def _as_source_error(path: Path, problem: OSError) -> SourceError:
    kind = SourceNotFound if isinstance(problem, (FileNotFoundError, NotADirectoryError)) else SourceUnavailable
    return kind(f"{path}: {problem.strerror or problem}")
