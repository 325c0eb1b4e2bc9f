"""Every route that orchestrators call, on a real server on loopback."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import requests

from standins.api_door import MemoryDoor, served
from standins.api_scripts import AMMO, FILES, METADATA, SCRIPT, script_server, silent
from testwarden.api import app
from testwarden.clients.k6_numbers import K6Numbers
from testwarden.model import FileSize, Outcome, TestType
from testwarden.running.own_runs import OwnTest

PATHS = ("start", "stop", "getTask", "getStatus")
PARAMS = ["-e", "RPS=2", "--vus", "1", "--out", "prometheus=port="]


@pytest.fixture
def door(tmp_path: Path) -> MemoryDoor:
    return MemoryDoor(tmp_path)


@pytest.fixture
def api(door: MemoryDoor) -> Iterator[str]:
    with served(door) as server:
        yield f"{server.url}/api/v1"


@pytest.fixture(scope="module")
def idle_door(tmp_path_factory: pytest.TempPathFactory) -> MemoryDoor:
    """The agent of `idle`, in which nothing may ever start."""
    return MemoryDoor(tmp_path_factory.mktemp("idle"))


@pytest.fixture(scope="module")
def idle(idle_door: MemoryDoor) -> Iterator[str]:
    """An API that the tests of a module share, because they change nothing."""
    with served(idle_door) as server:
        yield f"{server.url}/api/v1"


@pytest.fixture(scope="module")
def scripts() -> Iterator[str]:
    with script_server() as server:
        yield server.url


def ask(method: str, url: str, body: Any = None, **further: Any) -> Any:
    """Return the JSON of an answer, which is HTTP 200."""
    data = body if isinstance(body, str | bytes | None) else json.dumps(body)
    answer = requests.request(method, url, data=data, timeout=20, **further)
    assert answer.status_code == 200
    assert answer.headers["Content-Type"] == "application/json"
    return answer.json()


def start(api: str, scripts: str, **fields: Any) -> Any:
    wanted = {
        "scenarioTitle": "checkout",
        "scriptTitle": "buy",
        "scriptURL": f"{scripts}/script.js",
        "ammoURL": f"{scripts}/ammo.json",
        "params": PARAMS,
    }
    return ask("POST", f"{api}/start", {**wanted, **fields}, headers={"Content-Type": "application/json"})


def test_a_start_answers_with_the_task(api: str, scripts: str) -> None:
    answer = start(api, scripts)
    task = answer["task"]
    assert (answer["status"], answer["error"], answer["pid"]) == ("Success", "", 1)
    port = task["portPrometheus"]
    assert task == {
        "pid": 1,
        "scenarioTitle": "checkout",
        "scriptTitle": "buy",
        "scriptURL": f"{scripts}/script.js",
        "ammoURL": f"{scripts}/ammo.json",
        "scriptFileName": "script.js",
        "logFileName": "own-1.log",
        "k6ApiPort": "6601",
        "portPrometheus": port,
        "params": ["-e", "RPS=2", "--vus", "1", "--out", f"prometheus=port={port}"],
        "startTime": "2026-11-20T12:10:00+00:00",
    }
    assert 7000 <= int(port) < 9000


def test_the_agent_is_asked_for_an_own_k6_test_with_both_files(api: str, scripts: str, door: MemoryDoor) -> None:
    port = start(api, scripts)["task"]["portPrometheus"]
    test = door.runs[1].test
    files = dict(test.files)
    assert test.type is TestType.K6
    assert test.timeout is None, "as long as own tests may take"
    assert test.k6 is not None
    assert test.k6.targets is None
    assert test.k6.env == (("RPS", "2"),)
    assert test.k6.params == ("--vus", "1", "--out", f"prometheus=port={port}")
    assert files[test.k6.script.sha256] == SCRIPT.replace(b"alilo_load: {", b"checkout: {")
    assert test.k6.data is not None
    assert files[test.k6.data.sha256] == AMMO
    assert all(hashlib.sha256(content).hexdigest() == digest for digest, content in test.files)


def test_fields_that_are_null_or_missing_take_their_defaults(api: str, scripts: str, door: MemoryDoor) -> None:
    body = {"scriptURL": f"{scripts}/moved.js", "params": None, "ammoURL": "", "unknown": 1}
    assert ask("POST", f"{api}/start", body)["task"]["params"] == []
    test = door.runs[1].test
    assert test.k6 is not None
    assert test.k6.data is None


@pytest.mark.parametrize(
    ("field", "url", "why"),
    [
        ("scriptURL", "", "scriptURL is missing"),
        ("scriptURL", "/missing.js", "404"),
        ("scriptURL", "/big.js", "1048576 are allowed"),
        ("ammoURL", "/big.json", "33554432 are allowed"),
        ("scriptURL", "/packed.js", "encoded"),
        ("scriptURL", "/round.js", "redirects"),
        ("scriptURL", "/metadata.js", "169.254.169.254"),
        ("ammoURL", "/metadata.js", "169.254.169.254"),
        ("scriptURL", "/file.js", "not an http or https URL"),
        ("scriptURL", METADATA, "169.254.169.254"),
        ("scriptURL", "http://[::ffff:169.254.169.254]/", "169.254.169.254"),
        ("scriptURL", "http://[fe80::1]/", "fe80::1"),
        ("scriptURL", "file:///etc/passwd", "not an http or https URL"),
        ("scriptURL", "ftp://127.0.0.1/x", "not an http or https URL"),
        ("scriptURL", "http://user:password@127.0.0.1/x", "password"),
        ("scriptURL", "http://127.0.0.1:1/", "refused"),
        ("ammoURL", "no URL", "not an http or https URL"),
    ],
)
def test_a_file_that_cannot_be_had_is_said_and_nothing_starts(
    field: str, url: str, why: str, idle: str, scripts: str, idle_door: MemoryDoor
) -> None:
    answer = start(idle, scripts, **{field: f"{scripts}{url}" if url.startswith("/") else url})
    assert (answer["status"], answer["pid"], answer["task"]) == ("Error", 0, None)
    assert field in answer["error"]
    assert why in answer["error"]
    assert not idle_door.runs
    assert not idle_door.lent


def test_a_script_of_exactly_the_allowed_size_starts(api: str, scripts: str) -> None:
    assert start(api, scripts, scriptURL=f"{scripts}/largest.js")["status"] == "Success"
    assert len(FILES["/largest.js"][2]) == 1024 * 1024


def test_what_the_gate_refuses_is_told_in_its_words(api: str, scripts: str, door: MemoryDoor) -> None:
    door.refuse = "the kill switch is active: issue 7"
    assert start(api, scripts)["error"] == "refused: the kill switch is active: issue 7"
    assert not door.lent


def test_no_free_port_is_told(api: str, scripts: str, door: MemoryDoor) -> None:
    door.ports = 0
    answer = start(api, scripts)
    assert answer["status"] == "Error"
    assert "no free port" in answer["error"]


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(
    "body", [b"{", b"[]", b'"x"', b"\xff", b'{"pid":"x","params":1}', b"[" * 30000, b'{"pid":-1,"params":[1]}']
)
def test_a_body_that_is_not_understood_is_told(path: str, body: bytes, idle: str) -> None:
    answer = ask("POST", f"{idle}/{path}", body)
    assert answer["status"] == "Error"
    assert answer["error"]


@pytest.mark.parametrize("path", PATHS)
def test_no_body_is_told(path: str, idle: str) -> None:
    answer = ask("POST", f"{idle}/{path}")
    assert answer["status"] == "Error"
    assert "pid" in answer["error"] or "scriptURL" in answer["error"]


def test_a_stop_stops_the_run_and_a_second_one_says_that_it_has_ended(api: str, scripts: str, door: MemoryDoor) -> None:
    start(api, scripts)
    assert ask("POST", f"{api}/stop", {"pid": 1}) == {"status": "Success", "error": "", "pid": 1}
    assert door.cancelled == ["own-1"]
    again = ask("POST", f"{api}/stop", {"pid": 1})
    assert again["status"] == "Error"
    assert "the operator stopped it" in again["error"]
    assert door.cancelled == ["own-1"]


@pytest.mark.parametrize("path", ["stop", "getTask", "getStatus"])
def test_a_run_that_is_not_there_is_told(path: str, idle: str) -> None:
    answer = ask("POST", f"{idle}/{path}", {"pid": 7})
    assert (answer["status"], answer["error"]) == ("Error", "there is no such task")


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_all_tasks_are_those_that_run(method: str, api: str, scripts: str, door: MemoryDoor) -> None:
    assert ask(method, f"{api}/getAllTasks", "{}") == {"status": "Success", "error": "", "tasks": {}}
    tasks = [start(api, scripts)["task"] for _ in range(3)]
    door.start_own(OwnTest(TestType.DOWNLOAD, filesize=FileSize.TINY))
    door.end(2)
    assert ask(method, f"{api}/getAllTasks")["tasks"] == {"1": tasks[0], "3": tasks[2]}


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_one_task_is_asked_for_by_a_body_also_of_a_get(method: str, api: str, scripts: str, door: MemoryDoor) -> None:
    task = start(api, scripts)["task"]
    door.end(1)
    assert ask(method, f"{api}/getTask", {"pid": 1}) == {"status": "Success", "error": "", "tasks": {"1": task}}


def test_a_task_that_the_orchestrator_did_not_start_is_shown_too(api: str, scripts: str, door: MemoryDoor) -> None:
    requests.post(
        f"{api.removesuffix('/api/v1')}/v1/runs", json={"type": "k6", "k6": {"script": {"text": "x"}}}, timeout=20
    )
    assert ask("GET", f"{api}/getAllTasks")["tasks"]["1"]["portPrometheus"] == ""


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_the_status_has_the_numbers_as_strings(method: str, api: str, scripts: str, door: MemoryDoor) -> None:
    task = start(api, scripts)["task"]
    before = ask(method, f"{api}/getStatus", {"pid": 1})
    assert (before["status"], before["error"], before["task"]) == ("Success", "", task)
    assert set(before["metrics"].values()) == {"0"}
    door.measured[1] = K6Numbers(3, 3, 100, 9.96, 0.5, 0.01, 0.02, None, 0.1, 500, 9000)
    assert ask(method, f"{api}/getStatus", {"pid": 1})["metrics"] == {
        "rps": "10.0",
        "rt90p": "10.0",
        "rt95p": "20.0",
        "rt99p": "0",
        "rtMax": "100.0",
        "failed": "50",
        "vus": "3",
        "sent": "500",
        "received": "9000",
    }


@pytest.mark.parametrize(
    ("outcome", "why"), [(Outcome.OK, "ended, ok"), (Outcome.CLIENT_ERROR, "client_error: exit 107")]
)
def test_the_status_of_a_run_that_has_ended_is_an_error_with_its_last_numbers(
    outcome: Outcome, why: str, api: str, scripts: str, door: MemoryDoor
) -> None:
    start(api, scripts)
    door.measured[1] = K6Numbers(vus=3)
    door.end(1, outcome, "" if outcome is Outcome.OK else "exit 107")
    answer = ask("POST", f"{api}/getStatus", {"pid": 1})
    assert answer["status"] == "Error"
    assert "the process is defunct" in answer["error"]
    assert why in answer["error"]
    assert (answer["task"]["pid"], answer["metrics"]["vus"]) == (1, "3")


def test_logs_are_text_by_number_or_name_from_either_end(api: str, scripts: str, door: MemoryDoor) -> None:
    name = start(api, scripts)["task"]["logFileName"]
    (door.folder / "log-1").write_text("first" + "x" * 5000 + "läst")
    for asked in ("pid=1", f"name={name}"):
        answer = requests.get(f"{api}/getTaskLogs?{asked}", timeout=20)
        assert answer.headers["Content-Type"] == "text/plain; charset=utf-8"
        assert len(answer.content.decode()) == 4000
        assert requests.get(f"{api}/getTaskLogs?{asked}&len=4", timeout=20).text == "läst"
        assert requests.get(f"{api}/getTaskLogs?{asked}&len=5&head=true", timeout=20).text == "first"
        assert requests.get(f"{api}/getTaskLogs?{asked}&len=4&head=false", timeout=20).text == "läst"


def test_a_log_that_has_nothing_yet_is_empty(api: str, scripts: str) -> None:
    start(api, scripts)
    answer = requests.get(f"{api}/getTaskLogs?pid=1", timeout=20)
    assert (answer.status_code, answer.text) == (200, "")


@pytest.fixture(scope="module")
def with_log(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """An API with one run, and the run's log."""
    door = MemoryDoor(tmp_path_factory.mktemp("log"))
    with served(door) as server:
        door.start_own(OwnTest(TestType.K6))
        path = door.folder / "log-1"
        path.write_text("the log")
        yield f"{server.url}/api/v1/getTaskLogs", path


