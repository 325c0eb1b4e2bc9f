"""The API's server: starting, stopping, TLS, the log as a stream."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from standins.api_door import TOKEN, MemoryDoor, config_for, served
from standins.api_scripts import silent, trickling
from standins.raw_server import self_signed
from standins.watching import wait_until
from testwarden.api import log_stream
from testwarden.api.config import ApiRefused
from testwarden.api.scripts import Fetcher, ScriptError, script_wanted
from testwarden.api.server import STOP_SECONDS, ApiServer
from testwarden.clients.stop import Stop


@pytest.fixture
def door(tmp_path: Path) -> MemoryDoor:
    return MemoryDoor(tmp_path)


@pytest.fixture(autouse=True)
def no_thread_is_left() -> Iterator[None]:
    before = set(threading.enumerate())
    yield
    wait_until(lambda: set(threading.enumerate()) <= before, "all threads of the API ended")


def test_without_token_and_tls_it_does_not_listen_for_others(door: MemoryDoor) -> None:
    for values in ({}, {"token": TOKEN}):
        server = ApiServer(config_for(door.folder, listen="0.0.0.0:0", **values), door, pytest.fail)
        with pytest.raises(ApiRefused, match="needs"):
            server.start()
        assert server.url == ""


def test_with_token_and_tls_it_listens_for_others(door: MemoryDoor) -> None:
    self_signed(door.folder)
    files = {"tls_cert": door.folder / "certificate.pem", "tls_key": door.folder / "key.pem"}
    with served(door, listen="0.0.0.0:0", token=TOKEN, **files) as server:
        url = server.url.replace("0.0.0.0", "127.0.0.1")
        assert url.startswith("https://")
        trusted = str(door.folder / "certificate.pem")
        headers = {"Authorization": f"Bearer {TOKEN}"}
        assert requests.get(f"{url}/v1/status", headers=headers, verify=trusted, timeout=20).ok
        assert requests.get(f"{url}/v1/status", verify=trusted, timeout=20).status_code == 401
        with pytest.raises(requests.exceptions.SSLError):
            requests.get(f"{url}/healthz", timeout=20)
        with pytest.raises(requests.ConnectionError):
            requests.get(f"{url.replace('https', 'http')}/healthz", timeout=20)


def test_a_port_that_is_taken_is_said(door: MemoryDoor) -> None:
    with served(door) as first:
        listen = first.url.removeprefix("http://")
        with pytest.raises(ApiRefused, match=f"{listen} cannot be listened on"):
            ApiServer(config_for(door.folder, listen=listen), door, pytest.fail).start()


def test_an_address_that_is_not_ours_is_said(door: MemoryDoor) -> None:
    self_signed(door.folder)
    files = {"tls_cert": door.folder / "certificate.pem", "tls_key": door.folder / "key.pem"}
    config = config_for(door.folder, listen="192.0.2.1:0", token=TOKEN, **files)
    with pytest.raises(ApiRefused, match="cannot be listened on"):
        ApiServer(config, door, pytest.fail).start()


def test_it_stops_twice_and_its_port_is_free_afterwards(door: MemoryDoor) -> None:
    with served(door) as server:
        port = int(server.url.rpartition(":")[2])
        server.stop()
        server.stop()
    with socket.create_server(("127.0.0.1", port)):
        pass


def test_it_stops_although_callers_hold_connections_open(door: MemoryDoor, caplog: pytest.LogCaptureFixture) -> None:
    """An open stream, a kept connection, half a request and a fetch under way."""
    with silent() as (url, asked, _), served(door) as server, requests.Session() as session:
        port = int(server.url.rpartition(":")[2])
        stream = session.get(f"{server.url}/v1/log", stream=True, timeout=20)
        half = socket.create_connection(("127.0.0.1", port))
        half.sendall(b"POST /v1/runs HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 10\r\n\r\n{")
        idle = socket.create_connection(("127.0.0.1", port))
        body = {"scriptURL": url}
        fetching = threading.Thread(target=_post_until_cut, args=[f"{server.url}/api/v1/start", body])
        fetching.start()
        assert asked.wait(20)
        server.stop()
        fetching.join()
        wait_until(lambda: not _fetches(), "the fetch ended by the stop, not by its deadline", seconds=5)
        assert list(stream.iter_content(None))[-1:] != [None]
        half.close()
        idle.close()
    assert not caplog.messages


def _fetches() -> bool:
    return any("worker" in thread.name for thread in threading.enumerate())


def _post_until_cut(url: str, body: object) -> None:
    try:
        requests.post(url, json=body, timeout=20)
    except requests.RequestException:
        pass  # the server may close the connection before the answer


def test_a_stop_is_within_its_bound_while_nothing_hinders_it(door: MemoryDoor) -> None:
    assert STOP_SECONDS <= 2.0
    with served(door) as server:
        server.stop()
        assert not any(thread.name == "api" for thread in threading.enumerate())


def test_a_server_that_ends_by_itself_is_told(door: MemoryDoor) -> None:
    deaths: list[BaseException] = []
    server = ApiServer(config_for(door.folder), door, deaths.append)
    server.start()
    assert server._server is not None
    server._server.should_exit = True
    wait_until(lambda: bool(deaths), "told that the server ended")
    server.stop()


class Events:
    """The events of a stream, as they come."""

    def __init__(self, response: requests.Response) -> None:
        self._lines = response.iter_lines(chunk_size=1)

    def next(self) -> tuple[str, str]:
        """Return number and text of the next event; `:` and the text for a comment."""
        found: list[str] = []
        for line in self._lines:
            if not line and found:
                break
            found.append(line.decode())
        if found[0].startswith(":"):
            return ":", found[0]
        return found[0].removeprefix("id: "), "|".join(one.removeprefix("data: ") for one in found[1:])


def test_the_log_comes_as_events_with_what_was_said_before(door: MemoryDoor) -> None:
    door.say("first", "second\nwith a second line")
    with served(door) as server, requests.get(f"{server.url}/v1/log", stream=True, timeout=20) as response:
        assert response.headers["Content-Type"] == "text/event-stream; charset=utf-8"
        events = Events(response)
        assert events.next()[0] == ":"
        assert events.next() == ("1", "first")
        assert events.next() == ("2", "second|with a second line")
        door.say("third")
        assert events.next() == ("3", "third")


@pytest.mark.parametrize(
    ("headers", "query", "first"),
    [
        ({"Last-Event-ID": "1"}, "", ("2", "second")),
        ({}, "?after=1", ("2", "second")),
        ({"Last-Event-ID": "1"}, "?after=0", ("2", "second")),
        ({"Last-Event-ID": "no number"}, "?after=1", ("2", "second")),
        ({"Last-Event-ID": "500"}, "", ("1", "first")),
    ],
)
def test_a_caller_that_comes_back_goes_on_where_it_was(
    headers: dict[str, str], query: str, first: tuple[str, str], door: MemoryDoor
) -> None:
    """Who knows lines that this agent has not said yet talked to an earlier run of it."""
    door.say("first", "second")
    with (
        served(door) as server,
        requests.get(f"{server.url}/v1/log{query}", headers=headers, stream=True, timeout=20) as response,
    ):
        events = Events(response)
        events.next()
        assert events.next() == first


def test_a_silent_log_beats(door: MemoryDoor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_stream, "HEARTBEAT", 0.3)
    with served(door) as server, requests.get(f"{server.url}/v1/log", stream=True, timeout=20) as response:
        events = Events(response)
        assert [events.next() for _ in range(3)] == [(":", ": testwarden"), (":", ": alive"), (":", ": alive")]


def test_only_so_many_callers_follow_the_log_and_those_who_leave_make_room(door: MemoryDoor) -> None:
    with served(door) as server:
        url = f"{server.url}/v1/log"
        streams = [requests.get(url, stream=True, timeout=20) for _ in range(log_stream.MOST)]
        followers = [Events(stream) for stream in streams]
        for follower in followers:
            follower.next()
        assert _status(url) == 503
        for stream in streams:
            stream.close()
        wait_until(lambda: _status(url) == 200, "room for another caller")


def _status(url: str) -> int:
    with requests.get(url, stream=True, timeout=20) as response:
        return response.status_code


def test_a_script_that_trickles_in_is_given_up() -> None:
    fetcher = Fetcher("testwarden/test", Stop(), seconds=0.3)
    began = time.monotonic()
    with trickling() as url, pytest.raises(ScriptError, match="too long"):
        fetcher.fetch([script_wanted("scriptURL", url)])
    assert time.monotonic() - began < 20


def test_both_files_together_have_one_deadline() -> None:
    fetcher = Fetcher("testwarden/test", Stop(), seconds=0.5)
    with silent() as (url, _, answer), trickling() as slow:
        answer.set()
        with pytest.raises(ScriptError, match=r"ammoURL .* too long"):
            fetcher.fetch([script_wanted("scriptURL", url), script_wanted("ammoURL", slow)])


def test_a_name_is_resolved_once_and_only_what_was_looked_at_is_dialled() -> None:
    """A name that leads to a harmless address when it is checked and to another one later (DNS rebinding)."""
    answers = [["93.184.216.34", "169.254.169.254"]]

    def resolve(host: str, port: int, **_: object) -> list[tuple[object, ...]]:
        found = answers.pop()
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in found]

    fetcher = Fetcher("testwarden/test", Stop(), seconds=2, resolve=resolve)  # type: ignore[arg-type]
    with pytest.raises(ScriptError, match=r"scripts\.example leads to 169\.254\.169\.254"):
        fetcher.fetch([script_wanted("scriptURL", "http://scripts.example/script.js")])
    assert not answers


def test_the_agent_s_rooms_and_the_server_s_file_load_none_of_the_extra() -> None:
    look = (
        "import sys, testwarden.agent, testwarden.cli, testwarden.api.server\n"
        "extra = {'fastapi', 'starlette', 'uvicorn', 'prometheus_client', 'anyio'}\n"
        "sys.exit(', '.join(extra & set(sys.modules)) or None)"
    )
    done = subprocess.run([sys.executable, "-c", look], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_without_the_extra_it_says_what_to_install(door: MemoryDoor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    with pytest.raises(ApiRefused, match=r"pip install 'testwarden\[api\]'"):
        ApiServer(config_for(door.folder), door, pytest.fail).start()
