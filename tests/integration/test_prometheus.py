"""What Prometheus reads, against the real promtool and the real Prometheus; and the little server that it reads from."""

from __future__ import annotations

import http.client
import math
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from standins.api_door import MemoryDoor, served
from standins.prometheus_tools import complaints, running_prometheus
from standins.samples import a_sample
from testwarden import __version__
from testwarden.api.metrics import AgentMetrics
from testwarden.clients.k6_numbers import K6Numbers
from testwarden.model import K6Options, Outcome, ScriptFile, TestType
from testwarden.prometheus import MOST_CALLERS, PrometheusRefused, PrometheusServer, build_metrics
from testwarden.running.own_runs import OwnTest


@pytest.fixture
def door(tmp_path: Path) -> MemoryDoor:
    return MemoryDoor(tmp_path)


@contextmanager
def serving(metrics: AgentMetrics, listen: str = "127.0.0.1:0") -> Iterator[str]:
    """While inside, the server answers; its `host:port`. A server that dies fails the test."""
    deaths: list[BaseException] = []
    server = PrometheusServer(listen, metrics, deaths.append)
    server.start()
    try:
        yield server.url.removeprefix("http://").removesuffix("/metrics")
    finally:
        server.stop()
    assert not deaths


def get(target: str, path: str = "/metrics", method: str = "GET", **headers: str) -> tuple[int, str]:
    connection = http.client.HTTPConnection(target, timeout=20)
    connection.request(method, path, headers=headers)
    answer = connection.getresponse()
    text = answer.read().decode()
    connection.close()
    return answer.status, text


def busy(door: MemoryDoor) -> AgentMetrics:
    """An agent of which everything can be scraped."""
    door.start_own(OwnTest(TestType.K6, "a title", k6=K6Options(ScriptFile("script.js", "0" * 64))))
    door.measured[1] = K6Numbers(vus=3, requests=200, rps=20.5, failed=0.01, rt95p=0.25, sent=10, received=20)
    metrics = AgentMetrics(door)
    for outcome in Outcome:
        metrics.note(a_sample(outcome=outcome))
    metrics.note(a_sample(type=TestType.K6, filesize=None, exec_time=math.nan))
    return metrics


def test_promtool_has_nothing_against_names_and_types(door: MemoryDoor) -> None:
    text = busy(door).exposition()
    assert b"testwarden_attempt_duration_seconds_bucket" in text
    assert b"testwarden_k6_requests_per_second" in text
    assert complaints(text) == ""
    assert complaints(text.replace(b"testwarden_attempts_total", b"testwarden_attempts")) != ""


def test_a_real_prometheus_scrapes_what_the_agent_did(door: MemoryDoor, tmp_path: Path) -> None:
    metrics = busy(door)
    (tmp_path / "prometheus").mkdir()
    with serving(metrics) as target, running_prometheus(tmp_path / "prometheus", target) as prometheus:
        prometheus.wait_for("up", 1)
        prometheus.wait_for('sum(testwarden_attempts_total{type="download"})', len(Outcome))
        prometheus.wait_for('testwarden_kill_switch{state="clear"}', 1)
        prometheus.wait_for('testwarden_budget_attempts_limit{type="download"}', 360)
        prometheus.wait_for(f'testwarden_build_info{{version="{__version__}"}}', 1)
        prometheus.wait_for(
            'histogram_quantile(0.5, testwarden_attempt_duration_seconds_bucket{type="download"})', 1.75
        )
        metrics.note(a_sample(outcome=Outcome.OK))
        prometheus.wait_for('testwarden_attempts_total{type="download", outcome="ok"}', 2)
        kinds = prometheus.ask("metadata")
    assert kinds["testwarden_attempts_total"][0]["type"] == "counter"
    assert kinds["testwarden_attempt_duration_seconds"][0]["type"] == "histogram"


def test_the_api_and_the_little_server_tell_the_same(door: MemoryDoor) -> None:
    metrics = busy(door)
    with serving(metrics) as target, served(door, metrics=metrics) as api:
        own = get(target)
        theirs = get(api.url.removeprefix("http://"))
    assert own == theirs
    assert 'testwarden_attempts_total{filesize="tiny",outcome="ok",type="download"} 1.0' in own[1]


@pytest.mark.parametrize("listen", ["127.0.0.1:0", "127.9.9.9:0", "localhost:0"])
def test_it_answers_on_loopback(door: MemoryDoor, listen: str) -> None:
    with serving(AgentMetrics(door), listen) as target:
        assert get(target)[0] == 200


