"""The twin of a source in memory, for tests: everything is what the test says."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping

from testwarden.control.source import CATALOGUES, CONTROL_FILE, Answer, Fetched, Look, check_path, too_large
from testwarden.errors import SourceError, SourceNotFound, SourceUnavailable
from testwarden.safety.kill_switch import SwitchIssue


class MemorySource:
    """Implements Source on what is in memory."""

    def __init__(
        self, files: Mapping[str, bytes] | None = None, commit: str = "0" * 40, *, poll_seconds: float = 75.0
    ) -> None:
        self._commits = {commit: dict(files or {})}
        self._commit = commit
        self._poll_seconds = poll_seconds
        self._issues: dict[int, SwitchIssue] = {}
        self._errors: deque[SourceError] = deque()
        self._closed = False
        self.last_answer: Answer | None = None
        """What a test says the newest exchange taught."""
        self.calls: list[str] = []
        """`fetch`, `file PATH`, `look` and `thorough look`, in order."""

    @property
    def description(self) -> str:
        """See Source."""
        return "memory"

    @property
    def poll_seconds(self) -> float:
        """See Source."""
        return self._poll_seconds

    def set_files(self, files: Mapping[str, bytes], commit: str) -> None:
        """From now on, these are the files, of this commit."""
        self._commits[commit], self._commit = dict(files), commit

    def open_issue(self, issue: SwitchIssue) -> None:
        """From now on, this kill-switch issue is open."""
        self._issues[issue.number] = issue

    def close_issue(self, number: int) -> None:
        """From now on, it is not."""
        del self._issues[number]

    def fail(self, *errors: SourceError) -> None:
        """The next calls raise these, one each, before the one after them is good again."""
        self._errors.extend(errors)

    def fetch(self) -> Fetched:
        """See Source."""
        self._call("fetch")
        files = self._commits[self._commit]
        if CONTROL_FILE not in files:
            raise SourceNotFound(f"there is no {CONTROL_FILE}")
        return Fetched(self._commit, {name: files[name] for name in (CONTROL_FILE, *CATALOGUES) if name in files})

    def fetch_file(self, commit: str, path: str, most_bytes: int) -> bytes:
        """See Source."""
        self._call(f"file {path}")
        check_path(path)
        content = self._commits.get(commit, {}).get(path)
        if content is None:
            raise SourceNotFound(f"there is no {path}")
        if len(content) > most_bytes:
            raise too_large(path, most_bytes)
        return content

    def look(self, *, thorough: bool) -> Look:
        """See Source."""
        self._call("thorough look" if thorough else "look")
        return Look(tuple(self._issues[number] for number in sorted(self._issues)))

    def close(self) -> None:
        """See Source."""
        self._closed = True

    def _call(self, name: str) -> None:
        self.calls.append(name)
        if self._closed:
            raise SourceUnavailable("memory was closed")
        if self._errors:
            raise self._errors.popleft()
