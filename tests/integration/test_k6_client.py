"""Real k6 through real processes: on loopback, without a cage; and in the real one."""

from __future__ import annotations

import hashlib
import random
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from standins.k6_binary import need_k6
from standins.raw_server import raw_server, self_signed
from standins.scripted_http import ScriptedHttp, scripted_http
from standins.watching import wait_until
from testwarden.clients import k6 as k6_module
from testwarden.clients import k6_watch
from testwarden.clients.bubblewrap import Bubblewrap
from testwarden.clients.cage import Cage
from testwarden.clients.client import Order
from testwarden.clients.k6 import K6Client
from testwarden.clients.k6_load import K6Bounds
from testwarden.clients.k6_numbers import Connect, K6Numbers, K6Silent, numbers_of
from testwarden.clients.open_cage import OpenCage
from testwarden.clients.ports import PortPool
from testwarden.clients.process import Keeper
from testwarden.clients.stop import Stop
from testwarden.embedded.store import EmbeddedStore
from testwarden.model import MIB, AttemptResult, Figure, K6Options, Origin, Outcome, ScriptFile, Task, TestType
from testwarden.workloads.k6 import K6Workload, public_bounds

SHIPPED = Path(__file__).parents[2] / "test-files"
TIGHT = K6Bounds(most_vus=3, most_seconds=36.0, most_rate=20)
"""Virtual users, and room for runs of 6 s."""

HTTP = "import http from 'k6/http'; import { check, sleep } from 'k6';\n"
GET = HTTP + "export default function () { check(http.get(__ENV.URL), { ok: (r) => r.status === 200 }); sleep(0.1); }\n"