@pytest.mark.parametrize(
    "listen",
    ["0.0.0.0:0", "[::]:0", "192.0.2.1:9464", "example.org:9464", "127.0.0.1:99999", "127.0.0.1", ":1", "127.0.0.1:x"],
)
def test_it_listens_nowhere_else(door: MemoryDoor, listen: str) -> None:
    with pytest.raises(PrometheusRefused, match="allowed is a loopback address with a port, as 127"):
        PrometheusServer(listen, AgentMetrics(door), pytest.fail).start()


def test_a_port_that_is_taken_is_said(door: MemoryDoor) -> None:
    with serving(AgentMetrics(door)) as target, pytest.raises(PrometheusRefused, match="Address already in use"):
        PrometheusServer(target, AgentMetrics(door), pytest.fail).start()


def test_only_a_get_of_metrics_by_a_name_of_this_machine_is_answered(door: MemoryDoor) -> None:
    with serving(AgentMetrics(door)) as target:
        assert get(target, "/metrics?name=x")[0] == 200
        assert get(target, "/")[0] == 404
        assert get(target, method="POST")[0] == 501
        assert get(target, Host="localhost:9464")[0] == 200
        assert get(target, Host="[::1]:9464")[0] == 200
        for foreign in ("evil.example", "evil.example:9464", "192.0.2.1:9464", "127.0.0.1.evil.example", ""):
            assert get(target, Host=foreign)[0] == 403


def test_callers_beyond_the_places_are_hung_up_on(door: MemoryDoor) -> None:
    with serving(AgentMetrics(door)) as target:
        host, port = target.split(":")
        silent = [socket.create_connection((host, int(port))) for _ in range(MOST_CALLERS)]
        try:
            # Each of them was accepted before this one, and holds a thread.
            with socket.create_connection((host, int(port)), timeout=20) as late:
                assert late.recv(1) == b""
            silent[0].setblocking(False)
            with pytest.raises(BlockingIOError):  # It came first, and nobody has lost patience with it yet.
                silent[0].recv(1)
        finally:
            for one in silent:
                one.close()


def test_a_silent_caller_is_hung_up_on_and_gives_its_place_back(
    door: MemoryDoor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("testwarden.prometheus._Handler.timeout", 0.1)
    with serving(AgentMetrics(door)) as target:
        host, port = target.split(":")
        for _ in range(MOST_CALLERS + 1):
            with socket.create_connection((host, int(port)), timeout=20) as silent:
                assert silent.recv(1) == b""
        assert get(target)[0] == 200


def test_an_agent_that_cannot_be_asked_breaks_one_scrape_only(
    door: MemoryDoor, caplog: pytest.LogCaptureFixture
) -> None:
    with serving(AgentMetrics(door)) as target:
        door.broken = RuntimeError("broken")
        with pytest.raises((http.client.HTTPException, OSError)):
            get(target)
        door.broken = None
        assert get(target)[0] == 200
    assert "got no answer" in caplog.text


def test_a_stop_does_not_wait_for_a_silent_caller_and_ends_the_thread(door: MemoryDoor) -> None:
    server = PrometheusServer("127.0.0.1:0", AgentMetrics(door), pytest.fail)
    server.start()
    host, port = server.url.removeprefix("http://").removesuffix("/metrics").split(":")
    with socket.create_connection((host, int(port))):
        server.stop()
        server.stop()
        assert "prometheus" not in {thread.name for thread in threading.enumerate()}
        with pytest.raises(OSError, match="refused"):
            socket.create_connection((host, int(port))).close()


def test_the_server_s_file_loads_none_of_the_extra() -> None:
    look = (
        "import sys, testwarden.prometheus\n"
        "sys.exit(', '.join({'fastapi', 'uvicorn', 'prometheus_client'} & set(sys.modules)) or None)"
    )
    done = subprocess.run([sys.executable, "-c", look], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_it_needs_nothing_of_the_api_s_packages_but_the_client_library() -> None:
    block = "import sys; sys.modules.update(dict.fromkeys(['fastapi', 'starlette', 'uvicorn', 'anyio']))\n"
    look = f"{block}import testwarden.prometheus as p; p.build_metrics(None)"
    done = subprocess.run([sys.executable, "-c", look], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_without_the_client_library_it_says_what_to_install(door: MemoryDoor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "testwarden.api.metrics", raising=False)
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    with pytest.raises(PrometheusRefused, match=r"pip install 'testwarden\[prometheus\]'"):
        build_metrics(door)