@pytest.mark.parametrize(
    "name",
    [
        "../../etc/passwd",
        "../../../../../../../../etc/passwd",
        "/etc/passwd",
        "..%2f..%2fetc%2fpasswd",
        "%2e%2e%2f%2e%2e%2fetc%2fpasswd",
        "..%252f..%252fetc%252fpasswd",
        "..%5c..%5cetc%5cpasswd",
        "%c0%ae%c0%ae/etc/passwd",
        "own-1.log/../../../../../../etc/passwd",
        "own-1.log%00",
        "own-1.log%0a",
        "./own-1.log",
        "log-1",
        "file:///etc/passwd",
        "%",
    ],
)
def test_no_name_of_a_log_leads_anywhere_else(name: str, with_log: tuple[str, Path]) -> None:
    answer = requests.get(f"{with_log[0]}?name={name}", timeout=20)
    assert (answer.status_code, answer.json()["status"]) == (200, "Error")


def test_the_path_of_a_log_is_not_its_name(with_log: tuple[str, Path]) -> None:
    url, path = with_log
    assert requests.get(f"{url}?name=own-1.log", timeout=20).text == "the log"
    assert requests.get(f"{url}?name={quote(str(path))}", timeout=20).json()["status"] == "Error"


@pytest.mark.parametrize("query", ["", "pid=x", "pid=7", "pid=1&len=-1", "pid=1&len=x", f"pid={'9' * 5000}", "pid=0"])
def test_a_log_that_cannot_be_found_is_told(query: str, with_log: tuple[str, Path]) -> None:
    answer = requests.get(f"{with_log[0]}?{query}", timeout=20)
    assert (answer.status_code, answer.json()["status"]) == (200, "Error")


