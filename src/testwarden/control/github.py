"""The source on GitHub, or on any server that speaks its API: files of a branch, kill switch among the issues."""

from __future__ import annotations

import logging
import socket
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from urllib.parse import quote, urlsplit

from ratelimit import RateLimitDecorator

from testwarden.clients.dial import Resolve
from testwarden.clients.http_session import BodyRefused
from testwarden.control import control_file, github_issues
from testwarden.control.commit_cache import CommitCache
from testwarden.control.github_answers import commit_of, content_of
from testwarden.control.github_door import CALL_SECONDS, GitHubDoor, Reply
from testwarden.control.source import (
    CATALOGUES,
    CONTROL_FILE,
    Answer,
    Fetched,
    Look,
    check_path,
    too_large,
)
from testwarden.errors import SettingsError, SourceNotFound
from testwarden.model import MIB

POLITE_CALLS, POLITE_SECONDS = 60, 60
"""No more requests than this in so many seconds, whatever asks for them. An hour needs far less."""

MOST_CONTROL_FILE = control_file.MOST_BYTES + 1
"""What is read of a control file: one byte more than it may have, so that the parser is the one who complains."""
MOST_CATALOGUE = 64 * MIB
"""A larger catalogue is left out."""
MOST_JSON = 32 * MIB
"""A page of 100 issues with the longest texts that GitHub takes (65,536 characters of up to 4 bytes) has 26 MB."""


RAW = "application/vnd.github.raw+json"

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Head:
    """The newest commit of the branch, and the ETag by which to ask whether it still is."""

    commit: str
    etag: str | None


class GitHubSource:
    """Implements Source. `fetch` and `look` have a door each: a large catalogue never keeps the kill switch waiting."""

    def __init__(
        self,
        *,
        repository: str,
        branch: str,
        api_url: str,
        token: str,
        user_agent: str,
        cache_dir: Path,
        directory: str = "test-files",
        now: Callable[[], datetime] = lambda: datetime.now(timezone.utc),
        call_seconds: float = CALL_SECONDS,
        resolve: Resolve = socket.getaddrinfo,
    ) -> None:
        """Given `owner/name`, the branch, the API's URL, a token or "", the User-Agent, the folder where `control/` is
        made, the folder of the files in the repository, the wall clock, the time limit of a call and the resolver.

        Raise SettingsError for a URL or token that no request can be made with. Make no request.
        """
        token = token.strip()
        _check(api_url, token)
        host = urlsplit(api_url).hostname
        self._description = f"{'github.com' if host == 'api.github.com' else host}/{repository}@{branch}"
        self._repository = f"/repos/{quote(repository)}"
        self._branch = quote(branch, safe="")
        self._directory = quote(directory.strip("/"))
        self._poll_seconds = 15.0 if token else 75.0
        self._cache = CommitCache(cache_dir / "control")
        self._last_answer: Answer | None = None
        self._head: _Head | None = None
        self._seen: github_issues.Seen | None = None
        polite = RateLimitDecorator(calls=POLITE_CALLS, period=POLITE_SECONDS)
        self._fetching, self._looking = (
            GitHubDoor(
                api_url,
                token,
                user_agent,
                polite=polite,
                heard=self._hear,
                now=now,
                seconds=call_seconds,
                resolve=resolve,
            )
            for _ in range(2)
        )

    @property
    def description(self) -> str:
        """See Source."""
        return self._description

    @property
    def poll_seconds(self) -> float:
        """See Source: 60 requests an hour without a token are one look in 75 s and a fetch."""
        return self._poll_seconds

    @property
    def last_answer(self) -> Answer | None:
        """See Source."""
        return self._last_answer

    def fetch(self) -> Fetched:
        """See Source. What a fetch that ran out of time has got of a commit is there for the next one."""
        with self._fetching.call():
            commit = self._newest_commit()
            files = {CONTROL_FILE: self._file(commit, CONTROL_FILE, MOST_CONTROL_FILE, cut=True)}
            for name in CATALOGUES:
                try:
                    files[name] = self._file(commit, name, MOST_CATALOGUE)
                except SourceNotFound:
                    continue
                except BodyRefused as refused:
                    _log.warning("%s is left out: %s", name, refused)
        self._cache.keep_only(commit)
        return Fetched(commit, files)

    def fetch_file(self, commit: str, path: str, most_bytes: int) -> bytes:
        """See Source."""
        check_path(path)
        with self._fetching.call():
            try:
                return self._content(commit, path, most_bytes)
            except BodyRefused:
                raise too_large(path, most_bytes) from None

    def look(self, *, thorough: bool) -> Look:
        """See Source."""
        with self._looking.call():
            self._seen = github_issues.look(self._seen, thorough, self._issues, self._issue)
            known = self._seen.known
        return Look(tuple(known[number] for number in sorted(known)))

    def close(self) -> None:
        """See Source. A call that is under way ends at once."""
        self._fetching.close()
        self._looking.close()

    def _hear(self, answer: Answer) -> None:
        self._last_answer = answer

    def _newest_commit(self) -> str:
        path = f"{self._repository}/branches/{self._branch}"
        reply = self._fetching.get(path, most_bytes=MOST_JSON, etag=self._head.etag if self._head else None)
        if self._head is None or not reply.unchanged:
            self._head = _Head(commit_of(reply.body, path), reply.headers.get("etag"))
        return self._head.commit

    def _file(self, commit: str, name: str, most_bytes: int, *, cut: bool = False) -> bytes:
        stored = self._cache.load(commit, name)
        if stored is not None:
            return stored
        content = self._content(commit, name, most_bytes, cut=cut)
        self._cache.store(commit, name, content)
        return content

    def _content(self, commit: str, name: str, most_bytes: int, *, cut: bool = False) -> bytes:
        path = f"{self._repository}/contents/{self._directory}/{quote(name)}"
        reply = self._fetching.get(path, most_bytes=most_bytes, cut=cut, parameters={"ref": commit}, accept=RAW)
        return content_of(reply.headers.get("content-type", ""), reply.body, path)

    def _issues(self, page: int, etag: str | None) -> Reply:
        # The first page is asked for without a page number, as the address to which its ETag belongs.
        parameters: dict[str, str | int] = {
            "state": "open",
            "sort": "updated",
            "direction": "desc",
            "per_page": github_issues.PER_PAGE,
            **({"page": page} if page > 1 else {}),
        }
        path = f"{self._repository}/issues"
        return self._looking.get(path, most_bytes=MOST_JSON, parameters=parameters, etag=etag)

    def _issue(self, number: int) -> Reply:
        return self._looking.get(f"{self._repository}/issues/{number}", most_bytes=MOST_JSON)


def _check(api_url: str, token: str) -> None:
    problems = []
    try:
        usable = urlsplit(api_url).scheme in ("http", "https") and bool(urlsplit(api_url).hostname)
    except ValueError:
        usable = False
    if not usable:
        problems.append(f"github.api_url: {api_url!r} is not an http or https URL")
    if not (token.isascii() and token.isprintable()) or " " in token:
        problems.append("github.token: a token has only letters, digits and signs, no spaces")
    if problems:
        raise SettingsError(problems)
