"""HTTP/1 as the proxy of a cage understands it: heads and their framing, strictly, or not at all.

Where two readers of one message can disagree about where it ends, a request can be hidden in another. So nothing that
has two readings is passed on: line ends are CRLF, a length stands there once, a message has a length or chunks and never
both, lines are not folded. What is passed on is written anew from what was understood, never copied.

Why not h11: it is made for endpoints. It follows RFC 9112 in letting Transfer-Encoding override Content-Length where we
refuse, it does not know absolute URIs, and bodies would go through its events twice where we only count them through.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import Enum

from testwarden.clients.allow_list import canonical
from testwarden.errors import TestwardenError

MOST_HEAD = 32 * 1024
"""Bytes of a head."""
MOST_FIELDS = 100

_TOKEN = rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_REQUEST = re.compile(rb"(" + _TOKEN + rb") ([\x21-\x7e]+) HTTP/1\.([01])")
_STATUS = re.compile(rb"HTTP/1\.([01]) ([1-9][0-9]{2})(?: ([\t\x20-\x7e\x80-\xff]*))?")
_FIELD = re.compile(
    rb"(" + _TOKEN + rb"):[\t ]*([\x21-\x7e\x80-\xff](?:[\t\x20-\x7e\x80-\xff]*[\x21-\x7e\x80-\xff])?)?[\t ]*"
)
_HTTP_URL = re.compile(rb"[Hh][Tt][Tt][Pp]://([^/?#@]+)((?:/[^#]*)?(?:\?[^#]*)?)")
_AUTHORITY = re.compile(rb"(\[[0-9A-Fa-f:.]+\]|[0-9A-Za-z._-]+)(?::([0-9]{1,5}))?")
_LENGTH = re.compile(rb"[0-9]{1,15}")
_CHUNK = re.compile(rb"([0-9A-Fa-f]{1,12})[\t ]*(?:;[\t\x20-\x7e\x80-\xff]*)?")

_HOP_BY_HOP = frozenset(
    (b"connection", b"keep-alive", b"te", b"trailer", b"transfer-encoding", b"content-length", b"upgrade", b"expect")
)
"""Fields that are meant for us, or that we write ourselves; RFC 9110 §7.6.1. So is all that begins with `proxy-`."""
_NO_BODY = (204, 304)

Fields = Sequence[tuple[bytes, bytes]]
"""Names in lower case, values without blanks around."""


class BadMessageError(TestwardenError):
    """What came is not HTTP that has one reading only."""


class Framing(Enum):
    """How the end of a body is known."""

    LENGTH = "length"
    """After so many bytes, which may be none."""
    CHUNKS = "chunks"
    CLOSE = "close"
    """When the connection ends."""


@dataclass(frozen=True)
class Body:
    """What follows a head."""

    framing: Framing
    length: int = 0
    """Bytes, for Framing.LENGTH."""

    @property
    def empty(self) -> bool:
        return self.framing is Framing.LENGTH and self.length == 0


NOTHING = Body(Framing.LENGTH)


@dataclass(frozen=True)
class Request:
    """A request to the proxy."""

    method: bytes
    host: str
    """As `canonical` writes it."""
    port: int
    authority: bytes
    """Host and port as they were written."""
    path: bytes
    """Path and query; empty for CONNECT."""
    fields: Fields
    body: Body
    modern: bool
    """HTTP/1.1."""
    waits: bool
    """Whether it wants to hear that it may send its body."""

    @property
    def lasting(self) -> bool:
        """Whether the client wants the connection to go on."""
        return self.modern and b"close" not in _listed(self.fields, b"connection")

    @property
    def connects(self) -> bool:
        return self.method == b"CONNECT"

    def onward(self) -> bytes:
        """Return the head for whom the request is for."""
        fields = [(b"host", self.authority), *_passed_on(self.fields, (b"host",)), *_framing(self.body)]
        if self.body.empty and _values(self.fields, b"content-length"):
            fields.append((b"content-length", b"0"))
        return _written(self.method + b" " + self.path + b" HTTP/1.1", fields)


@dataclass(frozen=True)
class Response:
    """An answer of whom a request was for."""

    status: int
    reason: bytes
    fields: Fields
    body: Body
    modern: bool
    length_told: bytes | None
    """What Content-Length says, also where no body follows, as after HEAD."""

    @property
    def lasting(self) -> bool:
        """Whether the connection can be used again."""
        close = b"close" in _listed(self.fields, b"connection")
        return self.modern and not close and self.body.framing is not Framing.CLOSE

    def onward(self, *, lasting: bool, modern: bool) -> bytes:
        """Given whether the client's connection goes on, and whether the client speaks HTTP/1.1, return its head."""
        fields = list(_passed_on(self.fields))
        if self.length_told is not None and self.body.framing is Framing.LENGTH:
            fields.append((b"content-length", self.length_told))
        elif modern:
            fields.extend(_framing(self.body))
        if not lasting:
            fields.append((b"connection", b"close"))
        return _written(b"HTTP/1.1 %d %s" % (self.status, self.reason), fields)


