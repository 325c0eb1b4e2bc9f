"""Tasks from one place, the kill switch from two: an operator's own folder is still stopped by the repository's issue."""

from __future__ import annotations

from testwarden.control.source import Answer, Fetched, Look, Source
from testwarden.errors import SourceError
from testwarden.safety.kill_switch import SwitchIssue


class SplitSource:
    """Fetches from one source and looks for the kill switch in that one and in another."""

    def __init__(self, tasks: Source, switch: Source) -> None:
        self._tasks = tasks
        self._switch = switch

    @property
    def description(self) -> str:
        """See Source."""
        return f"{self._tasks.description}, kill switch at {self._switch.description}"

    @property
    def poll_seconds(self) -> float:
        """See Source."""
        return self._switch.poll_seconds

    @property
    def last_answer(self) -> Answer | None:
        """See Source: what the source of the kill switch taught."""
        return self._switch.last_answer

    def fetch(self) -> Fetched:
        """See Source."""
        return self._tasks.fetch()

    def fetch_file(self, commit: str, path: str, most_bytes: int) -> bytes:
        """See Source."""
        return self._tasks.fetch_file(commit, path, most_bytes)

    def look(self, *, thorough: bool) -> Look:
        """See Source: an entry in either place counts, also when the other one cannot be looked at."""
        found: list[SwitchIssue] = []
        problems: list[SourceError] = []
        for source in (self._switch, self._tasks):
            try:
                found += source.look(thorough=thorough).issues
            except SourceError as problem:
                problems.append(problem)
        if problems and not found:
            raise problems[0]
        return Look(tuple(found))

    def close(self) -> None:
        """See Source."""
        self._tasks.close()
        self._switch.close()