@pytest.fixture(params=range(2), ids=["k6", "k6-v1"])
def k6(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A folder with the program as `k6`; once with each of those there are."""
    binaries = need_k6()
    if request.param >= len(binaries):
        pytest.skip("TESTWARDEN_TEST_K6_V1 is not set: only one k6 to test with")
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "k6").symlink_to(binaries[request.param])
    return folder


@pytest.fixture
def keeper(tmp_path: Path) -> Iterator[Keeper]:
    with Keeper(tmp_path / "processes") as running:
        yield running


@pytest.fixture
def server() -> Iterator[ScriptedHttp]:
    with scripted_http(lambda _method, path, _body: (500 if path == "/bad" else 200, {}, b"x" * 100)) as running:
        yield running


class Lab:
    """Runs scripts, one attempt each."""

    def __init__(self, keeper: Keeper, k6: Path, folder: Path, cage: Cage | None = None) -> None:
        self.client = K6Client(keeper, bin_dir=k6, search_path="")
        self.folder = folder / "attempt"
        self.folder.mkdir()
        self.cage = cage or OpenCage()
        self.ports = PortPool(23000, 23999)
        self.seen: list[K6Numbers] = []
        self.connects: list[Connect] = []
        self.log = folder / "k6.log"
        self.before: Callable[[], None] = lambda: None

    def run(
        self,
        script: str,
        *,
        env: dict[str, str] | None = None,
        data: bytes | None = None,
        bounds: K6Bounds = TIGHT,
        stop: Stop | None = None,
        timeout: float = 120.0,
        origin: Origin = Origin.PUBLIC,
        port: int | None = None,
        **options: Any,
    ) -> AttemptResult:
        content = script.encode()
        files = {_digest(one): one for one in (content, data) if one is not None}
        asked = K6Options(
            ScriptFile("k6/script.js", _digest(content)),
            None if data is None else ScriptFile("data.csv", _digest(data)),
            env=tuple((env or {}).items()),
            **options,
        )
        task = Task("001", "", 5, 0, TestType.K6, k6=asked, origin=origin)
        workload = K6Workload(
            *(self.client, self.cage, files, {origin: bounds}),
            self.ports.lend if port is None else lambda: nullcontext(port),
            progress=lambda _, numbers: self.seen.append(numbers),
            started=self._started,
            log=self.log,
        )
        item = workload.pick(task, random.Random(1))
        return workload.attempt(item, Order(self.folder, timeout, 0), stop or Stop())

    def _started(self, _task: Task, connect: Connect) -> None:
        self.connects.append(connect)
        self.before()

    def numbers(self) -> K6Numbers:
        """Wait until the run has come to the end of an iteration with a request, and return its numbers."""
        found: list[K6Numbers] = []

        def asked() -> bool:
            try:
                found.append(numbers_of(self.connects[-1]))
            except (K6Silent, IndexError):
                return False
            return found[-1].sent > 0

        wait_until(asked, "a request made")
        return found[-1]


@pytest.fixture
def lab(keeper: Keeper, k6: Path, tmp_path: Path) -> Lab:
    return Lab(keeper, k6, tmp_path)


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def figures(result: AttemptResult) -> dict[str, Figure]:
    return dict(result.figures)


@contextmanager
def in_background(work: Callable[[], None]) -> Iterator[None]:
    """While inside, a thread works; its failure is the test's."""
    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        thread.join(60)
        assert not thread.is_alive()


# --- runs


def test_the_shipped_script_downloads_from_the_embedded_network_and_its_figures_are_complete(lab: Lab) -> None:
    catalogue = (SHIPPED / "01-download-files.csv").read_bytes()
    with EmbeddedStore() as store:
        result = lab.run(
            (SHIPPED / "k6" / "gateway-download.js").read_text("utf-8"),
            env={"GATEWAY": store.url, "PAUSE": "0"},
            data=catalogue,
            vus=3,
            duration=2.0,
        )
    found = figures(result)
    assert (result.outcome, result.reason) == (Outcome.OK, "")
    assert (found["vus_max"], found["exit_code"], found["exit_meaning"], found["thresholds_ok"]) == (3, 0, "ok", True)
    assert (found["requests_failed_rate"], found["checks_failed"]) == (0.0, 0)
    assert isinstance(found["requests"], int)
    assert found["checks_passed"] == 2 * found["requests"] > 0
    assert 0 < float(found["duration_p50"]) <= float(found["duration_p99"]) <= float(found["duration_max"]) < 60
    assert result.bytes == int(found["data_received"]) + int(found["data_sent"]) > 1024
    assert result.bytes_known
    assert lab.client.name in ("k6-1", "k6-2")
    assert "file_whole" in lab.log.read_text("utf-8")


@pytest.mark.parametrize(
    ("env", "words"),
    [({}, "GATEWAY must be"), ({"GATEWAY": "http://127.0.0.1:1", "SIZE": "odd"}, "SIZE must be one of tiny, small")],
)
def test_the_shipped_script_says_what_is_wrong_before_it_begins(lab: Lab, env: dict[str, str], words: str) -> None:
    script = (SHIPPED / "k6" / "gateway-download.js").read_text("utf-8")
    result = lab.run(script, env=env, data=(SHIPPED / "01-download-files.csv").read_bytes())
    assert (result.outcome, figures(result)["exit_code"]) == (Outcome.CLIENT_ERROR, 107)
    assert words in result.reason
    assert str(lab.folder) not in result.reason


def test_the_shipped_script_fails_its_thresholds_where_files_are_missing(lab: Lab, server: ScriptedHttp) -> None:
    script = (SHIPPED / "k6" / "gateway-download.js").read_text("utf-8")
    catalogue = b"fileSize,name,address,md5\ntiny,a,seed-1-99,0\n"  # what the server has is one byte longer
    result = lab.run(script, env={"GATEWAY": server.url, "PAUSE": "0"}, data=catalogue, vus=1, iterations=3)
    assert result.outcome is Outcome.THRESHOLDS_FAILED
    assert (figures(result)["exit_code"], figures(result)["thresholds_ok"]) == (99, False)
    assert (figures(result)["checks_passed"], figures(result)["checks_failed"]) == (3, 3)


@pytest.mark.parametrize("load", [{"duration": 1.0}, {"iterations": 3}])
@pytest.mark.parametrize(
    ("options", "users"),
    [
        ("{}", 1),
        ("{ vus: 3 }", 3),
        ('{ scenarios: { a: { executor: "constant-vus", vus: 4, duration: "9s" } } }', 1),
    ],
)
def test_how_long_or_how_often_alone_takes_the_script_s_users_or_else_one_as_k6_does(
    lab: Lab, options: str, users: int, load: dict[str, Any]
) -> None:
    script = f'import {{ sleep }} from "k6"; export const options = {options}; export default () => sleep(0.1);'
    result = lab.run(script, **load)
    assert (result.outcome, figures(result)["vus_max"]) == (Outcome.OK, users), result.reason


def test_a_script_is_told_nothing_of_the_environment(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GITHUB_TOKEN", "the operator's")
    script = "export default function () { throw new Error(`has ${Object.keys(__ENV).sort()}`); }"
    result = lab.run(script, env={"A": "1"}, vus=1, iterations=1)
    assert result.outcome is Outcome.OK  # to k6 an exception inside an iteration is no failure
    assert "has A\\n" in lab.log.read_text("utf-8")


@pytest.mark.parametrize(
    ("script", "outcome", "code"),
    [
        ("throw new Error('boo');", Outcome.CLIENT_ERROR, 107),
        ("export default function( {", Outcome.CLIENT_ERROR, 107),
        (
            "import exec from 'k6/execution'; export default () => { exec.test.abort('enough'); }",
            Outcome.THRESHOLDS_FAILED,
            108,
        ),
        (
            "import exec from 'k6/execution'; export default () => { exec.test.fail('bad'); }",
            Outcome.THRESHOLDS_FAILED,
            110,
        ),
        ("export function setup() { throw new Error('s'); } export default () => {}", Outcome.CLIENT_ERROR, 107),
        (
            "import { sleep } from 'k6'; export const options = { setupTimeout: '100ms' };"
            "export function setup() { sleep(9); } export default () => {}",
            Outcome.CLIENT_ERROR,
            100,
        ),
        ("import nothing from 'k6/x/nothing'; export default () => {}", Outcome.CLIENT_ERROR, None),
    ],
)
def test_how_a_script_goes_wrong_is_told(lab: Lab, script: str, outcome: Outcome, code: int | None) -> None:
    result = lab.run(script, vus=1, iterations=1, duration=5.0)
    if code is None:
        assert result.outcome is not Outcome.OK
        return
    assert (result.outcome, figures(result)["exit_code"]) == (outcome, code)
    assert f"(exit {code})" in result.reason


def test_a_script_that_never_gets_through_its_beginning_is_ended(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(k6_module, "INSPECT_PATIENCE", 1.0)
    result = lab.run("while (true) {}")
    assert result.outcome is Outcome.CLIENT_ERROR
    assert "k6 inspect did not end" in result.reason


def test_a_port_that_another_program_has_is_told_and_can_be_tried_again(lab: Lab) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        result = lab.run(
            GET, env={"URL": "http://127.0.0.1:1"}, vus=1, iterations=1, duration=1.0, port=other.getsockname()[1]
        )
    assert (result.outcome, result.mendable, figures(result)["exit_code"]) == (Outcome.CLIENT_ERROR, True, 106)
    assert "port of k6's REST API" in result.reason


# --- while it runs, and stopped


def test_its_numbers_come_while_it_runs_and_a_stop_leaves_its_summary(
    lab: Lab, server: ScriptedHttp, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(k6_watch, "EARLY", 0.05)
    stop, asked = Stop(), list[K6Numbers]()

    def watch_and_stop() -> None:
        asked.append(lab.numbers())
        wait_until(lambda: any(numbers.requests for numbers in lab.seen), "numbers handed on")
        stop.request("cool-down", 20.0)

    with in_background(watch_and_stop):
        result = lab.run(GET, env={"URL": server.url}, vus=2, duration=6.0, stop=stop)
    assert (asked[0].vus, asked[0].vus_max, asked[0].failed) == (2, 2, 0.0)
    assert asked[0].rt_max is not None
    assert asked[0].sent > 0
    assert (result.outcome, result.reason) == (Outcome.CLIENT_KILLED, "cool-down")
    found = figures(result)
    assert (found["exit_code"], found["exit_meaning"]) == (105, "stopped by the agent")
    assert int(found["requests"]) > 0
    assert "duration_p99" in found  # only the summary has it
    assert result.bytes_known


HANGS = HTTP + (
    "export const options = { vus: 1, duration: '5s', teardownTimeout: '60s' };"
    "export default function () { http.get(__ENV.URL); sleep(0.05); }"
    "export function teardown() { console.log('tearing down'); sleep(50); }"
)


def test_a_teardown_that_hangs_is_ended_by_the_second_term_and_the_last_numbers_stay(
    lab: Lab, server: ScriptedHttp, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(k6_watch, "EARLY", 0.05)
    stop = Stop()

    def watch_and_stop() -> None:
        wait_until(lambda: any(numbers.requests for numbers in lab.seen), "numbers handed on")
        stop.request("kill switch", 4.0)

    with in_background(watch_and_stop):
        result = lab.run(HANGS, env={"URL": server.url}, stop=stop)
    assert "tearing down" in lab.log.read_text("utf-8")
    assert figures(result)["exit_code"] == 105  # by itself, at half of the patience: KILL would be -9
    assert int(figures(result)["requests"]) > 0
    assert "duration_p99" not in figures(result)
    assert result.reason == "kill switch"
    assert stop.kills == 0


def test_the_time_limit_ends_a_run_whose_setup_takes_all_the_time(lab: Lab) -> None:
    scenario = "{ executor: 'constant-vus', vus: 1, duration: '1s', gracefulStop: '0s' }"
    script = HTTP + (
        "export function setup() { sleep(50); } export default function () {}\n"
        f"export const options = {{ scenarios: {{ a: {scenario} }} }};"
    )
    result = lab.run(script, timeout=2.0)
    assert (result.outcome, result.reason, result.mendable) == (Outcome.CLIENT_KILLED, "time limit of 2 s", False)
    assert figures(result)["exit_meaning"] == "stopped by the agent at the time limit"


def silent(_: Connect) -> K6Numbers:
    raise K6Silent("too many metrics")


@pytest.mark.parametrize("readable", [True, False])
def test_a_script_that_makes_more_users_than_it_said_is_stopped_even_if_its_metrics_cannot_be_read(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, readable: bool
) -> None:
    monkeypatch.setattr(k6_watch, "EARLY", 0.05)
    if not readable:
        monkeypatch.setattr(k6_watch, "numbers_of", silent)
    script = (
        "import { sleep } from 'k6'; export default function () { sleep(1); }"
        "export const options = { scenarios: { a: {"
        " executor: 'constant-vus', duration: '6s', vus: Number(open(__ENV.AMMO_URL)) } } };"
    )

    def lie() -> None:
        data = lab.folder / "k6-files" / "data-data.csv"
        data.unlink()
        data.write_text("9")

    lab.before = lie
    result = lab.run(script, data=b"2")
    assert result.outcome is Outcome.CLIENT_KILLED
    assert "virtual users, 3 are allowed; it had said otherwise" in result.reason
    assert readable or not lab.seen


@pytest.mark.parametrize(("bounds", "protocol"), [(TIGHT, "http/1.1"), (replace(TIGHT, most_rate=None), "h2")])
def test_where_requests_are_counted_k6_speaks_no_http_2(
    lab: Lab, tmp_path: Path, bounds: K6Bounds, protocol: str
) -> None:
    context, spoken = self_signed(tmp_path)[0], set()
    context.set_alpn_protocols(["h2", "http/1.1"])

    def talk(sock: socket.socket) -> None:
        assert isinstance(sock, ssl.SSLSocket)
        spoken.add(sock.selected_alpn_protocol() or "http/1.1")

    with raw_server(talk, context) as server:
        script = HTTP + "export default function () { http.get(__ENV.URL); }"
        options = "export const options = { insecureSkipTLSVerify: true };"
        lab.run(script + options, env={"URL": f"https://127.0.0.1:{server.port}/"}, bounds=bounds)
    assert spoken == {protocol}


# --- clamped and refused

LOOP = "export default function () { sleep(0.1); }"
SCENARIO = "{ executor: 'constant-vus', vus: 30, duration: '1h' }"
CLAMPED = {
    "options": f"export const options = {{ vus: 30, duration: '1h' }}; {LOOP}",
    "stages": f"export const options = {{ stages: [{{ duration: '1h', target: 30 }}] }}; {LOOP}",
    "scenarios": f"export const options = {{ scenarios: {{ a: {SCENARIO} }} }}; {LOOP}",
    "arrival": "export const options = { scenarios: { a: { executor: 'constant-arrival-rate', rate: 50, duration: '1h',"
    f" preAllocatedVUs: 30 }} }} }}; {LOOP}",
}


@pytest.mark.parametrize("script", CLAMPED.values(), ids=CLAMPED)
def test_a_load_that_is_too_much_is_clamped_and_k6_obeys(lab: Lab, script: str) -> None:
    bounds = K6Bounds(most_vus=3, most_seconds=31.0, most_rate=20)
    result = lab.run(HTTP + script, bounds=bounds)
    assert result.outcome is Outcome.OK
    assert "clamped: virtual users 30→3, seconds 36" in result.reason
    assert figures(result)["vus_max"] == 3
    assert result.exec_time < 31.0


def test_iterations_are_not_multiplied_by_clamping(lab: Lab, server: ScriptedHttp) -> None:
    scenario = "{ executor: 'per-vu-iterations', vus: 6, iterations: 2, maxDuration: '1h' }"
    result = lab.run(GET + f"export const options = {{ scenarios: {{ a: {scenario} }} }};", env={"URL": server.url})
    assert (figures(result)["vus_max"], figures(result)["requests"]) == (3, 12)
    assert len(server.asked) == 12


def test_the_rate_is_held_whatever_the_script_says(lab: Lab, server: ScriptedHttp) -> None:
    script = HTTP + "export const options = { rps: 1000 }; export default function () { http.get(__ENV.URL); }"
    result = lab.run(script, env={"URL": server.url}, vus=3, duration=2.0)
    assert "requests a second 1000→20" in result.reason
    assert len(server.asked) <= 20 * 3 + 3


def test_scenarios_without_a_default_function_are_refused_with_both_numbers(lab: Lab) -> None:
    scenario = "{ executor: 'constant-vus', vus: 30, duration: '1h', exec: 'go' }"
    script = f"export const options = {{ scenarios: {{ a: {scenario} }} }}; export function go() {{}}"
    result = lab.run(script)
    assert result.outcome is Outcome.CLIENT_ERROR
    assert "30 virtual users and 3 are allowed" in result.reason
    assert "3630 seconds and 36 are allowed" in result.reason
    assert "it cannot be clamped" in result.reason
    assert "'default' not found" in result.reason


def test_scenarios_within_the_bounds_run_as_they_are(lab: Lab, server: ScriptedHttp) -> None:
    script = GET.replace("export default function ()", "export function go()") + (
        "export const options = { scenarios: { a: { executor: 'shared-iterations', vus: 2, iterations: 5, exec: 'go',"
        " maxDuration: '5s' } } };"
    )
    result = lab.run(script, env={"URL": server.url})
    assert (result.outcome, result.reason, figures(result)["requests"]) == (Outcome.OK, "", 5)


@pytest.mark.parametrize("script", [GET, GET + f"export const options = {{ scenarios: {{ a: {SCENARIO} }} }};"])
def test_virtual_users_of_a_task_count_with_every_k6(lab: Lab, server: ScriptedHttp, script: str) -> None:
    bounds = K6Bounds(most_vus=30, most_seconds=640.0)
    result = lab.run(script, env={"URL": server.url}, bounds=bounds, vus=2)
    assert (figures(result)["vus_max"], figures(result)["requests"]) == (2, 2)


def test_twenty_users_fit_into_the_memory_of_a_public_run_and_a_hoarder_does_not(
    lab: Lab, server: ScriptedHttp
) -> None:
    bounds = public_bounds(20, 600.0, 20)
    result = lab.run(GET, env={"URL": server.url}, bounds=bounds, vus=20, duration=2.0)
    assert (result.outcome, figures(result)["vus_max"]) == (Outcome.OK, 20)
    hoard = "export default function () { const a = []; for (;;) { a.push(new Uint8Array(8 << 20).fill(1)); } }"
    bounds = replace(bounds, most_memory=400 * MIB)
    result = lab.run(hoard, bounds=bounds, vus=1, iterations=1)
    assert (result.outcome, figures(result)["exit_code"]) == (Outcome.CLIENT_ERROR, 2)
    assert "out of memory" in result.reason


# --- in the cage


@pytest.fixture
def caged(keeper: Keeper, k6: Path, tmp_path: Path) -> Iterator[tuple[Lab, EmbeddedStore]]:
    with EmbeddedStore() as store:
        port = int(store.url.rpartition(":")[2])
        cage = Bubblewrap(keeper, names={"gateway.test": ("127.0.0.1", port)})
        if cage.problem:
            pytest.skip(cage.problem)  # the cage's own tests fail in CI where there is none
        yield Lab(keeper, k6, tmp_path, cage), store


def test_the_shipped_script_downloads_through_the_cage(
    caged: tuple[Lab, EmbeddedStore], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(k6_watch, "EARLY", 0.05)
    lab, _ = caged
    result = lab.run(
        (SHIPPED / "k6" / "gateway-download.js").read_text("utf-8"),
        env={"GATEWAY": "http://gateway.test", "PAUSE": "0"},
        data=(SHIPPED / "01-download-files.csv").read_bytes(),
        bounds=public_bounds(20, 600.0, 20),
        vus=2,
        duration=2.0,
        targets=("gateway.test",),
    )
    assert (result.outcome, result.reason) == (Outcome.OK, "")
    assert int(figures(result)["requests"]) > 5
    assert figures(result)["requests_failed_rate"] == 0.0
    assert any(numbers.requests for numbers in lab.seen)


def test_what_a_caged_script_tries_beside_its_targets_is_refused_and_told(caged: tuple[Lab, EmbeddedStore]) -> None:
    lab, store = caged
    script = HTTP + (
        "export default function () { http.get('http://elsewhere.test/'); "
        f"http.get('{store.url}/seed-1-9/x'); http.get('http://gateway.test/seed-1-9/x'); }}"
    )
    result = lab.run(
        script, bounds=public_bounds(20, 600.0, 20), vus=1, iterations=1, duration=9.0, targets=("gateway.test",)
    )
    found = figures(result)
    assert (found["requests"], found["targets_refused"]) == (3, 1)
    assert "the first to elsewhere.test" in result.reason
    assert float(found["requests_failed_rate"]) == pytest.approx(2 / 3)


def test_load_is_clamped_in_the_cage_too_and_a_stop_reaches_k6(caged: tuple[Lab, EmbeddedStore]) -> None:
    lab, _ = caged
    stop = Stop()

    def stop_it() -> None:
        lab.numbers()
        stop.request("cool-down", 20.0)

    script = HTTP + "export default function () { http.get('http://gateway.test/seed-1-9/x'); sleep(0.1); }"
    with in_background(stop_it):
        result = lab.run(script, vus=30, duration=3600.0, stop=stop, targets=("gateway.test",))
    assert result.outcome is Outcome.CLIENT_KILLED
    assert result.reason == "cool-down; clamped: virtual users 30→3, seconds 3630→36"
    assert (figures(result)["vus_max"], figures(result)["exit_code"]) == (3, 105)
    assert "duration_p99" in figures(result)
