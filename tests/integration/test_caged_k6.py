"""The real k6 in the real cage: what a script can get at, and what the agent can get at inside."""

from __future__ import annotations

import base64
import hashlib
import http.client
import json
import re
import socket
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from integration.test_bubblewrap import PATIENT, Running, command, is_there, required
from standins.k6_binary import need_k6
from standins.raw_server import RawServer, raw_server, read_request, self_signed
from standins.scripted_http import ScriptedHttp, scripted_http
from standins.watching import wait_until
from testwarden.clients.bubblewrap import Bubblewrap
from testwarden.clients.cage import Confinement, Inside, Reach
from testwarden.clients.process import Command, Keeper, Why
from testwarden.clients.stop import Stop

REACH = Reach(("target.test", "*.target.test:80"))
QUIET = {"K6_NO_USAGE_REPORT": "true", "K6_AUTO_EXTENSION_RESOLUTION": "false"}
API_PORT = 6565


@pytest.fixture(params=range(2), ids=["k6", "k6-v1"])
def k6(request: pytest.FixtureRequest) -> Path:
    """The program; once each of those there are."""
    binaries = need_k6()
    if request.param >= len(binaries):
        pytest.skip("TESTWARDEN_TEST_K6_V1 is not set: only one k6 to test with")
    return binaries[request.param]


@pytest.fixture
def keeper(tmp_path: Path) -> Iterator[Keeper]:
    with Keeper(tmp_path / "processes") as running:
        yield running


@pytest.fixture
def server() -> Iterator[ScriptedHttp]:
    def talk(_method: str, path: str, _body: bytes) -> tuple[int, dict[str, str], bytes]:
        if path == "/away":
            return 302, {"Location": "http://169.254.169.254/latest/meta-data"}, b""
        return 200, {}, b"x" * 100

    with scripted_http(talk) as running:
        yield running


@pytest.fixture
def cage(keeper: Keeper, server: ScriptedHttp) -> Bubblewrap:
    names = dict.fromkeys(("target.test", "a.target.test"), ("127.0.0.1", int(server.url.rpartition(":")[2])))
    made = Bubblewrap(keeper, names)
    required(made.problem)
    return made


@pytest.fixture
def tls(tmp_path: Path) -> Iterator[RawServer]:
    def talk(sock: socket.socket) -> None:
        while read_request(sock):
            sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nsecret")

    with raw_server(talk, self_signed(tmp_path)[0]) as running:
        yield running


@pytest.fixture
def work(tmp_path: Path) -> Path:
    folder = tmp_path / "work"
    folder.mkdir()
    return folder


def run_of(inside: Inside, work: Path, k6: Path, *arguments: str, port: int = API_PORT) -> Command:
    """Return the command that runs `/files/script.js`."""
    argv = (str(k6), "run", "--quiet", f"--address=127.0.0.1:{port}", *arguments, "/files/script.js")
    return command(inside, work, *argv, env=QUIET)


def confinement(work: Path, k6: Path, script: str, reach: Reach | None = REACH) -> Confinement:
    path = work.parent / "script.js"
    path.write_text("import http from 'k6/http';\n" + script)
    return Confinement(work, {"script.js": path}, (k6,), reach)


SUMMARY = "export function handleSummary() { return { '/work/out.json': '{}' }; }\n"


def test_a_script_reaches_its_targets_and_nothing_else(
    keeper: Keeper, cage: Bubblewrap, work: Path, k6: Path, server: ScriptedHttp
) -> None:
    urls = {
        "target": "http://target.test/x",
        "below": "http://a.target.test/x",
        "port": "http://a.target.test:81/x",
        "other": "http://other.test/x",
        "address": "http://169.254.169.254/x",
        "tls": "https://other.test/x",
        "away": "http://target.test/away",
        "loopback": server.url,
    }
    lines = (
        f"console.log('seen {name} ' + http.get('{url}', {{ timeout: '5s' }}).status);" for name, url in urls.items()
    )
    script = SUMMARY + f"export default function () {{ {' '.join(lines)} }}"
    with cage.enter(confinement(work, k6, script)) as inside:
        ended = keeper.run(run_of(inside, work, k6, "--console-output=/work/said"), Stop(), PATIENT)
        assert ended.exit_code == 0, ended
    seen = {name: int(status) for name, status in re.findall(r"seen (\w+) (\d+)", (work / "said").read_text())}
    assert (work / "out.json").exists()
    assert seen == {
        "target": 200,
        "below": 200,
        "port": 403,
        "other": 403,
        "address": 403,
        "tls": 0,  # no tunnel
        "away": 403,  # where the redirect leads
        "loopback": 0,  # k6 asks no proxy for loopback, and inside nobody listens there
    }
    assert inside.refusals == 5
    assert inside.refused == tuple(
        f"{place}: it is not one of the targets"
        for place in ("a.target.test:81", "other.test:80", "169.254.169.254:80", "other.test:443")
    )


