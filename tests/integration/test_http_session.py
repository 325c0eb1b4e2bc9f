"""The door to HTTP against servers that do not behave, over real sockets."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import requests
import urllib3.exceptions

from standins.raw_server import (
    PATIENCE,
    RawServer,
    raw_server,
    read_request,
    self_signed,
    trickle,
    wait_for_hangup,
)
from testwarden.clients.dial import DialRefused
from testwarden.clients.exchange import End, ExchangeEnded
from testwarden.clients.http_session import BodyRefused, BoundedSession, body_of, explain, user_agent
from testwarden.clients.stop import Stop

GOOD = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
MIB = 1024 * 1024


@pytest.fixture(autouse=True)
def no_proxy_and_nothing_left_behind(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    threads, sockets = set(threading.enumerate()), open_sockets()
    yield
    left = [thread for thread in threading.enumerate() if thread not in threads and thread.name != "resolve stuck"]
    assert not left
    assert open_sockets() == sockets


def open_sockets() -> int:
    folder = Path("/proc/self/fd")
    entries = list(folder.iterdir()) if folder.exists() else []
    return sum(str(entry.readlink()).startswith("socket:") for entry in entries if entry.is_symlink())


def get(session: BoundedSession, url: str, seconds: float = 5.0, stop: Stop | None = None, most: int = MIB) -> bytes:
    with session.bounded(seconds, stop), session.get(url, stream=True, allow_redirects=False) as response:
        return b"".join(body_of(response, most))


def answer(content: bytes) -> Any:
    def talk(sock: socket.socket) -> None:
        while read_request(sock):
            sock.sendall(content)

    return talk


def slow(content: bytes, fast: bytes = b"") -> Any:
    def talk(sock: socket.socket) -> None:
        read_request(sock)
        sock.sendall(fast)
        trickle(sock, content)

    return talk


def url_of(server: RawServer, scheme: str = "http") -> str:
    return f"{scheme}://127.0.0.1:{server.port}/"


def test_a_body_comes_as_it_was_sent() -> None:
    with raw_server(answer(GOOD)) as server, BoundedSession("us") as session:
        assert get(session, url_of(server)) == b"hello"


@pytest.mark.parametrize(
    "talk",
    [
        pytest.param(slow(b"X: x\r\n", b"HTTP/1.1 200 OK\r\n"), id="headers"),
        pytest.param(slow(b"x" * 900, b"HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\n"), id="body"),
        pytest.param(
            slow(b"1\r\nx\r\n" * 150 + b"0\r\n\r\n", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"),
            id="chunks",
        ),
        pytest.param(wait_for_hangup, id="never answers"),
    ],
)
def test_a_server_that_trickles_or_says_nothing_does_not_outlive_the_deadline(talk: Any) -> None:
    with raw_server(talk) as server, BoundedSession("us") as session, pytest.raises(ExchangeEnded) as ended:
        get(session, url_of(server), seconds=0.3)
    assert ended.value.why is End.DEADLINE


def test_a_tls_handshake_that_never_ends_does_not_outlive_the_deadline() -> None:
    with raw_server(wait_for_hangup) as server, BoundedSession("us") as session, pytest.raises(ExchangeEnded):
        get(session, url_of(server, "https"), seconds=0.3)


def test_a_body_without_length_that_we_cut_off_is_not_taken_for_complete() -> None:
    def talk(sock: socket.socket) -> None:
        read_request(sock)
        sock.sendall(b"HTTP/1.0 200 OK\r\n\r\nhalf of i")
        wait_for_hangup(sock)

    with raw_server(talk) as server, BoundedSession("us") as session, pytest.raises(ExchangeEnded):
        get(session, url_of(server), seconds=0.3)


def test_a_connection_that_was_kept_alive_is_watched_in_the_next_exchange() -> None:
    def talk(sock: socket.socket) -> None:
        read_request(sock)
        sock.sendall(GOOD)
        read_request(sock)
        trickle(sock, b"HTTP/1.1 200 OK\r\n" + b"x" * 9000)

    with raw_server(talk) as server, BoundedSession("us") as session:
        assert get(session, url_of(server)) == b"hello"
        with pytest.raises(ExchangeEnded):
            get(session, url_of(server), seconds=0.3)
        assert server.accepted == 1


def test_a_stop_wakes_a_blocked_read() -> None:
    stop = Stop()

    def talk(sock: socket.socket) -> None:
        read_request(sock)
        stop.request("the operator quits", 0)
        wait_for_hangup(sock)

    with raw_server(talk) as server, BoundedSession("us") as session, pytest.raises(ExchangeEnded) as ended:
        get(session, url_of(server), seconds=60, stop=stop)
    assert ended.value.why is End.STOP


def test_a_stop_wakes_a_tls_read(tmp_path: Path) -> None:
    stop = Stop()
    ours, theirs = self_signed(tmp_path)

    def talk(sock: socket.socket) -> None:
        read_request(sock)
        stop.request("the operator quits", 0)
        wait_for_hangup(sock)

    with (
        raw_server(talk, ours) as server,
        BoundedSession("us", tls=theirs) as session,
        pytest.raises(ExchangeEnded) as ended,
    ):
        get(session, url_of(server, "https"), seconds=60, stop=stop)
    assert ended.value.why is End.STOP


def test_a_stop_wakes_a_connection_that_is_not_accepted() -> None:
    stop = Stop()
    listener = socket.create_server(("127.0.0.1", 0), backlog=0)
    address = listener.getsockname()
    # A queue of connections that nobody accepts fills up; then the kernel ignores who knocks.
    crowd = [socket.socket() for _ in range(4)]
    for sock in crowd:
        sock.setblocking(False)
        sock.connect_ex(address)
    too_late = threading.Event()
    later, much_later = threading.Timer(0.3, stop.request, ["quit", 0]), threading.Timer(PATIENCE, too_late.set)
    for timer in (later, much_later):
        timer.start()
    with BoundedSession("us") as session, pytest.raises(ExchangeEnded) as ended:
        get(session, f"http://127.0.0.1:{address[1]}/", seconds=PATIENCE * 2, stop=stop)
    for timer in (later, much_later):
        timer.cancel()
        timer.join()
    for sock in (*crowd, listener):
        sock.close()
    assert ended.value.why is End.STOP
    assert not too_late.is_set()


def test_a_stop_does_not_wait_for_the_resolver() -> None:
    stop, over, resolved = Stop(), threading.Event(), threading.Event()

    def resolve(*_: Any, **__: Any) -> Any:
        threading.current_thread().name = "resolve stuck"
        stop.request("the operator quits", 0)
        over.wait(PATIENCE)
        resolved.set()
        raise socket.gaierror(socket.EAI_AGAIN, "too late")

    with BoundedSession("us", resolve=resolve) as session, pytest.raises(ExchangeEnded):
        get(session, "http://slow.example/", seconds=60, stop=stop)
    assert not resolved.is_set()
    over.set()


def test_a_stop_from_before_lets_nothing_be_dialled() -> None:
    stop = Stop()
    stop.request("the kill switch is active", 0)
    with raw_server(answer(GOOD)) as server, BoundedSession("us") as session, pytest.raises(ExchangeEnded):
        get(session, url_of(server), stop=stop)
    assert server.accepted == 0


@pytest.mark.parametrize(
    "head", [b"Content-Length: 99999999999", b"Transfer-Encoding: chunked", b"Connection: close"], ids=str
)
def test_no_more_is_read_than_allowed(head: bytes) -> None:
    sent = 0

    def talk(sock: socket.socket) -> None:
        nonlocal sent
        read_request(sock)
        sock.sendall(b"HTTP/1.1 200 OK\r\n" + head + b"\r\n\r\n")
        for _ in range(100):
            sock.sendall(b"80000\r\n" + b"x" * 0x80000 + b"\r\n")
            sent += 0x80000

    with raw_server(talk) as server, BoundedSession("us") as session, pytest.raises(BodyRefused):
        get(session, url_of(server), most=MIB)
    assert sent < 40 * MIB


@pytest.mark.parametrize("head", [b"Content-Length: 5", b"Connection: close"], ids=str)
def test_exactly_what_is_allowed_is_read(head: bytes) -> None:
    def talk(sock: socket.socket) -> None:
        read_request(sock)
        sock.sendall(b"HTTP/1.1 200 OK\r\n" + head + b"\r\n\r\nhello")

    with raw_server(talk) as server, BoundedSession("us") as session:
        assert get(session, url_of(server), most=5) == b"hello"
        with pytest.raises(BodyRefused):
            get(session, url_of(server), most=4)


def test_a_line_between_chunks_does_not_fill_the_memory() -> None:
    sent = 0

    def talk(sock: socket.socket) -> None:
        nonlocal sent
        read_request(sock)
        sock.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        for _ in range(100):
            sock.sendall(b"0" * MIB)
            sent += MIB

    with raw_server(talk) as server, BoundedSession("us") as session, pytest.raises(urllib3.exceptions.HTTPError):
        get(session, url_of(server))
    assert sent < 40 * MIB


def test_a_packed_body_is_refused_instead_of_unpacked() -> None:
    packed = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 5\r\n\r\nhello"
    with (
        raw_server(answer(packed)) as server,
        BoundedSession("us") as session,
        pytest.raises(BodyRefused, match="gzip"),
    ):
        get(session, url_of(server))


def test_a_truncated_body_is_an_error() -> None:
    def talk(sock: socket.socket) -> None:
        read_request(sock)
        sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nhello")

    with (
        raw_server(talk) as server,
        BoundedSession("us") as session,
        pytest.raises(urllib3.exceptions.ProtocolError),
    ):
        get(session, url_of(server))


def row(address: str, port: int) -> Any:
    return (socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port))


def test_the_policy_sees_every_address_before_anything_is_dialled() -> None:
    seen: list[Any] = []

    def policy(host: str, port: int, addresses: Sequence[str]) -> None:
        seen.append((host, port, list(addresses)))
        raise DialRefused("no")

    with raw_server(answer(GOOD)) as server:
        found = [row("127.0.0.1", server.port), row("10.0.0.1", server.port)]
        with (
            BoundedSession("us", policy=policy, resolve=lambda *_, **__: found) as session,
            pytest.raises(DialRefused),
        ):
            get(session, f"http://two.example:{server.port}/")
    assert seen == [("two.example", server.port, ["127.0.0.1", "10.0.0.1"])]
    assert server.accepted == 0


def test_what_the_policy_saw_is_what_is_dialled_even_if_the_name_changes_its_mind() -> None:
    """DNS rebinding: the second answer of the resolver leads elsewhere."""
    seen: list[str] = []

    def policy(_host: str, _port: int, addresses: Sequence[str]) -> None:
        seen.extend(addresses)

    with raw_server(answer(GOOD)) as good, raw_server(answer(GOOD)) as evil:
        replies = [[row("127.0.0.1", good.port)], [row("127.0.0.1", evil.port)]]
        with BoundedSession("us", policy=policy, resolve=lambda *_, **__: replies.pop(0)) as session:
            get(session, "http://rebinding.example/")
    assert (good.accepted, evil.accepted) == (1, 0)
    assert seen == ["127.0.0.1"]
    assert len(replies) == 1


def test_the_second_address_is_tried_when_the_first_is_dead() -> None:
    with socket.create_server(("127.0.0.1", 0)) as dead:
        closed = dead.getsockname()[1]
    with raw_server(answer(GOOD)) as server:
        found = [row("127.0.0.1", closed), row("127.0.0.1", server.port)]
        with BoundedSession("us", resolve=lambda *_, **__: found) as session:
            assert get(session, "http://two.example/") == b"hello"


def test_a_session_that_is_closed_hangs_up_even_if_somebody_holds_an_answer() -> None:
    with raw_server(answer(GOOD)) as server:
        with BoundedSession("us") as session, session.bounded(5):
            held = session.get(url_of(server), stream=True)
            assert b"".join(body_of(held, MIB)) == b"hello"
            pool = held.raw._pool
        assert pool.num_connections == 1


def test_a_request_outside_of_an_exchange_is_not_made() -> None:
    with raw_server(answer(GOOD)) as server, BoundedSession("us") as session, pytest.raises(RuntimeError):
        session.get(url_of(server))
    assert server.accepted == 0


def recorded(requests_seen: list[bytes], content: bytes = GOOD) -> Any:
    def talk(sock: socket.socket) -> None:
        while request := read_request(sock):
            requests_seen.append(request)
            sock.sendall(content)

    return talk


@pytest.mark.parametrize("environment", [True, False])
def test_no_password_comes_from_netrc_and_no_cookie_comes_back(
    environment: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login me password secret\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    seen: list[bytes] = []
    cookie = b"HTTP/1.1 200 OK\r\nSet-Cookie: a=b; Path=/\r\nContent-Length: 0\r\n\r\n"
    with raw_server(recorded(seen, cookie)) as server, BoundedSession("us", environment=environment) as session:
        get(session, url_of(server))
        get(session, url_of(server))
    assert len(seen) == 2
    assert not any(b"authorization" in request.lower() or b"cookie" in request.lower() for request in seen)


def test_a_proxy_of_the_environment_is_used_only_where_that_is_wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    def resolve(host: str, port: int, **_: Any) -> Any:
        if host == "127.0.0.1":
            return [row(host, port)]
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    seen: list[bytes] = []
    with raw_server(recorded(seen)) as proxy:
        monkeypatch.setenv("HTTP_PROXY", url_of(proxy))
        with BoundedSession("us", environment=True, resolve=resolve) as session:
            assert get(session, "http://far.example/x") == b"hello"
        with BoundedSession("us", resolve=resolve) as session, pytest.raises(requests.ConnectionError):
            get(session, "http://far.example/y")
    assert [request.split(b" ")[1] for request in seen] == [b"http://far.example/x"]


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_proxy_that_trickles_does_not_outlive_the_deadline(scheme: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with raw_server(slow(b"X: x\r\n", b"HTTP/1.1 200 OK\r\n")) as proxy:
        monkeypatch.setenv(f"{scheme.upper()}_PROXY", url_of(proxy))
        with BoundedSession("us", environment=True) as session, pytest.raises(ExchangeEnded):
            get(session, f"{scheme}://far.example/x", seconds=0.3)


def test_tls_is_checked_against_the_name_while_the_address_is_ours(tmp_path: Path) -> None:
    ours, theirs = self_signed(tmp_path)
    with raw_server(answer(GOOD), ours) as server:
        resolve = lambda *_, **__: [row("127.0.0.1", server.port)]  # noqa: E731 - one line says it
        with BoundedSession("us", tls=theirs, resolve=resolve) as session:
            assert get(session, "https://localhost/") == b"hello"
            with pytest.raises(requests.exceptions.SSLError):
                get(session, "https://other.example/")
        assert len(theirs.get_ca_certs()) == 1, "nobody else is trusted beside those who were named"
        with BoundedSession("us", resolve=resolve) as session, pytest.raises(requests.exceptions.SSLError):
            get(session, "https://localhost/")


def test_every_request_names_the_agent_and_the_place_of_the_switch() -> None:
    seen: list[bytes] = []
    agent = user_agent("owner/name", "müller's\nbox")
    with raw_server(recorded(seen)) as server, BoundedSession(agent) as session:
        get(session, url_of(server))
    assert b"(+https://github.com/owner/name/issues; agent m?ller's?box)\r\n" in seen[0]
    assert b"User-Agent: testwarden/" in seen[0]


def test_a_refused_connection_is_explained_in_one_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as dead:
        port = dead.getsockname()[1]
    with BoundedSession("us") as session, pytest.raises(requests.ConnectionError) as error:
        get(session, f"http://127.0.0.1:{port}/")
    assert explain(error.value) == "[Errno 111] Connection refused"