def test_a_saved_script_is_where_the_answer_says_and_can_be_started(api: str, door: MemoryDoor) -> None:
    answer = ask("POST", f"{api}/saveScript", SCRIPT, headers={"Content-Type": "text/plain"})
    path = Path(answer["pathScript"])
    assert (answer["status"], answer["error"], path.read_bytes()) == ("Success", "", SCRIPT)
    assert path.parent == door.folder / "scripts"
    body = {"type": "k6", "k6": {"script": {"saved": path.name}}}
    run = requests.post(f"{api.removesuffix('/api/v1')}/v1/runs", json=body, timeout=20)
    assert run.status_code == 201
    assert SCRIPT in dict(door.runs[1].test.files).values()


def test_an_empty_script_is_not_saved(api: str) -> None:
    assert ask("POST", f"{api}/saveScript", b"")["status"] == "Error"


def test_the_machine_s_load_is_whole_percents(api: str, scripts: str, door: MemoryDoor) -> None:
    door.ports = 4
    start(api, scripts)
    answer = ask("GET", f"{api}/agent/metrics")
    used = answer["agentUtilization"]
    assert (answer["status"], answer["error"], used["portsUsed"]) == ("Success", "", 25)
    assert all(isinstance(value, int) and 0 <= value <= 100 for value in used.values())


