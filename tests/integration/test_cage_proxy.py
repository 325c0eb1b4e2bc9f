"""The proxy of a cage on real sockets, between a client that need not behave and servers that need not either."""

from __future__ import annotations

import http.client
import ipaddress
import os
import random
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from typing import Any

import pytest

from standins.raw_server import RawServer, raw_server, read_request, wait_for_hangup
from standins.watching import wait_until
from testwarden.clients.allow_list import AllowList, Target
from testwarden.clients.proxy import Proxy
from testwarden.clients.proxy_account import Account, Pace

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
PATIENCE = 10.0


class Served:
    """A proxy that listens, and what it counted."""

    def __init__(self, proxy: Proxy, account: Account) -> None:
        self.account = account
        listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = listener.getsockname()[1]
        proxy.listen(listener)

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), PATIENCE)

    def ask(self, data: bytes) -> bytes:
        """Send this on a connection of its own; return all that comes back."""
        with self.connect() as sock:
            sock.sendall(data)
            return received(sock)

    def client(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)


def received(sock: socket.socket) -> bytes:
    pieces = []
    with suppress(ConnectionResetError):
        while piece := sock.recv(65536):
            pieces.append(piece)
    return b"".join(pieces)


def answer_on(sock: socket.socket) -> tuple[int, bytes]:
    """Read one answer; return its status and its body."""
    answer = http.client.HTTPResponse(sock)
    answer.begin()
    with answer:
        return answer.status, answer.read()


@contextmanager
def proxy(
    *targets: str,
    names: dict[str, tuple[str, int]] | None = None,
    private: bool = False,
    most_bytes: int | None = None,
    **arguments: Any,
) -> Iterator[Served]:
    rules = AllowList(tuple(map(Target.parse, targets)), private, names or {})
    account = Account(most_bytes)
    with Proxy(rules, account, arguments.pop("pace", Pace(None)), **arguments) as running:
        yield Served(running, account)
    assert [one for one in threading.enumerate() if one.name == "cage-proxy"] == []


@contextmanager
def store(talk: Callable[[socket.socket], None], **arguments: Any) -> Iterator[tuple[Served, RawServer]]:
    """While inside, there is a proxy whose only target is `store.test`, which talks like this."""
    with (
        raw_server(talk) as server,
        proxy("store.test", names={"store.test": ("127.0.0.1", server.port)}, **arguments) as served,
    ):
        yield served, server


def answering(*answers: bytes) -> Callable[[socket.socket], None]:
    """Answer the requests of a connection with these, then wait for the client to hang up."""

    def talk(sock: socket.socket) -> None:
        for answer in answers:
            if not read_request(sock):
                return
            sock.sendall(answer)
        wait_for_hangup(sock)

    return talk


def get(host: str, path: str = "/", *fields: str, method: str = "GET", version: str = "1.1") -> bytes:
    lines = [f"{method} http://{host}{path} HTTP/{version}", f"Host: {host}", *fields, "", ""]
    return "\r\n".join(lines).encode()


LAST = "Connection: close"


def test_connections_are_used_again_on_both_sides() -> None:
    with store(answering(OK, OK, OK)) as (served, server):
        client = served.client()
        for _ in range(3):
            client.request("GET", "http://store.test/x")
            assert client.getresponse().read() == b"ok"
            first = client.sock
        assert client.sock is first
        client.close()
    assert server.accepted == 1


def test_every_request_of_a_connection_is_asked_about() -> None:
    with store(answering(OK, OK)) as (served, _):
        client = served.client()
        for host, status in (("store.test", 200), ("evil.test", 403), ("127.0.0.1", 403), ("store.test", 200)):
            client.request("GET", f"http://{host}:80/x")
            answer = client.getresponse()
            assert (answer.status, answer.read().count(b"\n")) == (status, 1 if status == 403 else 0)
        client.close()
        assert served.account.refused == (
            "evil.test:80: it is not one of the targets",
            "127.0.0.1:80: it is not one of the targets",
        )
        assert served.account.refusals == 2


def test_a_redirect_to_elsewhere_ends_there() -> None:
    moved = b"HTTP/1.1 302 Found\r\nLocation: http://169.254.169.254/latest\r\nContent-Length: 0\r\n\r\n"
    with store(answering(moved)) as (served, _):
        answer = served.ask(get("store.test", "/", LAST))
        assert b"302 Found" in answer
        assert b"403 Forbidden" in served.ask(get("169.254.169.254", "/latest", LAST))


Rows = Sequence[tuple[Any, ...]]


