"""What GitHub's answers mean: pure functions of status, headers and body."""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Mapping
from datetime import datetime, timedelta, timezone
from email.utils import parsedate_to_datetime
from typing import Any

from testwarden.clients.http_session import one_line
from testwarden.control.commit_cache import COMMIT_ID
from testwarden.control.source import Allowance, Answer
from testwarden.errors import SourceBadAnswer, SourceError, SourceNotFound, SourceRateLimited, SourceUnavailable

_LIMITED = re.compile(r"rate limit|retry your request again later|wait a few minutes", re.IGNORECASE)


def answer_of(headers: Mapping[str, str], sent: datetime, received: datetime) -> Answer:
    """Given the headers (any case of names) and when the request left and its answer came, return what they teach."""
    return Answer(_allowance(headers), _skew(headers.get("date"), sent, received))


def _allowance(headers: Mapping[str, str]) -> Allowance | None:
    """GitHub docs, "Rate limits for the REST API": whole numbers; reset in seconds since 1970 UTC."""
    names = ("x-ratelimit-limit", "x-ratelimit-remaining", "x-ratelimit-reset")
    try:
        limit, remaining, reset = (int(headers[name]) for name in names)
        return Allowance(limit, remaining, datetime.fromtimestamp(reset, timezone.utc))
    except (KeyError, ValueError, OverflowError, OSError):
        return None


def _skew(date: str | None, sent: datetime, received: datetime) -> float | None:
    """Return by how many seconds our clock is ahead. `Date` is cut to whole seconds: half a second more is likely."""
    try:
        theirs = parsedate_to_datetime(date or "")
    except (TypeError, ValueError):
        return None
    if theirs.tzinfo is None:
        return None
    ours = sent + (received - sent) / 2
    return (ours - theirs).total_seconds() - 0.5


def message_of(body: bytes) -> str:
    """Given the body of a refusal, return GitHub's message in one line, or "" where there is none."""
    try:
        message = json.loads(body)["message"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return ""
    return one_line(str(message))


def problem(status: int, headers: Mapping[str, str], message: str, where: str, now: datetime) -> SourceError:
    """Given an answer that is no success, GitHub's message and what was asked for, return the error that it means."""
    said = f"{where}: HTTP {status}" + (f", {message}" if message else "")
    if status in (403, 429) and _limited(status, headers, message):
        return SourceRateLimited(said, _resets(headers, now))
    if status == 401:
        return SourceUnavailable(f"{said}: is the token right?")
    if status in (404, 410):
        return SourceNotFound(f"{said}: there is no such repository, branch or file, or it is not for this token")
    if status in (403, 429) or status >= 500:
        return SourceUnavailable(said)
    return SourceBadAnswer(said)


def _limited(status: int, headers: Mapping[str, str], message: str) -> bool:
    used_up = headers.get("x-ratelimit-remaining") == "0"
    return status == 429 or used_up or "retry-after" in headers or bool(_LIMITED.search(message))


def _resets(headers: Mapping[str, str], now: datetime) -> datetime | None:
    """`retry-after` (seconds) is about secondary limits and comes first (GitHub docs, "Exceeding the rate limit")."""
    after = headers.get("retry-after", "")
    if after.isdecimal() and len(after) < 8:
        return now + timedelta(seconds=int(after))
    allowance = _allowance(headers)
    return allowance.resets if allowance and allowance.remaining == 0 else None


def parsed(body: bytes, kind: type[Any], what: str) -> Any:
    """Given a body and the type that its JSON must have, return it. Raise SourceBadAnswer, naming what was asked."""
    try:
        value = json.loads(body)
    except (ValueError, RecursionError) as error:
        page = " but a web page" if body.lstrip().startswith(b"<") else ""
        raise SourceBadAnswer(f"{what}: the answer is not JSON{page}") from error
    if not isinstance(value, kind):
        raise SourceBadAnswer(f"{what}: the answer is a JSON {type(value).__name__}, not a {kind.__name__}")
    return value


def commit_of(body: bytes, what: str) -> str:
    """Given the answer to "Get a branch", return the commit id, looked at closely: it becomes the name of a folder."""
    commit = parsed(body, dict, what).get("commit")
    sha = commit.get("sha") if isinstance(commit, dict) else None
    if not isinstance(sha, str) or not COMMIT_ID.fullmatch(sha):
        raise SourceBadAnswer(f"{what}: the answer names no commit")
    return sha


def content_of(content_type: str, body: bytes, what: str) -> bytes:
    """Given the answer to "Get repository content", return the file. Raise SourceBadAnswer if it is something else.

    GitHub sends the bytes when asked for `raw`; a server that does not know that media type sends JSON with base64.
    """
    kind = content_type.partition(";")[0].strip().lower()
    if kind == "text/html":
        raise SourceBadAnswer(f"{what}: the answer is a web page, not a file")
    if kind != "application/json":
        return body
    file = parsed(body, dict, what)
    try:
        if file["encoding"] != "base64":
            raise SourceBadAnswer(f"{what}: the content is encoded in an unknown way")
        return base64.b64decode(file["content"])
    except (KeyError, TypeError, binascii.Error) as error:
        raise SourceBadAnswer(f"{what}: the answer holds no file") from error