def test_prometheus_reads_the_metrics(api: str, scripts: str) -> None:
    start(api, scripts)
    answer = requests.get(f"{api.removesuffix('/api/v1')}/metrics", timeout=20)
    assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
    assert "testwarden_own_runs_started_total 1.0" in answer.text


def test_ports_go_back_when_their_run_has_ended(api: str, scripts: str, door: MemoryDoor) -> None:
    first = start(api, scripts)["task"]["portPrometheus"]
    second = start(api, scripts)["task"]["portPrometheus"]
    assert first != second
    door.end(1)
    start(api, scripts)
    assert len(door.lent) == 2
    del door.runs[2]
    ask("GET", f"{api}/agent/metrics")
    assert len(door.lent) == 1


def test_fifty_starts_at_once_wait_for_no_other(api: str, scripts: str, door: MemoryDoor) -> None:
    """Fifty callers whose scripts do not come leave the API free for one whose script does."""
    answers: list[Any] = []
    with silent() as (url, asked, answer):
        threads = [
            threading.Thread(target=lambda: answers.append(start(api, scripts, scriptURL=url, ammoURL="")))
            for _ in range(50)
        ]
        for thread in threads:
            thread.start()
        assert asked.wait(20)
        assert start(api, scripts)["status"] == "Success"
        assert requests.get(f"{api.removesuffix('/api/v1')}/v1/status", timeout=20).ok
        assert len(door.runs) == 1
        answer.set()
        for thread in threads:
            thread.join()
    assert sorted(one["pid"] for one in answers) == list(range(2, 52))
    assert len({one["task"]["portPrometheus"] for one in answers}) == 50