class Resolver:
    """Gives a different answer each time."""

    def __init__(self, *answers: str) -> None:
        self._answers = list(answers)
        self.asked = 0

    def __call__(self, host: str, port: int, **_: Any) -> Rows:
        self.asked += 1
        address = self._answers.pop(0)
        family = socket.AF_INET6 if ipaddress.ip_address(address).version == 6 else socket.AF_INET
        return [(family, socket.SOCK_STREAM, 6, "", (address, port))]


def test_a_name_is_resolved_once_and_what_was_judged_is_dialled() -> None:
    resolver = Resolver("127.0.0.1", "169.254.169.254")
    close = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok"
    with raw_server(answering(close)) as server, proxy("rebind.test", private=True, resolve=resolver) as served:
        assert served.ask(get(f"rebind.test:{server.port}", "/", LAST)).endswith(b"ok")
        assert resolver.asked == 1
        answer = served.ask(get(f"rebind.test:{server.port}", "/", LAST))
        assert answer.startswith(b"HTTP/1.1 403")
        assert b"169.254.169.254" in answer
    assert server.accepted == 1


@pytest.mark.parametrize("address", ["127.0.0.1", "10.0.0.1", "::1", "::ffff:127.0.0.1"])
@pytest.mark.parametrize("method", ["GET", "CONNECT"])
def test_a_target_that_leads_to_a_private_address_is_refused(address: str, method: str) -> None:
    with proxy("example.org", resolve=Resolver(address)) as served:
        question = b"CONNECT example.org:80 HTTP/1.1\r\nHost: example.org:80\r\n\r\n"
        answer = served.ask(question if method == "CONNECT" else get("example.org", "/", LAST))
        assert answer.startswith(b"HTTP/1.1 403")
        assert served.account.refused == (f"example.org:80: it leads to {address}, which is not a public address",)


def test_a_tunnel_carries_bytes_both_ways_and_both_ends() -> None:
    content = os.urandom(3_000_000)

    def echo(sock: socket.socket) -> None:
        while piece := sock.recv(65536):
            sock.sendall(piece)

    with store(echo) as (served, _), served.connect() as sock:
        sock.sendall(b"CONNECT store.test:443 HTTP/1.1\r\nHost: store.test:443\r\n\r\nearly")
        sender = threading.Thread(target=lambda: (sock.sendall(content), sock.shutdown(socket.SHUT_WR)))
        sender.start()
        answer = received(sock)
        sender.join()
        assert answer == b"HTTP/1.1 200 Connection established\r\n\r\nearly" + content
        assert served.account.moved == 2 * len(b"early" + content)


def test_a_tunnel_to_elsewhere_is_refused() -> None:
    with store(answering()) as (served, server):
        for place in ("evil.test:443", f"127.0.0.1:{server.port}", f"[::1]:{server.port}"):
            answer = served.ask(f"CONNECT {place} HTTP/1.1\r\nHost: {place}\r\n\r\n".encode())
            assert answer.startswith(b"HTTP/1.1 403")
        assert served.account.refusals == 3
    assert server.accepted == 0


def reading_bodies(sock: socket.socket) -> None:
    """Answer with what was received, until nothing more comes for this request."""
    data = b""
    while not data.endswith(b"\r\n0\r\n\r\n" if b"chunked" in data else b"END"):
        data += sock.recv(65536)
    sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s" % (len(data), data))
    wait_for_hangup(sock)


