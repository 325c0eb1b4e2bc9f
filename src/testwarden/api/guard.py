"""Who may ask the API at all, decided from the head of a request. Pure.

Three kinds of callers are kept out. Web pages that the operator visits: a browser sends their requests to this machine
as if the operator had made them (cross-site requests), or lets them read the answers once their name resolves to this
machine (DNS rebinding); `Origin`, `Sec-Fetch-Site` and `Host` give them away. Strangers: the token. And whoever sends
more than there is room for.
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import re
from dataclasses import dataclass

from testwarden.api.config import Address, ApiConfig
from testwarden.model import KIB, MIB

MOST_SCRIPT = 1 * MIB
"""Bytes of one script."""
_MOST_BODY = 64 * KIB
_MORE_BODY = {"/api/v1/saveScript": MOST_SCRIPT, "/v1/runs": 2 * MOST_SCRIPT}
"""Where a body holds a script; inside JSON, its line ends and quotes take two bytes."""

_ORCHESTRATOR = "/api/v1/"
_TAKES_TEXT = "/api/v1/saveScript"
_FORMS = ("text/plain", "multipart/form-data", "application/x-www-form-urlencoded")
"""What a page can send anywhere without asking first, by a form or a simple `fetch` (Fetch standard, "CORS-safelisted
request-header"). Nothing of it is JSON."""
_HOST = re.compile(r"(?:\[([^\]]*)\]|([^:\[\]]*))(?::([0-9]{0,5}))?")
_READING = ("GET", "HEAD", "OPTIONS")


@dataclass(frozen=True)
class Asked:
    """The head of a request."""

    method: str
    path: str
    headers: tuple[tuple[str, str], ...]
    """Names in lower case."""

    def all(self, name: str) -> list[str]:
        return [value for key, value in self.headers if key == name]

    def first(self, name: str) -> str:
        """Return the first header of that name, empty if there is none."""
        return next(iter(self.all(name)), "")


@dataclass(frozen=True)
class Refusal:
    """Why a request is not answered."""

    status: int
    sentence: str
    headers: tuple[tuple[str, str], ...] = ()

    def body(self, path: str) -> dict[str, str]:
        """Return what the caller of this path gets to read: JSON in the form of its neighbours."""
        if path.startswith(_ORCHESTRATOR):
            return {"status": "Error", "error": self.sentence}
        return {"error": self.sentence}


class Guard:
    """Judges requests."""

    def __init__(self, config: ApiConfig, address: Address) -> None:
        """Given the settings and where the API listens."""
        self._token = None if config.token is None else _digest(config.token)
        self._address = address
        self._hosts = {"localhost", address.host, *(host.lower().rstrip(".") for host in config.hosts)}

    def judge(self, asked: Asked) -> Refusal | None:
        """Return why the request is refused; None: it may be read further."""
        return (
            self._judge_host(asked)
            or _judge_origin(asked)
            or self._judge_token(asked)
            or _judge_form(asked)
            or judge_length(asked)
        )

    def _judge_host(self, asked: Asked) -> Refusal | None:
        hosts = asked.all("host")
        if len(hosts) != 1:
            return Refusal(400, "a request names exactly one Host")
        if not self._is_us(_split(hosts[0])[0]):
            return Refusal(
                421, "this agent is not called that: use its address, or add the name of the Host header to api.hosts"
            )
        return None

    def _is_us(self, host: str) -> bool:
        if host in self._hosts:
            return True
        try:
            # An address in a Host header was written by whoever wrote the URL: no resolver can have turned it.
            literal = ipaddress.ip_address(host)
        except ValueError:
            return False
        return not literal.is_unspecified and (literal.is_loopback or not self._address.loopback)

    def _judge_token(self, asked: Asked) -> Refusal | None:
        if self._token is None or is_open(asked.path):
            return None
        sent = asked.all("authorization")
        scheme, _, token = sent[0].partition(" ") if len(sent) == 1 else ("", "", "")
        # Digests have one length, so that the comparison does not tell the token's.
        if scheme.lower() == "bearer" and hmac.compare_digest(_digest(token.strip()), self._token):
            return None
        what = "is wrong" if sent else "is missing"
        return Refusal(401, f"the token {what}: Authorization: Bearer …", (("WWW-Authenticate", "Bearer"),))


def is_open(path: str) -> bool:
    """Return whether a path needs no token: the page, which asks the operator for it, and whether the process lives."""
    return path in ("/", "/healthz") or path.startswith("/page/")


def most_body(path: str) -> int:
    """Given a path, return how many bytes a body may have."""
    return _MORE_BODY.get(path, _MOST_BODY)


def judge_length(asked: Asked) -> Refusal | None:
    """Judge what the head says about the body; one without a length is counted as it comes."""
    length = asked.first("content-length")
    if length.isdecimal() and int(length[:20]) > most_body(asked.path):
        return too_long(asked.path)
    return None


def too_long(path: str) -> Refusal:
    """Return the refusal of a body that is longer than this path takes."""
    return Refusal(413, f"the body is longer than the allowed {most_body(path)} bytes")


def _judge_origin(asked: Asked) -> Refusal | None:
    """Refuse what a page of another origin makes a browser send. Who clicks a link to look at something is no page."""
    refusal = Refusal(403, "requests from web pages of other origins are not answered")
    origins = asked.all("origin")
    if origins and (len(origins) > 1 or _origin(origins[0]) != _host_and_port(asked.first("host"), origins[0])):
        return refusal
    clicked = asked.method == "GET" and asked.first("sec-fetch-mode") == "navigate"
    clicked = clicked and asked.first("sec-fetch-dest") == "document"
    if asked.first("sec-fetch-site") not in ("", "same-origin", "none") and not clicked:
        return refusal
    return None


def _judge_form(asked: Asked) -> Refusal | None:
    """Refuse what a form can send: a second line, should a browser say nothing of where a request comes from."""
    kind = asked.first("content-type").partition(";")[0].strip().lower()
    if asked.method in _READING or asked.path == _TAKES_TEXT or kind not in _FORMS:
        return None
    return Refusal(415, "send the body as Content-Type: application/json; what a web form can send is not taken")


def _origin(text: str) -> tuple[str, str] | None:
    """Given an Origin header, return host and port; None for `null` and whatever else is no http(s) origin."""
    scheme, separator, rest = text.strip().lower().partition("://")
    return _host_and_port(rest, text) if separator and scheme in ("http", "https") and rest else None


def _host_and_port(host: str, origin: str) -> tuple[str, str]:
    """Given a Host header and an origin, return both; a port not named is the default of the origin's scheme."""
    name, port = _split(host)
    return name, port or ("443" if origin.strip().lower().startswith("https:") else "80")


def _split(host: str) -> tuple[str, str]:
    """Given `host`, `host:port`, `[v6]` or `[v6]:port`, return the host in lower case, without brackets and a closing
    dot, and the port; both empty for what has another form."""
    found = _HOST.fullmatch(host.strip().lower())
    return ((found[1] or found[2] or "").rstrip("."), found[3] or "") if found else ("", "")


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).digest()
