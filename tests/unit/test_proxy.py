"""How the proxy of a cage reads HTTP, and how it counts: what has two readings has none."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import closing

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from testwarden.clients.http_heads import BadMessageError, Body, Framing, Request, request_of, response_of
from testwarden.clients.http_wire import HANDSHAKE_RECORDS, NotTls, Records, Truncated, Wire, relay
from testwarden.clients.proxy_account import MOST_LISTED, Account, CapReached, Pace

HOST = b"Host: example.org\r\n"


def request(text: bytes) -> Request:
    """Given a head with or without the line end of its last line."""
    return request_of(text.removesuffix(b"\r\n"))


def reader(data: bytes) -> Wire:
    """Return a connection on which this came, and then the end."""
    ours, theirs = socket.socketpair()
    with theirs:
        theirs.sendall(data)
    return Wire(ours)


def body_of(data: bytes, body: Body) -> bytes:
    wire = reader(data)
    with closing(wire.sock):
        return b"".join(wire.pieces(body))


def test_a_request_is_written_anew_for_whom_it_is_for() -> None:
    head = (
        b"POST http://Example.org:8080/a?b=c HTTP/1.1\r\nHost: example.org:8080\r\nProxy-Connection: keep-alive\r\n"
        b"Proxy-Authorization: Basic x\r\nConnection: keep-alive, X-Hop\r\nX-Hop: 1\r\nKeep-Alive: timeout=5\r\n"
        b"TE: trailers\r\nUpgrade: h2c\r\nExpect: 100-continue\r\nX-Kept:  two words \r\nContent-Length: 3"
    )
    asked = request(head)
    assert (asked.host, asked.port, asked.waits, asked.lasting) == ("example.org", 8080, True, True)
    assert asked.onward() == (
        b"POST /a?b=c HTTP/1.1\r\nhost: Example.org:8080\r\nx-kept: two words\r\ncontent-length: 3\r\n\r\n"
    )


@pytest.mark.parametrize(
    ("target", "path"),
    [(b"http://example.org", b"/"), (b"HTTP://example.org?q", b"/?q"), (b"http://example.org//x", b"//x")],
)
def test_a_path_stays_as_it_was_written(target: bytes, path: bytes) -> None:
    assert request(b"GET " + target + b" HTTP/1.1\r\n" + HOST).path == path


@pytest.mark.parametrize(
    "line",
    [
        b"GET /path HTTP/1.1",
        b"GET https://example.org/ HTTP/1.1",
        b"GET ftp://example.org/ HTTP/1.1",
        b"GET http://user@example.org/ HTTP/1.1",
        b"GET http://user:word@example.org/ HTTP/1.1",
        b"GET http://evil.example#@example.org/ HTTP/1.1",
        b"GET http://example.org/#part HTTP/1.1",
        b"GET http://evil.example\\@example.org/ HTTP/1.1",
        b"GET http:///path HTTP/1.1",
        b"GET http://example.org:/ HTTP/1.1",
        b"GET http://example.org:0/ HTTP/1.1",
        b"GET http://example.org:65616/ HTTP/1.1",
        b"GET http://example%2eorg/ HTTP/1.1",
        b"GET http://[example.org]/ HTTP/1.1",
        b"GET  http://example.org/ HTTP/1.1",
        b"GET http://example.org/ HTTP/1.1 ",
        b"GET http://example.org/a b HTTP/1.1",
        b"GET http://example.org/\x00 HTTP/1.1",
        b"GET http://example.org/\xc3\xa4 HTTP/1.1",
        b"GET http://example.org/ HTTP/2.0",
        b"GET http://example.org/ HTTP/1.10",
        b"GET http://example.org/",
        b"G ET http://example.org/ HTTP/1.1",
        b" GET http://example.org/ HTTP/1.1",
        b"",
        b"CONNECT example.org HTTP/1.1",
        b"CONNECT http://example.org:443 HTTP/1.1",
        b"CONNECT example.org:443/ HTTP/1.1",
        b"\x16\x03\x01\x02\x00",
    ],
)
def test_a_request_line_that_is_not_for_a_proxy_is_refused(line: bytes) -> None:
    with pytest.raises(BadMessageError):
        request(line + b"\r\n" + HOST)


@pytest.mark.parametrize(
    ("line", "host", "fine"),
    [
        (b"GET http://example.org/ HTTP/1.1", b"Host: EXAMPLE.org:80", True),
        (b"GET http://example.org:80/ HTTP/1.1", b"Host: example.org.", True),
        (b"GET http://127.0.0.1/ HTTP/1.1", b"Host: 0x7f.1", True),
        (b"GET http://example.org/ HTTP/1.1", b"Host: evil.example", False),
        (b"GET http://example.org/ HTTP/1.1", b"Host: example.org:8080", False),
        (b"GET http://example.org/ HTTP/1.1", b"Host: example.org\r\nHost: example.org", False),
        (b"GET http://example.org/ HTTP/1.1", b"Host: example.org\r\nHOST: evil.example", False),
        (b"GET http://example.org/ HTTP/1.1", b"Host:", False),
        (b"GET http://example.org/ HTTP/1.1", b"X: y", False),
        (b"GET http://example.org/ HTTP/1.0", b"X: y", True),
        (b"CONNECT example.org:443 HTTP/1.1", b"Host: example.org:443", True),
        (b"CONNECT example.org:443 HTTP/1.1", b"Host: example.org", True),
        (b"CONNECT example.org:443 HTTP/1.0", b"X: y", True),
        (b"CONNECT example.org:443 HTTP/1.1", b"Host: example.org:80", False),
        (b"CONNECT example.org:443 HTTP/1.1", b"Host: evil.example:443", False),
        (b"CONNECT example.org:443 HTTP/1.1", b"Host: example.org:443\r\nContent-Length: 5", False),
    ],
)
def test_the_host_field_stands_there_once_and_says_what_the_request_line_says(
    line: bytes, host: bytes, fine: bool
) -> None:
    if fine:
        assert request(line + b"\r\n" + host).host in ("example.org", "127.0.0.1")
    else:
        with pytest.raises(BadMessageError):
            request(line + b"\r\n" + host)


TWO_READINGS = [
    b"Content-Length: 5\r\nTransfer-Encoding: chunked",
    b"Transfer-Encoding: chunked\r\nContent-Length: 5",
    b"Content-Length: 5\r\nContent-Length: 5",
    b"Content-Length: 5\r\nContent-Length: 6",
    b"Content-Length: 5, 5",
    b"Content-Length: +5",
    b"Content-Length: -5",
    b"Content-Length: 0x5",
    b"Content-Length: 5 5",
    b"Content-Length:",
    b"Content-Length: 9999999999999999",
    b"Content-Length: \xc2\xb2",
    b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
    b"Transfer-Encoding: gzip, chunked",
    b"Transfer-Encoding: chunked, identity",
    b"Transfer-Encoding: identity",
    b"Transfer-Encoding: xchunked",
    b"Transfer-Encoding: \x0bchunked",
    b"Transfer-Encoding:",
    b"Transfer-Encoding : chunked",
    b" Transfer-Encoding: chunked",
    b"X: y\r\n Transfer-Encoding: chunked",
    b"X: y\r\n\tfolded",
    b"X: y\rTransfer-Encoding: chunked",
    b"X: y\nTransfer-Encoding: chunked",
    b"X: y\x00",
    b"X",
    b": y",
    b"X y: z",
    b"X\xc3\xa4: z",
]


@pytest.mark.parametrize("fields", TWO_READINGS)
def test_a_message_with_two_readings_is_refused_in_both_directions(fields: bytes) -> None:
    with pytest.raises(BadMessageError):
        request(b"POST http://example.org/ HTTP/1.1\r\n" + HOST + fields)
    with pytest.raises(BadMessageError):
        response_of(b"HTTP/1.1 200 OK\r\n" + fields, b"GET")


def test_chunks_are_of_http_1_1() -> None:
    with pytest.raises(BadMessageError):
        request(b"POST http://example.org/ HTTP/1.0\r\nTransfer-Encoding: chunked")


def test_a_head_has_a_bounded_number_of_fields() -> None:
    assert request(b"GET http://example.org/ HTTP/1.1\r\n" + HOST + b"A: b\r\n" * 99)
    with pytest.raises(BadMessageError, match="more than 100"):
        request(b"GET http://example.org/ HTTP/1.1\r\n" + HOST + b"A: b\r\n" * 100)


_header = st.tuples(
    st.sampled_from(
        [b"Connection", b"Content-Length", b"X-A", b"Proxy-X", b"Transfer-Encoding", b"TE", b"Trailer", b"Host"]
    ),
    st.sampled_from(
        [b"close", b"keep-alive, X-A", b"3", b"chunked", b"host", b"content-length", b"", b"a\tb", b"example.org"]
    ),
)


@given(st.lists(_header, max_size=6))
@example([(b"Connection", b"host")])
@example([(b"Connection", b"content-length"), (b"Content-Length", b"3")])
def test_what_goes_on_reads_the_same_to_who_gets_it(headers: list[tuple[bytes, bytes]]) -> None:
    """What was understood is what is written: read again, it has the same host, the same body and nothing between hops."""
    lines = [b"%s: %s" % header for header in headers]
    try:
        asked = request_of(b"\r\n".join([b"PUT http://example.org/x HTTP/1.1", HOST.strip(), *lines]))
    except BadMessageError:
        return
    onward = asked.onward().removesuffix(b"\r\n\r\n")
    again = request_of(onward.replace(b"PUT /x", b"PUT http://example.org/x", 1))
    assert (again.host, again.body) == (asked.host, asked.body)
    names = [name for name, _ in again.fields]
    assert names.count(b"host") == 1
    assert not [name for name in names if name in (b"connection", b"te", b"trailer") or name.startswith(b"proxy-")]


@pytest.mark.parametrize(
    ("head", "method", "body"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5", b"GET", Body(Framing.LENGTH, 5)),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked", b"GET", Body(Framing.CHUNKS)),
        (b"HTTP/1.1 200 OK", b"GET", Body(Framing.CLOSE)),
        (b"HTTP/1.1 200", b"GET", Body(Framing.CLOSE)),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 5", b"GET", Body(Framing.LENGTH, 5)),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5", b"HEAD", Body(Framing.LENGTH, 0)),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked", b"HEAD", Body(Framing.LENGTH, 0)),
        (b"HTTP/1.1 204 No Content\r\nContent-Length: 5", b"GET", Body(Framing.LENGTH, 0)),
        (b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5", b"GET", Body(Framing.LENGTH, 0)),
        (b"HTTP/1.1 100 Continue", b"POST", Body(Framing.LENGTH, 0)),
    ],
)
def test_the_end_of_an_answer_is_known(head: bytes, method: bytes, body: Body) -> None:
    assert response_of(head, method).body == body


@pytest.mark.parametrize(
    "line", [b"HTTP/2 200", b"HTTP/1.1 99 x", b"HTTP/1.1 2000", b"200 OK", b"", b"ICY 200 OK", b"HTTP/1.1 200 a\x00b"]
)
def test_a_status_line_of_something_else_is_refused(line: bytes) -> None:
    with pytest.raises(BadMessageError):
        response_of(line, b"GET")


def test_an_answer_is_written_anew_for_the_client() -> None:
    head = (
        b"HTTP/1.1 200 OK\r\nConnection: close, X-Hop\r\nX-Hop: 1\r\nProxy-Authenticate: x\r\nContent-Length: 5\r\nA: b"
    )
    answer = response_of(head, b"GET")
    assert not answer.lasting
    assert answer.onward(lasting=True, modern=True) == b"HTTP/1.1 200 OK\r\na: b\r\ncontent-length: 5\r\n\r\n"
    assert answer.onward(lasting=False, modern=True).endswith(b"content-length: 5\r\nconnection: close\r\n\r\n")


def test_a_length_is_told_where_no_body_follows_but_not_with_204() -> None:
    for status, method, told in ((b"200", b"HEAD", True), (b"304", b"GET", True), (b"204", b"GET", False)):
        answer = response_of(b"HTTP/1.1 " + status + b" x\r\nContent-Length: 5", method)
        assert (b"content-length: 5" in answer.onward(lasting=True, modern=True)) == told


def test_a_client_of_http_1_0_gets_no_chunks() -> None:
    answer = response_of(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked", b"GET")
    assert b"chunked" not in answer.onward(lasting=False, modern=False)


CHUNKED = Body(Framing.CHUNKS)


@pytest.mark.parametrize(
    ("data", "content"),
    [
        (b"5\r\nhello\r\n0\r\n\r\n", b"hello"),
        (b"5;ext=1\r\nhello\r\n00A\r\n0123456789\r\n0\r\nTrailer: x\r\n\r\n", b"hello0123456789"),
        (b"0\r\n\r\n", b""),
    ],
)
def test_chunks_become_content(data: bytes, content: bytes) -> None:
    assert body_of(data, CHUNKED) == content


@pytest.mark.parametrize(
    "data",
    [
        b"5\nhello\r\n0\r\n\r\n",
        b"5\r\nhello!\r\n0\r\n\r\n",
        b"5\r\nhelloX0\r\n\r\n",
        b"+5\r\nhello\r\n0\r\n\r\n",
        b"0x5\r\nhello\r\n0\r\n\r\n",
        b"-5\r\nhello\r\n0\r\n\r\n",
        b" 5\r\nhello\r\n0\r\n\r\n",
        b"5_0\r\nhello\r\n0\r\n\r\n",
        b"\r\n",
        b"fffffffffffffffff\r\nhello\r\n0\r\n\r\n",
        b"5;" + b"x" * 5000 + b"\r\nhello\r\n0\r\n\r\n",
        b"0\r\nGET / HTTP/1.1\r\n\r\n",
        b"0\r\n" + b"A: b\r\n" * 40 + b"\r\n",
        b"5\r\nhel",
        b"5\r\nhello\r\n",
        b"",
    ],
)
def test_chunks_that_are_not_right_end_it(data: bytes) -> None:
    with pytest.raises((BadMessageError, Truncated)):
        body_of(data, CHUNKED)


@given(st.lists(st.binary(min_size=1, max_size=40), max_size=5))
def test_chunks_read_and_written_are_the_same_content(pieces: list[bytes]) -> None:
    wire = b"".join(b"%X\r\n%s\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"
    sent = bytearray()
    source = reader(wire)
    with closing(source.sock):
        relay(source, CHUNKED, sent.extend, b"", chunked=True)
    assert body_of(bytes(sent), CHUNKED) == b"".join(pieces)


def test_a_body_that_ends_early_is_not_taken_for_whole() -> None:
    assert body_of(b"hello", Body(Framing.LENGTH, 5)) == b"hello"
    with pytest.raises(Truncated):
        body_of(b"hell", Body(Framing.LENGTH, 5))


@pytest.fixture
def wire() -> Iterator[tuple[Wire, socket.socket]]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield Wire(ours), theirs


def test_requests_that_come_at_once_are_read_one_by_one(wire: tuple[Wire, socket.socket]) -> None:
    one, theirs = wire
    theirs.sendall(b"A\r\n\r\nbodyB\r\n\r\nC")
    theirs.shutdown(socket.SHUT_WR)
    assert one.head(1) == b"A"
    assert b"".join(one.pieces(Body(Framing.LENGTH, 4))) == b"body"
    assert one.head(1) == b"B"
    with pytest.raises(Truncated):
        one.head(1)


def test_a_head_is_bounded_in_bytes_and_in_time(wire: tuple[Wire, socket.socket]) -> None:
    one, theirs = wire
    theirs.sendall(b"x" * 40_000)
    with pytest.raises(BadMessageError, match="32768"):
        one.head(1)
    other = Wire(theirs)
    with pytest.raises(TimeoutError):
        other.head(0)
    one.sock.shutdown(socket.SHUT_WR)
    assert other.head(1) is None


def test_each_refusal_is_listed_once_and_all_are_counted() -> None:
    account = Account()
    assert account.refuse("::1", 80, "why") == "[::1]:80: why"
    for number in range(MOST_LISTED + 50):
        account.refuse("example.org", 1 + number // 2, "w" * 1000)
    assert account.refusals == MOST_LISTED + 51
    assert len(account.refused) == MOST_LISTED // 2 + 26
    for number in range(MOST_LISTED):
        account.refuse(f"{number}.example.org", 80, "why")
    assert len(account.refused) == MOST_LISTED
    assert max(map(len, account.refused)) <= 200


def test_bytes_beyond_the_cap_are_refused() -> None:
    account = Account(most_bytes=10)
    account.move(9)
    account.check()
    account.move(5)
    with pytest.raises(CapReached, match="10 bytes"):
        account.check()
    with pytest.raises(CapReached):
        account.move(1)
    assert account.moved == 14


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_who_comes_too_early_waits_until_the_rate_holds() -> None:
    pace = Pace(20, Clock())
    assert [round(pace.take(), 3) for _ in range(6)] == [0, 0, 0.05, 0.1, 0.15, 0.2]


def test_a_long_rest_saves_nothing_up() -> None:
    clock = Clock()
    pace = Pace(20, clock)
    clock.now += 3600
    assert [round(pace.take(), 3) for _ in range(4)] == [0, 0, 0.05, 0.1]


def test_without_a_rate_nobody_waits() -> None:
    pace = Pace(None, Clock())
    assert {pace.take() for _ in range(1000)} == {0.0}


@given(st.integers(1, 50), st.lists(st.floats(0, 0.3), min_size=1, max_size=200))
def test_in_no_second_start_more_than_the_rate_and_a_tenth(rate: int, pauses: list[float]) -> None:
    clock = Clock()
    pace, starts = Pace(rate, clock), []
    for pause in pauses:
        clock.now += pause
        starts.append(clock.now + pace.take())
    for first in starts:
        assert len([start for start in starts if first <= start < first + 0.999]) <= rate + max(1, rate // 10)


def test_a_program_that_keeps_to_the_rate_does_not_carry_a_hiccup_along() -> None:
    clock = Clock()
    pace, waits = Pace(20, clock), []
    for number in range(40):
        clock.now = 1000 + number * 0.05 + (0.04 if number == 5 else 0)
        waits.append(pace.take())
    assert max(waits) == 0


def record(kind: int, body: bytes = b"x", version: bytes = b"\x03\x03") -> bytes:
    return bytes([kind]) + version + len(body).to_bytes(2, "big") + body


HELLO, APPLICATION = record(22, b"hello", b"\x03\x01"), record(23)


def records(clock: Clock, rate: int = 20) -> Records:
    return Records(Pace(rate, clock).take, clock)


def test_each_record_of_application_data_waits_for_a_token() -> None:
    clock, sent = Clock(), []
    passing = records(clock)
    passing.put(HELLO + record(20) + record(22) + APPLICATION * 45)
    for _ in range(4000):
        while one := passing.get():
            sent.append((clock.now, one))
        clock.now += 0.001
    assert [one for _, one in sent] == [HELLO, record(20), record(22), *[APPLICATION] * 45]
    times = [when for when, one in sent if one == APPLICATION]
    assert max(len([t for t in times if first <= t < first + 1]) for first in times) <= 22
    assert times[-1] < 1002.3


def test_a_record_goes_on_when_all_of_it_came() -> None:
    passing = records(Clock())
    for piece in (HELLO[:1], HELLO[1:4], HELLO[4:8]):
        passing.put(piece)
        assert passing.get() == b""
        assert passing.held == 0
    passing.put(HELLO[8:] + APPLICATION[:3])
    assert (passing.get(), passing.get()) == (HELLO, b"")


def test_a_handshake_is_free_as_far_as_one_goes() -> None:
    passing = records(Clock(), rate=1)
    passing.put(HELLO * 100)
    assert len(b"".join(iter(passing.get, b""))) == len(HELLO) * (HANDSHAKE_RECORDS + 1)  # and the one token there was


def test_the_end_of_a_handshake_of_tls_1_3_is_no_request_and_only_the_first_is_one() -> None:
    passing = records(Clock(), rate=1)
    passing.put(HELLO + record(20) + record(23, b"finished") + APPLICATION + record(20) + APPLICATION)
    assert len(list(iter(passing.get, b""))) == 5  # the fourth with the one token there was
    assert passing.held == pytest.approx(1.0)


@pytest.mark.parametrize(
    "data",
    [
        *(b"G", b"\x00", b"\x17", APPLICATION, b"\x16\x02", b"\x16P", HELLO + b"G", HELLO + record(24)),
        *(HELLO + b"\x17\x04", HELLO + b"\x17\x03\x03" + (16384 + 2049).to_bytes(2, "big")),
    ],
)
def test_what_is_not_tls_is_known_at_once(data: bytes) -> None:
    passing = records(Clock())
    passing.put(data)
    with pytest.raises(NotTls):
        list(iter(passing.get, b""))


def test_the_longest_record_passes() -> None:
    passing, longest = records(Clock()), record(23, b"x" * (16384 + 2048))
    passing.put(HELLO + longest)
    assert (passing.get(), passing.get()) == (HELLO, longest)
