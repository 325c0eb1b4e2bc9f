"""Our own routes, on a real server on loopback."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from standins.api_door import MemoryDoor, served
from standins.api_scripts import AMMO, METADATA, SCRIPT, script_server
from testwarden.errors import LedgerError
from testwarden.model import FileSize, K6Options, Outcome, ScriptFile, TestType


@pytest.fixture
def door(tmp_path: Path) -> MemoryDoor:
    return MemoryDoor(tmp_path)


@pytest.fixture
def api(door: MemoryDoor) -> Iterator[str]:
    with served(door) as server:
        yield server.url


@pytest.fixture(scope="module")
def idle_door(tmp_path_factory: pytest.TempPathFactory) -> MemoryDoor:
    """The agent of `idle`, in which nothing may ever start."""
    return MemoryDoor(tmp_path_factory.mktemp("idle"))


@pytest.fixture(scope="module")
def idle(idle_door: MemoryDoor) -> Iterator[str]:
    """An API that the tests of a module share, because they change nothing."""
    with served(idle_door) as server:
        yield server.url


def get(url: str, status: int = 200) -> Any:
    answer = requests.get(url, timeout=20)
    assert answer.status_code == status
    return answer.json()


def post(url: str, body: Any = None, status: int = 200) -> Any:
    answer = requests.post(url, json=body, timeout=20)
    assert answer.status_code == status
    return answer.json()


def test_the_state_of_the_agent_is_shown_as_it_is(api: str, door: MemoryDoor) -> None:
    snapshot = dict(door.snapshot())
    assert get(f"{api}/v1/status") == snapshot
    assert get(f"{api}/v1/budget") == snapshot["budgets"]
    assert get(f"{api}/v1/kill-switch") == snapshot["kill_switch"]
    assert get(f"{api}/v1/samples") == {"samples": snapshot["recent"]}
    assert get(f"{api}/v1/limits") == {"own.at_once": 100}
    assert get(f"{api}/v1/tasks") == {"tasks": list(door.tasks())}


def test_a_task_is_started_and_stopped(api: str, door: MemoryDoor) -> None:
    assert post(f"{api}/v1/tasks/001/start") == {"decision": "allowed", "reason": "within the limits"}
    assert post(f"{api}/v1/tasks/001/cancel") == {"cancelled": True}
    assert (door.started, door.cancelled) == (["001"], ["001"])


def test_a_refused_start_is_a_conflict_with_the_gate_s_words(api: str, door: MemoryDoor) -> None:
    door.refuse = "it is paused"
    said = {"decision": "refused", "reason": "it is paused", "error": "it is paused"}
    assert post(f"{api}/v1/tasks/001/start", status=409) == said
    assert post(f"{api}/v1/runs", {"type": "download"}, status=409) == said


def test_what_is_not_there_is_not_found(api: str, door: MemoryDoor) -> None:
    for path in ("tasks/002/start", "tasks/002/cancel", "runs/1/cancel"):
        assert "error" in post(f"{api}/v1/{path}", status=404)
    for path in ("v1/runs/1", "v1/runs/1/log", "v1/nothing", "page/nothing.js"):
        assert "error" in get(f"{api}/{path}", status=404)
    assert not door.started


def test_a_pause_lasts_until_it_is_ended(api: str, door: MemoryDoor) -> None:
    assert post(f"{api}/v1/pause") == {"paused": True}
    assert door.paused
    assert post(f"{api}/v1/resume") == {"paused": False}
    assert not door.paused


def test_a_test_of_any_type_is_started(api: str, door: MemoryDoor) -> None:
    run = post(f"{api}/v1/runs", {"type": "upload", "filesize": "small", "timeout": 60, "title": "mine"}, status=201)
    assert (run["number"], run["ref"], run["type"], run["running"]) == (1, "own-1", "upload", True)
    test = door.runs[1].test
    assert (test.type, test.filesize, test.timeout, test.title) == (TestType.UPLOAD, FileSize.SMALL, 60, "mine")
    assert get(f"{api}/v1/runs/1") == run
    assert get(f"{api}/v1/runs") == {"runs": [run]}


def test_a_k6_test_is_started_with_all_that_was_said(api: str, door: MemoryDoor) -> None:
    with script_server() as scripts:
        asked = {
            "script": {"url": f"{scripts.url}/script.js"},
            "data_url": f"{scripts.url}/ammo.json",
            "vus": 3,
            "duration": 1.5,
            "iterations": 10,
            "rate": 5,
            "targets": ["Gateway.Example"],
            "env": {"A": "b"},
            "params": ["--quiet"],
        }
        post(f"{api}/v1/runs", {"type": "k6", "k6": asked}, status=201)
    options = door.runs[1].test.k6
    assert options is not None
    assert options.data is not None
    assert options == K6Options(
        script=options.script,
        data=options.data,
        vus=3,
        duration=1.5,
        iterations=10,
        rate=5,
        targets=("gateway.example",),
        env=(("A", "b"),),
        params=("--quiet",),
    )
    files = dict(door.runs[1].test.files)
    assert (files[options.script.sha256], files[options.data.sha256]) == (SCRIPT, AMMO)


def test_a_script_can_be_sent_along_and_may_reach_anything(api: str, door: MemoryDoor) -> None:
    post(f"{api}/v1/runs", {"type": "k6", "k6": {"script": {"text": "1"}}}, status=201)
    options = door.runs[1].test.k6
    assert options is not None
    digest = "6b86b273ff34fce19d6b804eff5a3f5747ada4eaa22f1d49c01e52ddb7875b4b"
    assert options == K6Options(ScriptFile("script.js", digest), targets=None)


TEXT = {"text": "x"}


@pytest.mark.parametrize(
    ("body", "why"),
    [
        ({}, "type"),
        ({"type": "nothing"}, "nothing"),
        ({"type": "k6"}, "k6"),
        ({"type": "download", "k6": {"script": TEXT}}, "k6"),
        ({"type": "download", "filesize": "enormous"}, "'tiny', 'small'"),
        ({"type": "download", "timeout": 0}, "timeout"),
        ({"type": "download", "unknown": 1}, "unknown"),
        ({"type": "k6", "k6": {}}, "script"),
        ({"type": "k6", "k6": {"script": {"text": "x", "url": "y"}}}, "script"),
        ({"type": "k6", "k6": {"script": {"saved": "../../etc/passwd"}}}, "saved"),
        ({"type": "k6", "k6": {"script": TEXT, "vus": 0}}, "vus"),
        ([], "body"),
    ],
)
def test_what_is_not_understood_is_refused_with_a_sentence(
    body: Any, why: str, idle: str, idle_door: MemoryDoor
) -> None:
    answer = post(f"{idle}/v1/runs", body, status=422)
    assert set(answer) == {"error"}
    assert why in answer["error"]
    assert not idle_door.runs


@pytest.mark.parametrize(
    ("k6", "why"),
    [
        ({"script": {"url": METADATA}}, "169.254.169.254"),
        ({"script": TEXT, "data_url": METADATA}, "169.254.169.254"),
        ({"script": {"saved": "saved-0123456789abcdef.js"}}, "no saved script"),
    ],
)
def test_a_script_that_cannot_be_had_is_a_refusal(k6: Any, why: str, idle: str, idle_door: MemoryDoor) -> None:
    answer = post(f"{idle}/v1/runs", {"type": "k6", "k6": k6}, status=409)
    assert why in answer["error"]
    assert not idle_door.runs


@pytest.mark.parametrize(
    ("k6", "why"),
    [
        ({"params": ["--out", "json=/etc/x"]}, "--out json=/etc/x is refused"),
        ({"params": ["a"]}, "'a' is not one that is passed on"),
        ({"targets": ["not a host!"]}, "'not a host!' is neither a host name"),
        ({"targets": ["gateway.example:0"]}, "a port is from 1 to 65535"),
        ({"env": {"": "x"}}, "'' cannot be the name of a variable"),
        ({"env": {"A=B": "x"}}, "'A=B' cannot be the name of a variable"),
        ({"env": {"A": "x\0y"}}, "the variable A cannot contain a NUL"),
    ],
)
def test_options_that_mean_nothing_are_a_refusal(k6: Any, why: str, idle: str, idle_door: MemoryDoor) -> None:
    answer = post(f"{idle}/v1/runs", {"type": "k6", "k6": {"script": TEXT, **k6}}, status=409)
    assert why in answer["error"]
    assert not idle_door.runs


@pytest.mark.parametrize("kind", [{"type": "quote"}, {"type": "k6", "k6": {"script": TEXT}}])
def test_a_title_is_one_line_wherever_it_may_be_logged(kind: Any, api: str, door: MemoryDoor) -> None:
    post(f"{api}/v1/runs", {**kind, "title": "evil\n21-11-2026 00:00:00 - ERROR\x1b[2J"}, status=201)
    assert door.runs[1].test.title == "evil 21-11-2026 00:00:00 - ERROR?[2J"


def test_every_file_size_can_be_asked_for(idle: str) -> None:
    document = get(f"{idle}/openapi.json")
    sizes = document["components"]["schemas"]["FileAsked"]["properties"]["filesize"]["enum"]
    assert sizes == [size.label for size in FileSize]


def test_an_own_test_is_stopped_and_shows_how_it_ended(api: str, door: MemoryDoor) -> None:
    post(f"{api}/v1/runs", {"type": "download"}, status=201)
    assert post(f"{api}/v1/runs/1/cancel") == {"cancelled": True}
    run = get(f"{api}/v1/runs/1")
    assert (run["running"], run["outcome"]) == (False, Outcome.CLIENT_KILLED.value)
    assert "error" in post(f"{api}/v1/runs/1/cancel", status=404)


def test_the_log_of_a_run_is_text(api: str, door: MemoryDoor) -> None:
    post(f"{api}/v1/runs", {"type": "k6", "k6": {"script": {"text": "x"}}}, status=201)
    (door.folder / "log-1").write_text("<script>first last")
    answer = requests.get(f"{api}/v1/runs/1/log?len=4", timeout=20)
    assert (answer.text, answer.headers["Content-Type"]) == ("last", "text/plain; charset=utf-8")
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert requests.get(f"{api}/v1/runs/1/log?len=8&head=true", timeout=20).text == "<script>"


def test_ready_says_why_nothing_can_start(api: str, door: MemoryDoor) -> None:
    assert get(f"{api}/readyz") == {"ready": True, "reason": ""}
    door.why_not = "the kill switch is active"
    assert get(f"{api}/readyz", status=503) == {"ready": False, "reason": "the kill switch is active"}
    assert get(f"{api}/healthz") == {"ok": True}


def test_what_the_agent_cannot_say_at_this_moment_is_unavailable(api: str, door: MemoryDoor) -> None:
    door.broken = LedgerError("the ledger is locked")
    assert get(f"{api}/v1/status", status=503) == {"error": "the ledger is locked"}


def test_a_fault_of_ours_is_an_answer_and_a_line_in_the_log(
    api: str, door: MemoryDoor, caplog: pytest.LogCaptureFixture
) -> None:
    door.broken = RuntimeError("a secret detail")
    assert get(f"{api}/v1/status", status=500) == {"error": "the agent has a fault: RuntimeError"}
    assert [record.levelname for record in caplog.records] == ["ERROR"]


def test_the_page_and_its_files_come_from_here_and_say_so_to_browsers(api: str) -> None:
    page = requests.get(f"{api}/", timeout=20)
    assert page.headers["Content-Type"] == "text/html; charset=utf-8"
    assert page.headers["Content-Security-Policy"].startswith("default-src 'self'")
    assert "frame-ancestors 'none'" in page.headers["Content-Security-Policy"]
    for name, kind in (("page.css", "text/css"), ("page.js", "text/javascript")):
        assert f"/page/{name}" in page.text
        answer = requests.get(f"{api}/page/{name}", timeout=20)
        assert (answer.status_code, answer.headers["Content-Type"]) == (200, f"{kind}; charset=utf-8")


@pytest.mark.parametrize("name", ["../config.py", "..%2fconfig.py", "%2e%2e%2fconfig.py", "__init__.py", "."])
def test_no_name_of_a_page_leads_to_another_file(name: str, idle: str) -> None:
    request = requests.Request("GET", "http://unused").prepare()
    request.url = f"{idle}/page/{name}"  # as it is: requests would tidy it up
    with requests.Session() as session:
        assert session.send(request, timeout=20).status_code == 404


def test_every_route_of_ours_is_described(api: str) -> None:
    document = get(f"{api}/openapi.json")
    operations = {(path, method): said for path, item in document["paths"].items() for method, said in item.items()}
    assert len(operations) >= 30
    assert all(said["summary"].endswith(".") for said in operations.values())
    start = operations["/v1/runs", "post"]["requestBody"]["content"]["application/json"]["schema"]
    assert [one["$ref"].rpartition("/")[2] for one in start["oneOf"]] == ["K6Asked", "FileAsked"]
    assert document["components"]["schemas"]["K6Asked"]["examples"]
    assert operations["/api/v1/getTask", "get"]["requestBody"]
    assert "HTTPValidationError" not in document["components"]["schemas"]