def test_a_script_speaks_tls_with_its_target_itself(keeper: Keeper, tls: RawServer, work: Path, k6: Path) -> None:
    cage = Bubblewrap(keeper, {"target.test": ("127.0.0.1", tls.port)})
    required(cage.problem)
    fetch = "export default function () { if (http.get('https://target.test/x').body !== 'secret') { throw 'no'; } }"
    counted = "thresholds: { http_reqs: ['count==3'], iterations: ['count==3'] }"
    options = f"export const options = {{ iterations: 3, insecureSkipTLSVerify: true, {counted} }};\n"
    with cage.enter(confinement(work, k6, options + fetch)) as inside:
        ended = keeper.run(run_of(inside, work, k6), Stop(), PATIENT)
        assert (ended.exit_code, inside.refusals, inside.moved > 1000) == (0, 0, True), ended
    assert "no" not in ended.stderr
    assert tls.accepted == 1


FOLLOWING = "http.get('https://target.test/x', { redirects: 100000 });"
TALKING = (
    "ws.connect('wss://target.test/x', {}, (s) => s.on('open', () => { for (let i = 0; i < 999; i++) s.send('a'); }));"
)
CLEAR = (
    "ws.connect('ws://target.test/x', {}, (s) => s.on('open', () => { for (let i = 0; i < 999; i++) s.send('a'); }));"
)
TWENTY = (
    "import ws from 'k6/ws'; export const options = { insecureSkipTLSVerify: true, scenarios: { a: "
    "{ executor: 'constant-vus', vus: 20, duration: '5s', gracefulStop: '0s' } } };\n"
)
LIMITED = replace(REACH, rate=20)


class Counting:
    """What a server does that sends everybody round in circles, or takes messages of one letter; and when."""

    def __init__(self) -> None:
        self.times: list[float] = []

    def talk(self, sock: socket.socket) -> None:
        while asked := read_request(sock):
            self.times.append(time.monotonic())
            key = re.search(rb"(?i)sec-websocket-key: *(\S+)", asked)
            if key is None:
                sock.sendall(b"HTTP/1.1 302 Found\r\nLocation: /x\r\nContent-Length: 0\r\n\r\n")
                continue
            magic = key[1] + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
            accept = base64.b64encode(hashlib.sha1(magic).digest())  # noqa: S324 - RFC 6455 §4.2.2 wants it
            upgrade = b"HTTP/1.1 101 x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: "
            sock.sendall(upgrade + accept + b"\r\n\r\n")
            while sock.recv(7):  # a frame with one letter of a client
                self.times.append(time.monotonic())

    def most_in_a_second(self) -> int:
        return max(len([one for one in self.times if first <= one < first + 1]) for first in self.times)


@pytest.mark.parametrize("loop", [FOLLOWING, TALKING], ids=["redirects", "wss"])
def test_the_rate_holds_within_tunnels_whatever_a_script_does_there(
    keeper: Keeper, tmp_path: Path, work: Path, k6: Path, loop: str
) -> None:
    counting = Counting()
    with raw_server(counting.talk, self_signed(tmp_path)[0]) as server:
        cage = Bubblewrap(keeper, {"target.test": ("127.0.0.1", server.port)})
        required(cage.problem)
        script = f"{TWENTY} export default function () {{ {loop} }}"
        with cage.enter(confinement(work, k6, script, LIMITED)) as inside:
            ended = keeper.run(run_of(inside, work, k6, "--rps=20"), Stop(), PATIENT)
            assert (ended.exit_code, inside.refusals) == (0, 0), ended
    assert len(counting.times) > 40
    assert counting.most_in_a_second() <= 20 + 2 + 3  # the rate, its tenth, and what a busy machine piles up


