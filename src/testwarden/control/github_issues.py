"""The kill switch on GitHub: which issues count, and what a look at a part of the list says about the whole."""

from __future__ import annotations

import operator
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from testwarden.clients.http_session import one_line
from testwarden.control.github_answers import parsed
from testwarden.control.github_door import Reply
from testwarden.errors import SourceBadAnswer, SourceNotFound
from testwarden.safety.kill_switch import SwitchIssue

SWITCH = "kill-switch"
PER_PAGE = 100
MOST_PAGES = 50
_WHAT = "issues"


@dataclass(frozen=True)
class Entry:
    """One open issue or pull request."""

    number: int
    updated: datetime
    switch: SwitchIssue | None
    """None: it is not about the kill switch, or a pull request."""


@dataclass(frozen=True)
class Page:
    """One page of the list, newest update first."""

    entries: tuple[Entry, ...]
    more: bool
    etag: str | None


@dataclass(frozen=True)
class Seen:
    """What the looks up to now say."""

    first: Page
    known: dict[int, SwitchIssue]
    newest: datetime | None
    """The newest update that was seen; None where there never was an issue."""


Ask = Callable[[int, str | None], Reply]
"""Given the number of a page and an ETag, ask for that page of the open issues, newest update first."""


def look(seen: Seen | None, thorough: bool, ask: Ask, ask_one: Callable[[int], Reply]) -> Seen:
    """Given what was seen before (None: nothing), return what is seen now. Raise SourceError.

    The first look is always thorough. Nothing is remembered of a look that fails halfway: its ETag would hide from the
    next look what this one did not come to.
    """
    first = _first_page(seen, ask)
    if seen is not None and first is seen.first and not (thorough and first.more):
        return seen
    pages = [first]
    while pages[-1].more and len(pages) < MOST_PAGES and (thorough or not _overlaps(pages[-1], seen)):
        pages.append(page_of(ask(len(pages) + 1, None)))
    entries = [entry for page in pages for entry in page.entries]
    found = {entry.number: entry.switch for entry in entries if entry.switch is not None}
    kept = _kept(seen, {entry.number for entry in entries}, pages, ask_one)
    updates = [entry.updated for entry in entries] + ([seen.newest] if seen and seen.newest else [])
    return Seen(first, kept | found, max(updates, default=None))


def _first_page(seen: Seen | None, ask: Ask) -> Page:
    reply = ask(1, seen.first.etag if seen else None)
    return seen.first if seen and reply.unchanged else page_of(reply)


def _overlaps(page: Page, seen: Seen | None) -> bool:
    """Whether everything below this page was seen before. Updates of the same second may have come after the look."""
    return seen is not None and seen.newest is not None and any(entry.updated < seen.newest for entry in page.entries)


def _kept(
    seen: Seen | None, looked_at: set[int], pages: list[Page], ask_one: Callable[[int], Reply]
) -> dict[int, SwitchIssue]:
    """Return the known issues that stay although they were not on any page.

    Where the walk did not reach the end of the list, they may be below. Where it did, they are closed; but while pages
    are walked, an issue that is closed moves the others up, and one may slip from an unread page to a read one. So each
    is asked for before it is forgotten.
    """
    missing = {number: issue for number, issue in (seen.known if seen else {}).items() if number not in looked_at}
    if pages[-1].more:
        return missing
    if len(pages) == 1:
        return {}
    return {number: issue for number, issue in missing.items() if _still_counts(number, ask_one)}


def _still_counts(number: int, ask_one: Callable[[int], Reply]) -> bool:
    try:
        issue = parsed(ask_one(number).body, dict, _WHAT)
    except SourceNotFound:
        return False
    return issue.get("state") != "closed" and entry_of(issue).switch is not None


def page_of(reply: Reply) -> Page:
    """Given the answer to "List repository issues", return the page. Raise SourceBadAnswer if it is something else."""
    entries = tuple(entry_of(item) for item in parsed(reply.body, list, _WHAT))
    return Page(entries, reply.more or len(entries) >= PER_PAGE, reply.headers.get("etag"))


def entry_of(item: Any) -> Entry:
    """Given one issue or pull request in GitHub's JSON, return what we need of it. Raise SourceBadAnswer."""
    try:
        number, title = operator.index(item["number"]), _text(item["title"])
        labels = [_text(label if isinstance(label, str) else label["name"]) for label in item["labels"]]
        opened, updated = _moment(item["created_at"]), _moment(item["updated_at"])
        # A deleted account leaves no user.
        author = str((item.get("user") or {}).get("login", "ghost"))
        issue = SwitchIssue(number, one_line(title), one_line(author), opened, one_line(str(item.get("html_url", ""))))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        what = f"{type(error).__name__}: {one_line(str(error))}"
        raise SourceBadAnswer(f"{_WHAT}: an entry is not an issue: {what}") from error
    return Entry(number, updated, issue if "pull_request" not in item and counts(title, labels) else None)


def counts(title: str, labels: list[str]) -> bool:
    """Return whether an issue with this title and these labels is about the kill switch.

    Outsiders cannot add labels, so the beginning of the title is enough.
    """
    return title.lstrip().casefold().startswith(SWITCH) or any(label.strip().casefold() == SWITCH for label in labels)


def _moment(text: str) -> datetime:
    """Given `2026-11-21T00:00:00Z`, return it. Raise ValueError, also where the time zone is missing."""
    moment = datetime.fromisoformat(text.replace("Z", "+00:00"))
    if moment.tzinfo is None:
        raise ValueError(f"{text!r} has no time zone")
    return moment


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is not a text")
    return value