def test_a_stop_does_not_wait_for_starts_whose_scripts_do_not_come(
    door: MemoryDoor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(app, "STARTS_AT_ONCE", 1)
    answers: list[Any] = []
    with silent() as (url, asked, answer), served(door) as server:
        api = f"{server.url}/api/v1"
        starting = threading.Thread(target=lambda: answers.append(ask("POST", f"{api}/start", {"scriptURL": url})))
        starting.start()
        assert asked.wait(20)
        sent = {"type": "k6", "k6": {"script": {"text": "x"}}}
        assert requests.post(f"{server.url}/v1/runs", json=sent, timeout=20).status_code == 201
        assert ask("POST", f"{api}/stop", {"pid": 1})["status"] == "Success"
        assert requests.get(f"{server.url}/metrics", timeout=20).ok
        assert not answers, "the start still waits"
        answer.set()
        starting.join()
    assert [one["pid"] for one in answers] == [2]


@pytest.mark.parametrize("path", ["script", "data"])
def test_a_start_of_ours_that_waits_for_its_files_does_not_hold_up_a_stop_either(
    path: str, door: MemoryDoor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(app, "CALLS_AT_ONCE", 1)
    answers: list[int] = []
    with silent() as (url, asked, answer), served(door) as server:
        k6 = {"script": {"url": url}} if path == "script" else {"script": {"text": "x"}, "data_url": url}
        sent = {"type": "k6", "k6": k6}
        starting = threading.Thread(
            target=lambda: answers.append(requests.post(f"{server.url}/v1/runs", json=sent, timeout=20).status_code)
        )
        starting.start()
        assert asked.wait(20)
        assert ask("POST", f"{server.url}/api/v1/stop", {"pid": 1})["error"] == "there is no such task"
        assert not answers, "the start still waits"
        answer.set()
        starting.join()
    assert answers == [201]


@pytest.mark.parametrize(
    ("params", "why"),
    [
        (["--out", "json=/etc/x"], "--out json=/etc/x is refused"),
        (["a"], "'a' is not one that is passed on"),
        (["--vus"], "lacks its value"),
        (["-e", "A=x\0y"], "the variable A cannot contain a NUL"),
        (["-e", "a-b=1"], "'a-b' cannot be the name of a variable"),
        (["--tag", "a=\0"], "an argument for k6 cannot contain a NUL"),
    ],
)
def test_arguments_that_k6_would_not_get_start_nothing(
    params: list[str], why: str, idle: str, scripts: str, idle_door: MemoryDoor
) -> None:
    answer = start(idle, scripts, params=params)
    assert (answer["status"], answer["pid"]) == ("Error", 0)
    assert why in answer["error"]
    assert not idle_door.runs
    assert not idle_door.lent


def test_a_title_is_one_line_wherever_it_may_be_logged(api: str, scripts: str, door: MemoryDoor) -> None:
    start(api, scripts, scenarioTitle="a\n21-11-2026 00:00:00 - ERROR", scriptTitle="b\x1b[2J")
    assert door.runs[1].test.title == "a 21-11-2026 00:00:00 - ERROR / b?[2J"


def test_routes_take_only_their_methods(api: str) -> None:
    for method, path in (("GET", "start"), ("GET", "stop"), ("DELETE", "getTask"), ("POST", "agent/metrics")):
        assert requests.request(method, f"{api}/{path}", timeout=20).status_code == 405