def request_of(head: bytes) -> Request:
    """Given a head without the blank line at its end, return the request. Raise BadMessageError with a sentence."""
    first, fields = _split(head)
    found = _REQUEST.fullmatch(first)
    if not found:
        raise BadMessageError("the request line is not that of HTTP/1")
    method, target, minor = found.groups()
    authority, path = (target, b"") if method == b"CONNECT" else _url(target)
    host, port = _place(authority, None if method == b"CONNECT" else 80)
    _check_host(fields, host, port, method == b"CONNECT", minor == b"1")
    body = _body_of(fields, minor == b"1") or NOTHING
    if method == b"CONNECT" and not body.empty:
        raise BadMessageError("a CONNECT has no body")
    waits = minor == b"1" and b"100-continue" in _listed(fields, b"expect")
    return Request(method, host, port, authority, path, fields, body, minor == b"1", waits)


def response_of(head: bytes, method: bytes) -> Response:
    """Given a head without the blank line at its end, and the method that was asked with, return the response.

    Raise BadMessageError with a sentence.
    """
    first, fields = _split(head)
    found = _STATUS.fullmatch(first)
    if not found:
        raise BadMessageError("the status line is not that of HTTP/1")
    minor, status, reason = found.groups()
    modern, code = minor == b"1", int(status)
    body = _body_of(fields, modern) or Body(Framing.CLOSE)
    if method == b"HEAD" or code < 200 or code in _NO_BODY:
        body = NOTHING
    length = None if code < 200 or code == 204 else next(iter(_values(fields, b"content-length")), None)
    return Response(code, reason or b"", fields, body, modern, length)


def chunk_size(line: bytes) -> int:
    """Given the line before a chunk, return its size. Raise BadMessageError."""
    found = _CHUNK.fullmatch(line)
    if not found:
        raise BadMessageError("the size of a chunk is not a number")
    return int(found[1], 16)


def check_trailer(line: bytes) -> None:
    """Given a line after the last chunk, raise BadMessageError unless it is a field. It is not passed on."""
    if not _FIELD.fullmatch(line):
        raise BadMessageError("what follows the last chunk is not a field")


def _split(head: bytes) -> tuple[bytes, Fields]:
    first, *lines = head.split(b"\r\n")
    if len(lines) > MOST_FIELDS:
        raise BadMessageError(f"there are more than {MOST_FIELDS} header fields")
    fields = []
    for line in lines:
        found = _FIELD.fullmatch(line)
        if not found:
            raise BadMessageError("a header line is not `name: value`")
        fields.append((found[1].lower(), found[2] or b""))
    return first, fields


def _url(target: bytes) -> tuple[bytes, bytes]:
    """Return authority and path of an absolute URI."""
    found = _HTTP_URL.fullmatch(target)
    if not found:
        raise BadMessageError("this is a proxy: it takes http://host/path, and CONNECT for everything else")
    authority, path = found.groups()
    return authority, path if path.startswith(b"/") else b"/" + path


def _place(authority: bytes, usual: int | None) -> tuple[str, int]:
    """Given `host:port` and the port where none stands (None: it has to), return both."""
    found = _AUTHORITY.fullmatch(authority)
    port = int(found[2]) if found and found[2] else usual
    if not found or port is None or not 1 <= port <= 65535:
        raise BadMessageError("host and port are not understood")
    try:
        return canonical(found[1].decode()), port
    except ValueError as error:
        raise BadMessageError(str(error)) from error


def _check_host(fields: Fields, host: str, port: int, connects: bool, modern: bool) -> None:
    """Raise BadMessageError unless the Host field is there once and says the same as the request line."""
    hosts = _values(fields, b"host")
    if len(hosts) > 1 or (modern and not hosts):
        raise BadMessageError("there is no Host field, or more than one")
    # Some send the port with CONNECT, some do not.
    if hosts and _place(hosts[0], port if connects else 80) != (host, port):
        raise BadMessageError("the Host field and the request line differ")


def _body_of(fields: Fields, modern: bool) -> Body | None:
    """Return what the fields say about the body; None where they say nothing. Raise BadMessageError."""
    codings, lengths = _values(fields, b"transfer-encoding"), _values(fields, b"content-length")
    if codings:
        if lengths or not modern or len(codings) > 1 or codings[0].lower() != b"chunked":
            raise BadMessageError("Transfer-Encoding has to be `chunked`, alone and without Content-Length")
        return Body(Framing.CHUNKS)
    if lengths:
        if len(lengths) > 1 or not _LENGTH.fullmatch(lengths[0]):
            raise BadMessageError("Content-Length has to be one number")
        return Body(Framing.LENGTH, int(lengths[0]))
    return None


def _values(fields: Fields, name: bytes) -> list[bytes]:
    return [value for other, value in fields if other == name]


def _listed(fields: Fields, name: bytes) -> set[bytes]:
    """Return the members of a field that is a list, in lower case."""
    return {word.strip().lower() for value in _values(fields, name) for word in value.split(b",")}


def _passed_on(fields: Fields, written: Iterable[bytes] = ()) -> Fields:
    """Return the fields that are meant for the other end. Given are names that we write ourselves."""
    dropped = _HOP_BY_HOP | _listed(fields, b"connection") | set(written)
    return [(name, value) for name, value in fields if name not in dropped and not name.startswith(b"proxy-")]


def _framing(body: Body) -> Fields:
    if body.framing is Framing.CHUNKS:
        return [(b"transfer-encoding", b"chunked")]
    return [] if body.framing is Framing.CLOSE or body.empty else [(b"content-length", b"%d" % body.length)]


def _written(first: bytes, fields: Fields) -> bytes:
    return b"\r\n".join((first, *(b"%s: %s" % field for field in fields), b"", b""))
