"""Callers that connect and hold on: they must not keep the others out."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import requests

from standins.api_door import TOKEN, MemoryDoor, served
from standins.raw_server import self_signed
from standins.watching import wait_until
from testwarden.api import connection, listener
from testwarden.api.listener import MOST_CONNECTIONS, MOST_OF_ONE
from testwarden.api.server import ApiServer
from testwarden.api.views import MOST_LOG
from testwarden.model import TestType
from testwarden.running.own_runs import OwnTest

HEAD = b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n"
SHORT = 0.3


@pytest.fixture
def door(tmp_path: Path) -> MemoryDoor:
    return MemoryDoor(tmp_path)


@pytest.fixture
def impatient(door: MemoryDoor, monkeypatch: pytest.MonkeyPatch) -> Iterator[ApiServer]:
    monkeypatch.setattr(connection, "HEAD_SECONDS", SHORT)
    with served(door) as server:
        yield server


def connect(server: ApiServer, source: str = "127.0.0.1") -> socket.socket:
    port = int(server.url.rpartition(":")[2])
    return socket.create_connection(("127.0.0.1", port), timeout=20, source_address=(source, 0))


def is_hung_up_on(sock: socket.socket, seconds: float = 20) -> bool:
    """Whether the server closes the connection; what it says before is thrown away."""
    sock.settimeout(seconds)
    try:
        while sock.recv(65536):
            pass
    except TimeoutError:
        return False
    except ConnectionResetError:
        pass
    return True


def answers(server: ApiServer, source: str = "127.0.0.1") -> bool:
    """Whether the server answers a caller on a new connection."""
    try:
        with connect(server, source) as sock:
            sock.sendall(HEAD + b"Connection: close\r\n\r\n")
            return b" 200 OK" in sock.recv(65536)
    except ConnectionResetError:
        return False


@pytest.mark.parametrize("sent", [b"", b"GE", HEAD, HEAD + b"\r\n" + HEAD, b"\r\n"])
def test_who_does_not_say_what_they_want_is_hung_up_on(sent: bytes, impatient: ApiServer) -> None:
    """Nothing; a head that has begun; and, where there was a whole one before, half of the next."""
    with connect(impatient) as sock:
        sock.sendall(sent)
        assert is_hung_up_on(sock)


def test_a_head_that_trickles_in_gains_no_time(impatient: ApiServer) -> None:
    with connect(impatient) as sock:
        sock.settimeout(SHORT / 10)
        for letter in HEAD + b"X: " + b"x" * 1000:
            try:
                sock.sendall(bytes([letter]))
                if not sock.recv(1):
                    return
            except TimeoutError:
                continue
            except ConnectionError:
                return
    pytest.fail("it took the whole head")


def test_who_asks_again_and_again_keeps_the_connection(door: MemoryDoor, monkeypatch: pytest.MonkeyPatch) -> None:
    """The time for a head begins anew with each answer."""
    monkeypatch.setattr(connection, "HEAD_SECONDS", 2.0)
    with served(door) as server, connect(server) as sock:
        for _ in range(6):
            time.sleep(0.5)
            sock.sendall(HEAD + b"\r\n")
            answer = b""
            while not answer.endswith(b'{"ok":true}'):
                answer += (data := sock.recv(65536))
                assert data, "hung up"


def test_who_is_answered_late_is_not_hung_up_on(impatient: ApiServer) -> None:
    """The stream of the log lasts longer than a head may take."""
    with connect(impatient) as sock:
        sock.sendall(b"GET /v1/log HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        assert not is_hung_up_on(sock, seconds=4 * SHORT)


@pytest.fixture
def narrow(impatient: ApiServer, door: MemoryDoor) -> Iterator[socket.socket]:
    """A connection on which a long answer stays in our memory until the caller takes it."""
    door.start_own(OwnTest(TestType.K6))
    (door.folder / "log-1").write_bytes(b"x" * MOST_LOG)
    assert impatient._listener is not None
    impatient._listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 32768)
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 32768)
        sock.connect(("127.0.0.1", int(impatient.url.rpartition(":")[2])))
        yield sock


LONG = f"GET /v1/runs/1/log?len={MOST_LOG} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode()


@pytest.mark.parametrize("times", [1, 8])
def test_who_does_not_take_the_answer_is_hung_up_on(times: int, narrow: socket.socket, impatient: ApiServer) -> None:
    """Of one request the whole answer is handed over at once; of several the next one waits to be."""
    assert impatient._server is not None
    held = impatient._server.server_state.connections
    narrow.sendall(LONG * times)
    wait_until(lambda: bool(held), "connected")
    wait_until(lambda: not held, "nobody is waited for any more")


def test_who_takes_the_answer_slowly_gets_all_of_it(narrow: socket.socket) -> None:
    narrow.sendall(LONG)
    began, received = time.monotonic(), 0
    while received < MOST_LOG:
        data = narrow.recv(65536)
        assert data, f"cut after {received}"
        received += len(data)
        time.sleep(5 * SHORT * len(data) / MOST_LOG)
    assert time.monotonic() - began > 3 * SHORT


def test_a_tls_handshake_that_does_not_come_is_not_waited_for(
    door: MemoryDoor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "HEAD_SECONDS", SHORT)
    self_signed(door.folder)
    files = {"tls_cert": door.folder / "certificate.pem", "tls_key": door.folder / "key.pem"}
    with served(door, token=TOKEN, **files) as server, connect(server) as silent, connect(server) as slow:
        slow.sendall(b"\x16\x03\x01\x02\x00")
        assert is_hung_up_on(silent)
        assert is_hung_up_on(slow)
        trusted = str(door.folder / "certificate.pem")
        assert requests.get(f"{server.url}/healthz", verify=trusted, timeout=20).ok


def test_one_caller_cannot_take_the_room_of_the_others(door: MemoryDoor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listener, "peer_of", str)  # all of 127.0.0.0/8 would be one caller
    with ExitStack() as stack, served(door) as server:
        held = [stack.enter_context(connect(server)) for _ in range(MOST_OF_ONE)]
        assert not answers(server)
        assert answers(server, "127.0.0.2")
        held[0].close()
        wait_until(lambda: answers(server), "room for another one")


def test_all_callers_together_have_only_so_much_room(door: MemoryDoor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listener, "peer_of", str)
    with ExitStack() as stack, served(door) as server:
        for number in range(MOST_CONNECTIONS):
            stack.enter_context(connect(server, f"127.0.0.{2 + number % 4}"))
        with connect(server, "127.0.0.9") as late:
            assert is_hung_up_on(late, seconds=connection.HEAD_SECONDS / 2), "at once, not after that time"


def test_many_silent_connections_keep_nobody_out_for_long(impatient: ApiServer) -> None:
    with ExitStack() as stack:
        for _ in range(MOST_CONNECTIONS):
            stack.enter_context(connect(impatient))
        wait_until(lambda: answers(impatient), "the API answers again")


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("192.0.2.1", "192.0.2.2", False),
        ("127.0.0.1", "127.9.9.9", True),
        ("127.0.0.1", "::1", True),
        ("2001:db8::1", "2001:db8::ffff:1", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("::ffff:192.0.2.1", "::ffff:192.0.2.2", False),
        ("::ffff:192.0.2.1", "192.0.2.1", True),
        ("fe80::1%eth0", "fe80::2%eth0", True),
    ],
)
def test_who_is_one_caller(one: str, other: str, same: bool) -> None:
    assert (listener.peer_of(one) == listener.peer_of(other)) is same
