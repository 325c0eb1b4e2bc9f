"""PyGithub with connections of ours. Imported at the first request only: PyGithub takes 0.25 s and 35 MiB to import."""

from __future__ import annotations

from collections.abc import Callable, ItemsView, Mapping
from typing import Any, Protocol, cast

from github.Auth import Token
from github.Requester import HTTPRequestsConnectionClass, HTTPSRequestsConnectionClass, Requester, RequestsResponse


class Final(Protocol):
    """An answer that was read already."""

    @property
    def status(self) -> int: ...

    @property
    def headers(self) -> Mapping[str, str]: ...


Carry = Callable[[str, Mapping[str, str]], Final]
"""Given a URL and headers, get it and return the answer."""


def requester(api_url: str, token: str, agent: str, seconds: int, carry: Carry) -> Requester:
    """Return a requester whose every request goes through `carry`."""

    class OurRequester(Requester):
        """The connection classes are attributes of a class: on this one, they are nobody else's."""

    https = cast("type[HTTPSRequestsConnectionClass]", _connection_class("https", carry))
    OurRequester.injectConnectionClasses(_connection_class("http", carry), https)
    return OurRequester(
        auth=Token(token) if token else None,
        base_url=api_url,
        timeout=seconds,
        user_agent=agent,
        per_page=100,
        verify=True,
        retry=None,
        pool_size=None,
        lazy=True,
    )


def _connection_class(protocol: str, carry: Carry) -> type[HTTPRequestsConnectionClass]:
    class Connection(HTTPRequestsConnectionClass):
        """Imitates what PyGithub makes for one origin, without a session of its own."""

        def __init__(self, host: str, port: int | None = None, *_: Any, **__: Any) -> None:
            self.host = host
            name = f"[{host}]" if ":" in host else host
            self._origin = f"{protocol}://{name}:{port}" if port else f"{protocol}://{name}"

        def getresponse(self) -> RequestsResponse:
            return _Head(carry(self._origin + self.url, self.headers))

        def close(self) -> None:
            """The connections belong to the session."""

    return Connection


class _Head(RequestsResponse):
    """Status and headers. PyGithub would turn the body into text; `carry` keeps the bytes."""

    def __init__(self, answer: Final) -> None:
        self.status = answer.status
        self._headers = answer.headers

    def getheaders(self) -> ItemsView[str, str]:
        return self._headers.items()

    def read(self) -> str:
        return ""
