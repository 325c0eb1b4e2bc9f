"""The HTTP API of a real agent: what orchestrators call, with real k6, and the status page in a real browser."""

from __future__ import annotations

import http.server
import json
import shutil
import signal
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from standins.agent_process import READY, Agent, Place
from standins.browser import chromium
from standins.control_folder import task
from standins.free_port import free_port
from standins.k6_binary import need_k6
from standins.watching import wait_until

SCRIPT = b"""
import http from "k6/http";
import { sleep } from "k6";
export const options = { scenarios: { alilo_load: { executor: "constant-vus", vus: 1, duration: "100s" } } };
export default function () { http.get(__ENV.TARGET); sleep(1 / Number(__ENV.RPS)); }
"""
MANY = 50


class Orchestrator:
    """Calls one agent the way that orchestrators do, and serves them scripts and something to load."""

    def __init__(self, url: str, files: str) -> None:
        self.url = url
        self.files = files

    def call(self, verb: str, route: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        answer = requests.request(verb, f"{self.url}{route}", json=body, timeout=30)
        assert answer.status_code < 500, answer.text
        return dict(answer.json())

    def start(self, *params: str) -> dict[str, Any]:
        body = {
            "scenarioTitle": "browse",
            "scriptTitle": "shop",
            "scriptURL": f"{self.files}/script.js",
            "ammoURL": "",
            "params": ["-e", f"TARGET={self.files}/nine", "-e", "RPS=10", *params],
        }
        return self.call("POST", "/api/v1/start", body)

    def metrics(self, pid: int) -> dict[str, str]:
        return dict(self.call("GET", "/api/v1/getStatus", {"pid": pid})["metrics"])

    def running(self) -> list[str]:
        return [entry["task"] for entry in self.call("GET", "/v1/status")["running"]]


class _Files(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        body = SCRIPT if self.path == "/script.js" else b"nine byte"
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Nobody reads it."""


@pytest.fixture(scope="module")
def files() -> Iterator[str]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Files)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def place(tmp_path: Path) -> Place:
    made = Place(tmp_path)
    made.write(task("001", "Download", filesize="small"))
    made.settings["API__LISTEN"] = f"127.0.0.1:{free_port()}"
    return made


@pytest.fixture
def k6_place(place: Place) -> Place:
    (binary, *_) = need_k6()
    place.bin.mkdir()
    shutil.copy(binary, place.bin / "k6")
    return place


def up(agent: Agent, place: Place, files: str) -> Orchestrator:
    agent.wait_for(READY)
    return Orchestrator(f"http://{place.settings['API__LISTEN']}", files)


def test_an_orchestrator_starts_watches_and_stops_k6(k6_place: Place, files: str) -> None:
    with k6_place.start("run", "--demo") as agent:
        caller = up(agent, k6_place, files)
        started = caller.start("--vus", "2", "--duration", "100s")
        assert (started["status"], started["error"]) == ("Success", "")
        pid = started["pid"]
        wait_until(lambda: float(caller.metrics(pid)["received"]) > 0, "k6 makes requests", 30)
        metrics = caller.metrics(pid)
        assert (metrics["vus"], metrics["failed"]) == ("2", "0")
        assert float(metrics["rps"]) > 0
        (own,) = caller.call("GET", "/v1/status")["running"]
        assert (own["task"], own["origin"]) == (f"own-{pid}", "own")
        api = requests.get(f"http://127.0.0.1:{started['task']['k6ApiPort']}/v1/status", timeout=10).json()
        assert api["data"]["attributes"]["vus"] == 2
        assert caller.call("POST", "/api/v1/stop", {"pid": pid})["status"] == "Success"
        wait_until(lambda: not caller.running(), "the run is stopped", 30)
        log = requests.get(f"{caller.url}/api/v1/getTaskLogs?pid={pid}&len=200000", timeout=10).text
        assert "http_reqs" in log, "the summary is kept after a stop"
        ending = agent.end(signal.SIGTERM)
    assert (ending.code, ending.left) == (0, []), ending.output


def test_fifty_at_once_have_ports_of_their_own_and_all_end_with_the_agent(k6_place: Place, files: str) -> None:
    with k6_place.start("run", "--demo") as agent:
        caller = up(agent, k6_place, files)
        tasks = [caller.start()["task"] for _ in range(MANY)]
        ports = [{one[kind] for one in tasks} for kind in ("k6ApiPort", "portPrometheus")]
        assert [len(kind) for kind in ports] == [MANY, MANY]
        assert len(ports[0] | ports[1]) == 2 * MANY, "no port is lent for both"
        assert "" not in ports[0] | ports[1]
        wait_until(
            lambda: sum(caller.metrics(one["pid"])["vus"] == "1" for one in tasks) == MANY, "all of them run", 90
        )
        assert len(caller.running()) == MANY
        agent.family()
        ending = agent.end(signal.SIGTERM)
    assert (ending.code, ending.left) == (0, []), ending.output


def test_the_kill_switch_stops_and_refuses_what_the_api_starts(k6_place: Place, files: str) -> None:
    with k6_place.start("run", "--demo") as agent:
        caller = up(agent, k6_place, files)
        pid = caller.start()["pid"]
        wait_until(lambda: float(caller.metrics(pid)["rps"]) > 0, "k6 makes requests", 30)
        (k6_place.folder / "test-files" / "kill-switch").touch()
        wait_until(lambda: not caller.running(), "the run is stopped", 30)
        refused = caller.start()
        assert refused["status"] == "Error"
        assert "the kill switch is active" in refused["error"]
        assert requests.get(f"{caller.url}/readyz", timeout=10).status_code == 503
        assert requests.get(f"{caller.url}/healthz", timeout=10).status_code == 200
        assert agent.end(signal.SIGTERM).left == []


def test_tests_of_other_types_start_as_own_ones(place: Place, files: str) -> None:
    with place.start("run", "--demo") as agent:
        caller = up(agent, place, files)
        run = caller.call("POST", "/v1/runs", {"type": "quote", "filesize": "tiny", "title": "by hand"})
        agent.wait_for(r"task own-1 worker 1: quote tiny: ok")
        wait_until(lambda: not caller.call("GET", f"/v1/runs/{run['number']}")["running"], "it is over", 30)
        assert caller.call("GET", f"/v1/runs/{run['number']}")["outcome"] == "ok"
        assert caller.call("GET", "/v1/budget")["own"]["quote"]["used"] == 1
        lacking = caller.call("POST", "/v1/runs", {"type": "quote", "filesize": "medium"})
        wait_until(lambda: not caller.call("GET", f"/v1/runs/{lacking['number']}")["running"], "it is over", 30)
        told = caller.call("GET", f"/v1/runs/{lacking['number']}")
        assert (told["outcome"], told["reason"]) == (None, "the catalogue has no medium entry any more")
        assert agent.end(signal.SIGTERM).code == 0


def test_a_task_of_the_control_file_is_paused_and_resumed_from_outside(place: Place, files: str) -> None:
    with place.start("run", "--demo") as agent:
        caller = up(agent, place, files)
        assert caller.call("POST", "/v1/pause") == {"paused": True}
        agent.wait_for("paused by the operator")
        refused = caller.call("POST", "/v1/runs", {"type": "quote", "filesize": "tiny"})
        assert "paused by the operator" in json.dumps(refused)
        assert caller.call("POST", "/v1/resume") == {"paused": False}
        assert agent.end(signal.SIGTERM).code == 0


def test_the_page_of_a_real_agent_shows_what_runs_and_stops_it(k6_place: Place, files: str, tmp_path: Path) -> None:
    with k6_place.start("run", "--demo") as agent:
        caller = up(agent, k6_place, files)
        pid = caller.start("--duration", "100s")["pid"]
        wait_until(lambda: float(caller.metrics(pid)["rps"]) > 0, "k6 makes requests", 30)
        with chromium(tmp_path / "profile") as browser:
            browser.open(f"{caller.url}/")
            browser.see(f"own-{pid}")
            browser.press("Pause")
            agent.wait_for("paused by the operator")
            browser.see("Resume")
            browser.picture("agent-running-k6")
            browser.press(f"Stop task own-{pid}")
            agent.wait_for(f"task own-{pid}: asked to stop by the operator")
            wait_until(lambda: not caller.running(), "the run is stopped", 30)
            browser.until(lambda: not browser.has_button(f"Stop task own-{pid}"), "the page forgets it")
            assert browser.console() == []
            browser.leave()
        assert agent.end(signal.SIGTERM).left == []


def test_where_the_api_may_not_listen_the_agent_does_not_start(place: Place) -> None:
    done = place.call("run", "--demo", API__LISTEN="0.0.0.0:8888")
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "can be reached from other machines" in done.stderr
    assert not place.cache.exists()


def test_a_port_that_is_taken_is_said_and_ends_the_start(place: Place) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        done = place.call("run", "--demo", API__LISTEN=f"127.0.0.1:{taken.getsockname()[1]}")
    assert done.returncode == 1
    assert "cannot be listened on: Address already in use" in done.stdout