def test_bodies_go_through_whole_with_a_length_and_in_chunks() -> None:
    with store(reading_bodies) as (served, _):
        for field, body in (("Content-Length: 200003", b"x" * 200_000 + b"END"), ("Transfer-Encoding: chunked", None)):
            sent = body or b"3;ext\r\nabc\r\n3\r\nEND\r\n0\r\nTrailer: x\r\n\r\n"
            answer = served.ask(get("store.test", "/", field, "Expect: 100-continue", LAST, method="PUT") + sent)
            assert answer.startswith(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n")
            assert answer.endswith(body or b"\r\n\r\n3\r\nabc\r\n3\r\nEND\r\n0\r\n\r\n")
            assert b"expect" not in answer.lower()


def test_an_answer_before_the_body_was_sent_comes_back() -> None:
    full = b"HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno"
    with store(answering(full)) as (served, _), served.connect() as sock:
        sock.sendall(get("store.test", "/", "Content-Length: 100000000", method="PUT") + b"x" * 300_000)
        assert received(sock).endswith(b"no")


@pytest.mark.parametrize(
    ("answer", "seen"),
    [
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", b"2\r\nok\r\n0\r\n\r\n"),
        (
            b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nKeep-Alive: x\r\n\r\nok",
            b"content-length: 2\r\nconnection: close\r\n\r\nok",
        ),
        (
            b"HTTP/1.1 103 Early\r\nLink: x\r\n\r\n" + OK,
            b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok",
        ),
        (b"HTTP/1.1 304 Not Modified\r\nContent-Length: 7\r\n\r\n", b"content-length: 7\r\nconnection: close\r\n\r\n"),
    ],
)
def test_answers_of_every_shape_come_back(answer: bytes, seen: bytes) -> None:
    with store(answering(answer)) as (served, _):
        assert served.ask(get("store.test", "/", LAST)).endswith(seen)


def test_an_answer_that_ends_with_the_connection_comes_back() -> None:
    def talk(sock: socket.socket) -> None:
        read_request(sock)
        sock.sendall(b"HTTP/1.1 200 OK\r\n\r\nto the end")

    with store(talk) as (served, _):
        assert served.ask(get("store.test")).endswith(b"connection: close\r\n\r\nto the end")
        assert served.ask(get("store.test", version="1.0")).endswith(b"\r\n\r\nto the end")


def test_a_client_of_http_1_0_gets_content_without_chunks() -> None:
    with store(answering(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n")) as (served, _):
        assert served.ask(get("store.test", version="1.0")).endswith(b"connection: close\r\n\r\nok")


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"nonsense\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\nok",
        b"HTTP/1.1 101 Switching\r\n\r\n",
        b"HTTP/1.1 103 Early\r\n\r\n" * 100,
        b"HTTP/1.1 200 OK\r\nA: " + b"x" * 100_000,
    ],
)
def test_an_answer_that_is_not_understood_is_a_bad_gateway(answer: bytes) -> None:
    def talk(sock: socket.socket) -> None:
        read_request(sock)
        with suppress(ConnectionResetError):
            sock.sendall(answer)
            sock.shutdown(socket.SHUT_WR)
            wait_for_hangup(sock)

    with store(talk) as (served, _):
        assert served.ask(get("store.test", "/", LAST)).startswith(b"HTTP/1.1 502")
        assert served.account.refusals == 0


def test_an_answer_that_breaks_off_is_not_made_whole() -> None:
    def talk(sock: socket.socket) -> None:
        read_request(sock)
        sock.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\nnonsense\r\n")

    with store(talk) as (served, _):
        assert served.ask(get("store.test")).endswith(b"\r\n\r\n2\r\nok\r\n")


def test_a_kept_connection_that_has_ended_is_replaced() -> None:
    def talk(sock: socket.socket) -> None:
        read_request(sock)
        sock.sendall(OK)  # and hang up without having said so

    with store(talk) as (served, server), served.connect() as sock:
        for number in range(1, 5):
            sock.sendall(get("store.test"))
            assert answer_on(sock) == (200, b"ok")
            assert server.accepted == number


def test_a_request_with_a_body_is_not_sent_over_a_connection_that_has_ended() -> None:
    ended = threading.Event()

    def talk(sock: socket.socket) -> None:
        read_request(sock)
        sock.sendall(OK)
        sock.shutdown(socket.SHUT_RDWR)
        ended.set()

    with store(talk) as (served, server), served.connect() as sock:
        for number in range(1, 4):
            ended.clear()
            sock.sendall(get("store.test", "/", "Content-Length: 1", method="POST") + b"x")
            assert answer_on(sock) == (200, b"ok")
            assert server.accepted == number
            assert ended.wait(PATIENCE)


@pytest.mark.parametrize(("method", "status", "connections"), [("GET", 200, 2), ("DELETE", 502, 1)])
def test_what_may_be_asked_twice_is_when_a_kept_connection_fails(method: str, status: int, connections: int) -> None:
    requests = []

    def talk(sock: socket.socket) -> None:
        while asked := read_request(sock):
            requests.append(asked)
            if len(requests) == 2:
                return
            sock.sendall(OK)

    with store(talk) as (served, server):
        with served.connect() as sock:
            sock.sendall(get("store.test"))
            assert answer_on(sock) == (200, b"ok")
            sock.sendall(get("store.test", method=method))
            assert answer_on(sock)[0] == status
        assert server.accepted == connections


def test_a_refusal_is_heard_by_who_still_sends() -> None:
    with proxy() as served:
        question = get("evil.test", "/", "Content-Length: 600000", method="PUT") + b"x" * 600_000
        assert served.ask(question).startswith(b"HTTP/1.1 403")


@pytest.mark.parametrize("late", [False, True])
def test_what_a_server_says_unasked_is_nobodys_answer(late: bool) -> None:
    heard, said = threading.Event(), threading.Event()
    evil = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil"

    def talk(sock: socket.socket) -> None:
        while read_request(sock):
            sock.sendall(OK if late else OK + evil)
            if late and heard.wait(PATIENCE):
                sock.sendall(evil)
            said.set()

    with store(talk) as (served, _), served.connect() as sock:
        for _ in range(3):
            heard.clear()
            said.clear()
            sock.sendall(get("store.test"))
            assert answer_on(sock) == (200, b"ok")
            heard.set()
            assert said.wait(PATIENCE)


@pytest.mark.parametrize(
    "hidden",
    [
        get("store.test", "/", "Content-Length: 4", "Transfer-Encoding: chunked", method="POST") + b"0\r\n\r\n",
        get("store.test", "/", "Transfer-Encoding: chunked", method="POST") + b"0\nx\r\n\r\n",
        get("store.test", "/", "Content-Length: 3", "Content-Length: 0", method="POST") + b"abc",
        b"GET http://store.test/ HTTP/1.1\r\nHost: evil.test\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: store.test\r\n\r\n",
        get("store.test", "/", "X: y\n\n"),
        get("store.test", "/", "X: " + "y" * 40_000),
    ],
)
def test_a_request_in_which_another_could_hide_ends_the_connection(hidden: bytes) -> None:
    with store(answering(OK, OK)) as (served, _):
        answer = served.ask(hidden + get("store.test", "/hidden", LAST))
        assert answer.startswith(b"HTTP/1.1 400")
        assert answer.count(b"HTTP/1.1") == 1


def test_a_server_that_does_not_answer_the_phone_is_a_bad_gateway() -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    with proxy("gone.test", "unknown.invalid", names={"gone.test": ("127.0.0.1", port)}) as served:
        assert served.ask(get("gone.test", "/", LAST)).startswith(b"HTTP/1.1 502")
        assert served.account.refused == ()


def test_beyond_the_cap_of_bytes_nothing_goes_through() -> None:
    big = b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n" + b"x" * 1_000_000
    with store(answering(big), most_bytes=300_000) as (served, server):
        answer = served.ask(get("store.test", "/", LAST))
        assert (100_000 < len(answer) < 500_000, answer.count(b"HTTP/1.1")) == (True, 1)
        answer = served.ask(get("store.test", "/", LAST))
        assert answer.startswith(b"HTTP/1.1 403")
        assert served.account.refused == ("store.test:80: the 300000 bytes that this run may move are used up",)
        assert 300_000 <= served.account.moved < 500_000
    assert server.accepted == 1


def test_beyond_the_cap_of_bytes_a_tunnel_ends() -> None:
    def flood(sock: socket.socket) -> None:
        with suppress(OSError):
            while True:
                sock.sendall(b"x" * 65536)

    with store(flood, most_bytes=300_000) as (served, _):
        answer = served.ask(b"CONNECT store.test:443 HTTP/1.1\r\nHost: store.test\r\n\r\n")
        assert (len(answer) < 500_000, answer.count(b"HTTP/1.1")) == (True, 1)
        assert served.account.refusals == 1


class Recorded(Pace):
    """Remembers who asked, be it for a request or for a tunnel, and tells the third to wait for ever."""

    def __init__(self) -> None:
        super().__init__(None)
        self.asked = 0

    def take(self) -> float:
        self.asked += 1
        return 0.0 if self.asked < 3 else 1e6

    def another(self) -> Pace:
        return self


def test_requests_and_tunnels_are_slowed_down_and_refusals_are_not() -> None:
    pace = Recorded()
    with store(answering(OK), pace=pace) as (served, server), ExitStack() as stack:
        assert served.ask(get("evil.test", "/", LAST)).startswith(b"HTTP/1.1 403")
        assert served.ask(get("store.test", "/", LAST)).endswith(b"ok")
        for _ in range(2):
            sock = stack.enter_context(served.connect())
            sock.sendall(b"CONNECT store.test:443 HTTP/1.1\r\nHost: store.test\r\n\r\n")
        wait_until(lambda: pace.asked == 3 and server.accepted == 2, "both tunnels asked for")
    # Leaving ends the one that waits.


TUNNEL = b"CONNECT store.test:443 HTTP/1.1\r\nHost: store.test\r\n\r\n"
HELLO = b"\x16\x03\x01\x00\x05hello"
RECORD = b"\x17\x03\x03\x00\x01x"


@pytest.mark.parametrize("data", [b"GET / HTTP/1.1\r\n\r\n", b"PRI * HTTP/2.0\r\n\r\n", HELLO + b"GET / HTTP/1.1"])
@pytest.mark.parametrize("early", [True, False])
def test_where_there_is_a_rate_a_tunnel_is_for_tls_alone(data: bytes, early: bool) -> None:
    heard = []

    def talk(sock: socket.socket) -> None:
        heard.append(received(sock))

    with store(talk, pace=Pace(20)) as (served, _), served.connect() as sock:
        sock.sendall(TUNNEL + data if early else TUNNEL)
        established = b"HTTP/1.1 200 Connection established\r\n\r\n"
        if not early:
            assert sock.recv(len(established), socket.MSG_WAITALL) == established
            sock.sendall(data)
        assert received(sock) == (established if early else b"")
        wait_until(lambda: heard, "the target's end")
        assert served.account.refusals == 1
        assert "has to be TLS" in served.account.refused[0]
    assert heard[0] in (b"", HELLO)


def test_records_go_through_a_tunnel_no_faster_than_the_rate_and_answers_are_not_held() -> None:
    came, times = bytearray(), []

    def talk(sock: socket.socket) -> None:
        assert sock.recv(len(HELLO), socket.MSG_WAITALL) == HELLO
        sock.sendall(b"y" * 200_000)
        while one := sock.recv(len(RECORD), socket.MSG_WAITALL):
            came.extend(one)
            times.append(time.monotonic())

    with store(talk, pace=Pace(50)) as (served, _), served.connect() as sock:
        sock.sendall(TUNNEL + HELLO + RECORD * 60)
        sock.shutdown(socket.SHUT_WR)
        assert len(received(sock)) > 200_000
        assert served.account.refusals == 0
    assert bytes(came) == RECORD * 60
    assert times[-1] - times[0] > 0.9  # 60 at 50 a second; late is no fault of the proxy


def test_leaving_ends_a_tunnel_whose_record_waits() -> None:
    over = threading.Event()

    def talk(sock: socket.socket) -> None:
        sock.shutdown(socket.SHUT_WR)
        received(sock)
        over.set()

    class Bounded(Recorded):
        bounded = True

    pace = Bounded()
    with store(talk, pace=pace) as (served, _), served.connect() as sock:
        sock.sendall(TUNNEL + HELLO + RECORD * 3)
        wait_until(lambda: pace.asked == 3, "a record waits")
    assert over.wait(PATIENCE)


def test_too_many_connections_are_told_so() -> None:
    with store(answering(OK), most_connections=2) as (served, _), ExitStack() as stack:
        for _ in range(2):
            sock = stack.enter_context(served.connect())
            sock.sendall(get("evil.test"))
            assert answer_on(sock)[0] == 403
        with served.connect() as third:
            assert answer_on(third)[0] == 503
        stack.close()
        wait_until(lambda: served.ask(get("evil.test", "/", LAST)).startswith(b"HTTP/1.1 403"), "there is room again")


def test_everything_ends_with_the_proxy_whatever_it_waits_for() -> None:
    asked = threading.Event()

    def silent(sock: socket.socket) -> None:
        read_request(sock)
        asked.set()
        wait_for_hangup(sock)

    with store(silent) as (served, _), ExitStack() as stack:
        for data in (
            b"",
            b"GET http://st",
            get("store.test"),
            get("store.test", "/", "Content-Length: 5", method="PUT"),
        ):
            stack.enter_context(served.connect()).sendall(data)
        stack.enter_context(served.connect()).sendall(b"CONNECT store.test:1 HTTP/1.1\r\nHost: store.test\r\n\r\n")
        assert asked.wait(PATIENCE)


def test_a_name_service_that_hangs_keeps_nobody_from_ending() -> None:
    release, asked = threading.Event(), threading.Event()

    def hang(*_: Any, **__: Any) -> Rows:
        asked.set()
        release.wait(PATIENCE)
        return []

    with proxy("slow.test", resolve=hang) as served, served.connect() as sock:
        sock.sendall(get("slow.test"))
        assert asked.wait(PATIENCE)
    release.set()


def test_nonsense_of_every_kind_harms_nobody_else() -> None:
    chance = random.Random(7)
    parts = [
        get("store.test"),
        b"CONNECT store.test:80 HTTP/1.1\r\n",
        b"\r\n",
        b"\0\xff",
        b"Content-Length: 5\r\n",
        b"5\r\n",
        OK,
    ]
    with store(answering(*[OK] * 1000)) as (served, _):
        for _ in range(150):
            data = b"".join(chance.choices(parts, k=chance.randrange(1, 5)))
            cut = chance.randrange(len(data) + 1)
            with served.connect() as sock, suppress(OSError):
                sock.sendall(data[:cut] + chance.randbytes(chance.randrange(3)) + data[cut:])
        assert served.ask(get("store.test", "/", LAST)).endswith(b"ok")
