"""One conversation with GitHub at a time: PyGithub makes the requests, our bounded session carries them.

PyGithub (checked: 2.10) builds a session of its own per connection, waits for ever where a server answers 202, and
loses the query when it follows a redirect. Its `Requester` can be given connection classes; ours carry each request
through this door, which follows redirects within the origin and keeps the answer. What PyGithub sees is final: it never
waits and never asks twice.
"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING
from urllib.parse import urljoin, urlsplit

import requests
from ratelimit import RateLimitDecorator, RateLimitException

from testwarden.clients.dial import Resolve
from testwarden.clients.exchange import ExchangeEnded
from testwarden.clients.http_session import BodyRefused, BoundedSession, beginning_of, body_of, explain, one_line
from testwarden.clients.stop import Stop
from testwarden.control.github_answers import answer_of, message_of, problem
from testwarden.control.source import Answer
from testwarden.errors import SourceBadAnswer, SourceError, SourceUnavailable

if TYPE_CHECKING:
    from github.Requester import Requester

CALL_SECONDS = 15
"""Seconds that a call may take in all: waiting for its turn, names, connections, every request and body."""

MOST_REDIRECTS = 3
_REDIRECTS = frozenset({301, 302, 307, 308})


@dataclass(frozen=True)
class Reply:
    """A good answer: 200, or 304 where the request named what we have."""

    status: int
    headers: Mapping[str, str]
    """Names in lower case."""
    body: bytes

    @property
    def unchanged(self) -> bool:
        return self.status == 304

    @property
    def more(self) -> bool:
        """Whether the list goes on on another page (GitHub docs, "Using pagination in the REST API")."""
        return 'rel="next"' in self.headers.get("link", "")


class GitHubDoor:
    """Asks a server that speaks GitHub's API. A call is one `with door.call():` and as many `get` as fit into it."""

    def __init__(
        self,
        api_url: str,
        token: str,
        agent: str,
        *,
        polite: RateLimitDecorator,
        heard: Callable[[Answer], None],
        now: Callable[[], datetime],
        seconds: float = CALL_SECONDS,
        resolve: Resolve = socket.getaddrinfo,
    ) -> None:
        """Given the API's URL, a token or "", the User-Agent, what keeps us polite, who is told what each exchange
        teaches, the wall clock, how many seconds a call may take, and the resolver."""
        self._api_url = api_url
        self._token = token
        self._agent = agent
        self._host = urlsplit(api_url).hostname or api_url
        self._heard = heard
        self._now = now
        self._seconds = seconds
        self._lock = threading.Lock()
        self._stop = Stop()
        self._session = BoundedSession(agent, environment=True, resolve=resolve)
        self._ask: Callable[..., requests.Response] = polite(self._session.get)
        self._requester: Requester | None = None
        self._most_bytes, self._cut = 0, False
        self._reply = Reply(0, {}, b"")

    @contextmanager
    def call(self) -> Iterator[None]:
        """While inside, this thread may use `get`. Raise nothing but SourceError for what the other side does."""
        ends = time.monotonic() + self._seconds
        if not self._lock.acquire(timeout=self._seconds):
            raise SourceUnavailable(f"{self._host} is still busy with the call before")
        try:
            with self._session.bounded(max(0.0, ends - time.monotonic()), self._stop):
                yield
        except SourceError as error:
            error.args = (self._safe(str(error)),)
            raise
        except Exception as error:
            raise self._mapped(error) from error
        finally:
            self._lock.release()

    def _mapped(self, error: Exception) -> SourceError:
        if isinstance(error, ExchangeEnded):
            reason = "was closed" if self._stop.requested else f"did not answer within {self._seconds:g} s"
            return SourceUnavailable(f"{self._host} {reason}")
        if isinstance(error, RateLimitException):
            return SourceUnavailable(f"{self._host} was asked too often by us: the next minute is soon enough")
        if isinstance(error, BodyRefused):
            return SourceBadAnswer(f"{self._host}: {error}")
        # Mostly requests and urllib3; but PyGithub fails in its own ways, as on a header that is no number.
        return SourceUnavailable(f"{self._host}: {self._safe(explain(error))}")

    def get(
        self,
        path: str,
        *,
        most_bytes: int,
        cut: bool = False,
        parameters: Mapping[str, str | int] | None = None,
        etag: str | None = None,
        accept: str = "application/vnd.github+json",
    ) -> Reply:
        """Return the answer to one request; of a longer body only `most_bytes` if `cut`.

        Raise SourceError for everything but 200 and, given an ETag, 304. Raise BodyRefused for a longer body otherwise.
        """
        headers = {"Accept": accept, **({"If-None-Match": etag} if etag else {})}
        self._most_bytes, self._cut = most_bytes, cut
        self._our_requester().requestJson("GET", path, parameters=dict(parameters or {}), headers=headers)
        reply = self._reply
        if reply.status == 200 or (reply.unchanged and etag):
            return reply
        # Masked before it is cut to a line: half a token is too much as well.
        message = message_of(reply.body.replace(self._token.encode(), b"***") if self._token else reply.body)
        raise problem(reply.status, reply.headers, message, f"{self._host}{path}", self._now())

    def close(self) -> None:
        """End the call that is under way, refuse every later one, and give back the connections."""
        self._stop.request("closed", 0)
        with self._lock:
            self._session.close()

    def carry(self, url: str, headers: Mapping[str, str]) -> Reply:
        """Given a URL below the API and headers, ask, follow redirects within the origin; keep the answer."""
        for _ in range(MOST_REDIRECTS + 1):
            sent = self._now()
            with self._ask(url, headers=headers, stream=True, allow_redirects=False) as response:
                self._heard(answer_of(response.headers, sent, self._now()))
                if response.status_code not in _REDIRECTS:
                    self._reply = self._read(response)
                    return self._reply
                url = self._within_origin(url, response.headers.get("Location", ""))
        raise SourceBadAnswer(f"{self._host} redirects without end")

    def _read(self, response: requests.Response) -> Reply:
        if response.status_code == 202:
            raise SourceUnavailable(f"{self._host} is still preparing the answer")
        headers = {name.lower(): value for name, value in response.headers.items()}
        read = beginning_of if self._cut else _whole
        return Reply(response.status_code, headers, read(response, self._most_bytes))

    def _within_origin(self, url: str, location: str) -> str:
        target = urljoin(url, location)
        here, there = urlsplit(url), urlsplit(target)
        if not location or (here.scheme, here.netloc) != (there.scheme, there.netloc):
            where = one_line(self._safe(f"{there.scheme}://{there.netloc}")) if location else "nowhere"
            raise SourceBadAnswer(f"{self._host} redirects to {where}: check the setting github.api_url")
        return target

    def _our_requester(self) -> Requester:
        """Build PyGithub's requester at the first request: the import takes a quarter of a second."""
        if self._requester is None:
            from testwarden.control.github_requester import requester

            self._requester = requester(self._api_url, self._token, self._agent, CALL_SECONDS, self.carry)
        return self._requester

    def _safe(self, text: str) -> str:
        """Return text without the token: a server may send back what it was sent."""
        return text.replace(self._token, "***") if self._token else text


def _whole(response: requests.Response, most_bytes: int) -> bytes:
    return b"".join(body_of(response, most_bytes))