def test_a_websocket_in_clear_is_refused_where_there_is_a_rate(
    keeper: Keeper, tmp_path: Path, work: Path, k6: Path
) -> None:
    counting = Counting()
    with raw_server(counting.talk) as server:
        cage = Bubblewrap(keeper, {"target.test": ("127.0.0.1", server.port)})
        required(cage.problem)
        script = f"{TWENTY} export default function () {{ {CLEAR} }}"
        with cage.enter(confinement(work, k6, script, LIMITED)) as inside:
            ended = keeper.run(run_of(inside, work, k6), Stop(), PATIENT)
            assert inside.refusals > 0, ended
            assert "has to be TLS" in inside.refused[0]
    assert counting.times == []


def test_a_script_that_opens_what_is_not_its_own_does_not_start(
    keeper: Keeper, cage: Bubblewrap, work: Path, k6: Path
) -> None:
    for path in ("/etc/passwd", str(work.parent / "processes"), "/proc/1/root/etc/passwd"):
        with cage.enter(confinement(work, k6, f"open('{path}'); export default function () {{}}")) as inside:
            ended = keeper.run(run_of(inside, work, k6), Stop(), PATIENT)
        assert ended.exit_code == 107
        assert "couldn't be found" in ended.stderr or "no such file" in ended.stderr, ended


def test_a_script_writes_into_its_folder_only(keeper: Keeper, cage: Bubblewrap, work: Path, k6: Path) -> None:
    script = "export default function () {} export function handleSummary() { return { '/work/mine': 'x', '/files/x': 'x' }; }"
    with cage.enter(confinement(work, k6, script)) as inside:
        ended = keeper.run(run_of(inside, work, k6), Stop(), PATIENT)
    assert "could not open '/files/x'" in ended.stderr, ended
    assert (work / "mine").read_text() == "x"


def status_of(inside: Inside, port: int = API_PORT) -> Any:
    """Ask k6's REST API how it is."""
    client = http.client.HTTPConnection("localhost", port)
    client.sock = inside.connect(port)
    try:
        client.request("GET", "/v1/status")
        return json.loads(client.getresponse().read())["data"]["attributes"]
    finally:
        client.close()


FOR_LONG = "export const options = { vus: 2, duration: '5m', teardownTimeout: '2m' };\n"
ASKING = "import { sleep } from 'k6'; export default function () { http.get('http://target.test/x'); sleep(0.2); }\n"
STUBBORN = "export function teardown() { sleep(100); }\n"


@pytest.mark.parametrize("networked", [False, True], ids=["closed", "open"])
def test_its_rest_api_is_reached_and_a_term_ends_it_with_a_summary(
    keeper: Keeper, cage: Bubblewrap, work: Path, k6: Path, networked: bool
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:  # the host's ports are everybody's
        port = free.getsockname()[1] if networked else API_PORT
    with cage.enter(confinement(work, k6, FOR_LONG + ASKING, None if networked else REACH)) as inside:
        running = Running(keeper, run_of(inside, work, k6, "--summary-export=/work/summary.json", port=port))
        wait_until(lambda: is_running(inside, port), "k6 runs")
        for _ in range(40):
            assert status_of(inside, port)["vus"] == 2
        running.stop.request("test", grace=PATIENT)
        ended = running.end()
    assert (ended.why, ended.exit_code) == (Why.STOPPED, 105)
    assert json.loads((work / "summary.json").read_text())["metrics"]["http_reqs"]["count"] > 0


def is_running(inside: Inside, port: int = API_PORT) -> bool:
    try:
        return bool(status_of(inside, port)["running"])
    except (OSError, http.client.HTTPException):
        return False


def test_a_second_term_ends_a_teardown_that_does_not(keeper: Keeper, cage: Bubblewrap, work: Path, k6: Path) -> None:
    marked = STUBBORN.replace("{ ", "{ console.log('teardown'); ", 1)
    with cage.enter(confinement(work, k6, FOR_LONG + ASKING + marked)) as inside:
        asked = run_of(inside, work, k6, "--console-output=/work/said")
        running = Running(keeper, asked)
        wait_until(lambda: is_running(inside), "k6 runs")
        running.stop.request("test", grace=PATIENT)
        is_there(work / "said")
        wait_until(lambda: "teardown" in (work / "said").read_text(), "teardown began")
        running.ask_again()
        assert running.end().exit_code == 105
