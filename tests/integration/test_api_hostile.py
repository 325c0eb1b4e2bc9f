"""Callers that must not get through, over real sockets."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from standins.api_door import TOKEN, MemoryDoor, served
from testwarden.api import guarded
from testwarden.api.server import ApiServer

MIB = 1024 * 1024


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("api")


@pytest.fixture(scope="module")
def shared(folder: Path) -> MemoryDoor:
    return MemoryDoor(folder)


@pytest.fixture
def door(shared: MemoryDoor) -> MemoryDoor:
    """The agent behind the servers, as if nobody had asked it for anything."""
    shared.paused = False
    shared.runs.clear()
    return shared


@pytest.fixture(scope="module")
def locked(shared: MemoryDoor) -> Iterator[ApiServer]:
    """A server with a token."""
    with served(shared, token=TOKEN) as server:
        yield server


@pytest.fixture(scope="module")
def server(shared: MemoryDoor) -> Iterator[ApiServer]:
    with served(shared) as server:
        yield server


def raw(server: ApiServer, *pieces: bytes) -> bytes:
    """Send bytes and return all that comes back until the server closes the connection."""
    with socket.create_connection(("127.0.0.1", int(server.url.rpartition(":")[2])), timeout=20) as sock:
        for piece in pieces:
            sock.sendall(piece)
        sock.settimeout(20)
        received = b""
        while data := sock.recv(65536):
            received += data
        return received


def pause(server: ApiServer, *headers: str, body: bytes = b"") -> int:
    """Ask for a pause with these headers and return the status of the answer."""
    lines = [*headers] if any(line.startswith("Host:") for line in headers) else ["Host: 127.0.0.1", *headers]
    head = "\r\n".join(["POST /v1/pause HTTP/1.1", *lines, "Connection: close", f"Content-Length: {len(body)}"])
    return int(raw(server, head.encode() + b"\r\n\r\n" + body).split()[1])


def test_a_plain_caller_gets_through(server: ApiServer, door: MemoryDoor) -> None:
    assert pause(server) == 200
    assert door.paused


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        (["Host: rebind.example"], 421),
        (["Host: rebind.example:8888", "Origin: http://rebind.example:8888"], 421),
        (["Host: 192.168.1.5"], 421),
        (["Host:"], 421),
        (["Origin: http://evil.example"], 403),
        (["Origin: null"], 403),
        (["Origin: http://127.0.0.1:1"], 403),
        (["Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: no-cors"], 403),
        (["Content-Type: text/plain"], 415),
        (["Content-Type: text/plain", "Origin: https://evil.example"], 403),
        (["Content-Type: application/x-www-form-urlencoded"], 415),
        (["Content-Type: multipart/form-data; boundary=x"], 415),
    ],
    ids=str,
)
def test_a_web_page_cannot_ask_for_anything(
    headers: list[str], status: int, server: ApiServer, door: MemoryDoor
) -> None:
    assert pause(server, *headers, body=b'{"scriptURL":"x"}') == status
    assert not door.paused


def test_a_page_of_another_origin_is_not_told_that_it_may_ask(server: ApiServer) -> None:
    asked = {"Origin": "http://evil.example", "Access-Control-Request-Method": "POST"}
    answer = requests.options(f"{server.url}/api/v1/start", headers=asked, timeout=20)
    assert answer.status_code == 403
    assert not any(name.lower().startswith("access-control") for name in answer.headers)


def test_no_host_and_two_hosts_are_refused(server: ApiServer, door: MemoryDoor) -> None:
    assert raw(server, b"POST /v1/pause HTTP/1.0\r\n\r\n").split()[1] == b"400"
    two = b"POST /v1/pause HTTP/1.1\r\nHost: 127.0.0.1\r\nHost: evil\r\nConnection: close\r\n\r\n"
    assert raw(server, two).split()[1] == b"400"
    assert not door.paused


def test_a_body_that_says_it_is_too_long_is_not_read(server: ApiServer) -> None:
    answer = requests.post(f"{server.url}/api/v1/start", data=b" " * (3 * MIB), timeout=20)
    assert answer.status_code == 413
    assert answer.json()["status"] == "Error"
    # Who goes on sending gets the answer, too, and no broken connection.
    head = f"POST /api/v1/start HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {5 * MIB}\r\n\r\n".encode()
    assert raw(server, head, *[b" " * 65536] * 80).split()[1] == b"413"
    script = requests.post(f"{server.url}/api/v1/saveScript", data=b"/" * (MIB + 1), timeout=20)
    assert script.status_code == 413


def test_a_body_without_a_length_is_counted(server: ApiServer, door: MemoryDoor) -> None:
    sent = 0

    def pieces() -> Iterator[bytes]:
        nonlocal sent
        for _ in range(48):
            sent += 65536
            yield b" " * 65536

    answer = requests.post(f"{server.url}/v1/runs", data=pieces(), timeout=20)
    assert answer.status_code == 413
    assert answer.json() == {"error": f"the body is longer than the allowed {2 * MIB} bytes"}
    assert not door.runs


def test_a_script_of_exactly_the_allowed_size_is_saved_also_without_a_length(server: ApiServer) -> None:
    for data in (b"/" * MIB, iter([b"/" * (MIB // 2)] * 2)):
        answer = requests.post(f"{server.url}/api/v1/saveScript", data=data, timeout=20)
        assert answer.json()["status"] == "Success"


def test_who_waits_to_be_told_to_send_is_told_not_to(server: ApiServer) -> None:
    head = b"POST /v1/runs HTTP/1.1\r\nHost: 127.0.0.1\r\nExpect: 100-continue\r\nContent-Length: 99999999\r\n\r\n"
    assert raw(server, head).split()[1] == b"413"


def test_a_body_that_does_not_come_is_not_waited_for(server: ApiServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guarded, "BODY_SECONDS", 0.2)
    head = b"POST /v1/runs HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 10\r\n\r\n{"
    answer = raw(server, head)
    assert answer.split()[1] == b"408"
    assert "error" in json.loads(answer.partition(b"\r\n\r\n")[2])


def test_two_lengths_and_both_framings_are_not_answered_twice(server: ApiServer, door: MemoryDoor) -> None:
    head = b"POST /v1/pause HTTP/1.1\r\nHost: 127.0.0.1\r\n"
    hidden = b"POST /v1/pause HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n"
    two = raw(server, head + b"Content-Length: 0\r\nContent-Length: 5\r\n\r\n" + hidden)
    assert two.split()[1] == b"400"
    assert not door.paused


@pytest.mark.parametrize("sent", [None, "Bearer wrong", f"Basic {TOKEN}", "Bearer "])
@pytest.mark.parametrize("path", ["v1/status", "metrics", "readyz", "openapi.json", "api/v1/getAllTasks", "v1/log"])
def test_without_the_token_nothing_is_told(sent: str | None, path: str, locked: ApiServer) -> None:
    answer = requests.get(f"{locked.url}/{path}", headers={"Authorization": sent} if sent else {}, timeout=20)
    assert (answer.status_code, answer.headers["WWW-Authenticate"]) == (401, "Bearer")


def test_with_the_token_everything_is_told_and_the_page_needs_none(locked: ApiServer) -> None:
    headers = {"Authorization": f"Bearer {TOKEN}"}
    assert requests.get(f"{locked.url}/v1/status", headers=headers, timeout=20).ok
    for path in ("", "healthz", "page/page.js"):
        assert requests.get(f"{locked.url}/{path}", timeout=20).ok
    document = requests.get(f"{locked.url}/openapi.json", headers=headers, timeout=20).json()
    assert document["security"] == [{"token": []}]


def test_what_a_proxy_would_say_of_the_caller_is_not_believed(locked: ApiServer) -> None:
    claims = {"X-Forwarded-For": "127.0.0.1", "X-Forwarded-Host": "127.0.0.1", "Forwarded": "for=127.0.0.1"}
    assert requests.get(f"{locked.url}/v1/status", headers=claims, timeout=20).status_code == 401


def test_a_long_head_is_refused(server: ApiServer) -> None:
    answer = raw(server, b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\nX: " + b"x" * 20_000)
    assert answer.split()[1] == b"400"


def test_the_paths_of_requests_do_not_forge_log_lines(server: ApiServer, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG", logger="testwarden.api.guarded")
    requests.get(f"{server.url}/x%0a20-11-2026%1b[31m", timeout=20)
    until = time.monotonic() + 20
    while not caplog.messages and time.monotonic() < until:
        time.sleep(0.01)
    assert caplog.messages[0].startswith("GET /x 20-11-2026?[31m: 404")
