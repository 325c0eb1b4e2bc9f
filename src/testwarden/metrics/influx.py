"""InfluxDB as its readers see it: which server, what a write can come to, and what an answer means.

There are two interfaces. `/write` is that of InfluxDB 1 (VictoriaMetrics speaks it, too), with a database; `/api/v2/write`
is that of 2 and 3, with an organisation and a bucket. Both take line protocol and both answer 400 or 422 when they did
not like a line, after storing the others or not, and mostly without saying which line it was.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from testwarden.clients.http_session import one_line
from testwarden.errors import MetricsError

DEFAULT_NAME = "testwarden"
"""Of the database or bucket, where none is named."""
LONGEST_WAIT = 300.0
"""Seconds: what a server asks for beyond that is not heard."""

_LINE_TROUBLE = frozenset({400, 413, 422})
_NO_ENTRY = {401: "it does not accept the credentials", 403: "the credentials do not allow writing there"}
_QUOTED_LINE = re.compile(r"unable to parse '.*?': ", re.DOTALL)
"""influxd repeats the whole line before it says what it does not like in it."""
_DROPPED = re.compile(r"\bdropped=(\d+)")


@dataclass(frozen=True)
class InfluxServer:
    """Where the lines go. Secrets are in no text that this class makes."""

    url: str
    token: str = field(default="", repr=False)
    org: str = ""
    bucket: str = ""
    """InfluxDB 2 and 3."""
    database: str = ""
    """InfluxDB 1. Without either, the server is asked which it is, and the name is `testwarden`."""
    username: str = ""
    password: str = field(default="", repr=False)

    @property
    def key(self) -> str:
        """Twelve hex digits that stay the same as long as the lines go to the same place."""
        place = json.dumps([self.url.rstrip("/"), self.org, self.bucket, self.database])
        return hashlib.sha256(place.encode()).hexdigest()[:12]


class InfluxError(MetricsError):
    """The server does not take the lines."""


class Denied(InfluxError):
    """It will not take them before somebody changes something: the credentials, the name of the database, the address."""


class NotNow(InfluxError):
    """It may take them later."""

    def __init__(self, message: str, wait: float | None = None) -> None:
        """Given why, and how many seconds the server asks to wait, if it said so."""
        super().__init__(message)
        self.wait = wait


@dataclass(frozen=True)
class Refusal:
    """The server did not like at least one of the lines it was given."""

    message: str
    whole: bool = False
    """Whether it says that it took none of them, each for this reason."""
    by_line: Mapping[int, str] = field(default_factory=dict)
    """Where it says which: the index of each line in what was sent, and why. It took the others."""


class Writer(Protocol):
    """One interface of one server."""

    name: str
    """What it is and where, for a person."""

    def write(self, body: bytes, lines: int) -> Refusal | None:
        """Given whole lines, and how many, return when they are stored (None), or what is against one of them.

        Raise Denied or NotNow.
        """
        ...

    def close(self) -> None:
        """Give its connections back."""
        ...


def judge(where: str, status: int, headers: Mapping[str, str], body: str, lines: int) -> Refusal | None:
    """Given the answer to a write of so many lines, return None (stored) or the refusal. Raise Denied or NotNow.

    `where` names the server and the database or bucket.
    """
    if 200 <= status < 300:
        return None
    said = message_in(body)
    if status in _LINE_TROUBLE:
        return _refusal(said or f"status {status}", body, lines)
    if status in _NO_ENTRY:
        raise Denied(f"{where}: {_NO_ENTRY[status]} ({_with(status, said)})")
    if status == 404:
        raise Denied(
            f"{where}: there is no such database, bucket or organisation ({_with(status, said)}): create it first"
        )
    if status == 429 or status >= 500:
        raise NotNow(f"{where}: it cannot take the lines now ({_with(status, said)})", retry_after(headers))
    raise Denied(f"{where}: it does not answer as InfluxDB does ({_with(status, said)})")


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Given headers of an answer, return the seconds that it asks to wait; None where it says none, or names a date."""
    text = next((value for name, value in headers.items() if name.lower() == "retry-after"), "").strip()
    return min(float(text), LONGEST_WAIT) if text.isascii() and text.isdigit() else None


def message_in(body: str) -> str:
    """Given the body of an answer, return what it says, fit for a terminal: 1.x has `error`, 2.x `message`."""
    content = _json(body)
    said = content.get("error") or content.get("message") or body
    return one_line(_QUOTED_LINE.sub("unable to parse: ", str(said)))


def _with(status: int, said: str) -> str:
    return f"status {status}: {said}" if said else f"status {status}"


def _refusal(said: str, body: str, lines: int) -> Refusal:
    dropped = _DROPPED.search(said)
    data = _json(body).get("data")
    rows = [row for row in data if isinstance(row, dict)] if isinstance(data, list) else []
    by_line = {
        row["line_number"] - 1: message_in(str(row.get("error_message") or said))
        for row in rows
        if isinstance(row.get("line_number"), int) and 1 <= row["line_number"] <= lines
    }
    return Refusal(said, whole=dropped is not None and int(dropped[1]) >= lines, by_line=by_line)


def _json(body: str) -> dict[str, Any]:
    try:
        content = json.loads(body)
    except ValueError:
        return {}
    return content if isinstance(content, dict) else {}
