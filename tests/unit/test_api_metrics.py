"""What Prometheus reads."""

from __future__ import annotations

from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from standins.api_door import MemoryDoor
from testwarden import __version__
from testwarden.api.metrics import AgentMetrics
from testwarden.clients.k6_numbers import K6Numbers
from testwarden.errors import LedgerError
from testwarden.model import K6Options, Outcome, ScriptFile, TestType
from testwarden.running.own_runs import OwnTest


def samples(door: MemoryDoor) -> dict[str, float]:
    text = AgentMetrics(door).exposition().decode()
    found = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            labels = ",".join(f"{name}={value}" for name, value in sorted(sample.labels.items()))
            found[f"{sample.name}{{{labels}}}"] = sample.value
    return found


def k6(title: str) -> OwnTest:
    return OwnTest(TestType.K6, title, k6=K6Options(ScriptFile("script.js", "0" * 64)))


def test_the_state_of_the_agent_is_there(tmp_path: Path) -> None:
    found = samples(MemoryDoor(tmp_path))
    assert found[f"testwarden_build_info{{version={__version__}}}"] == 1
    assert found["testwarden_kill_switch{state=clear}"] == 1
    assert found["testwarden_kill_switch{state=active}"] == 0
    assert found["testwarden_paused{}"] == 0
    assert found["testwarden_budget_attempts_used{type=download}"] == 3
    assert found["testwarden_budget_attempts_limit{type=download}"] == 360
    assert found["testwarden_budget_used_bytes{}"] == 1000
    assert found["testwarden_budget_used_ant{}"] == 0.25
    assert found["testwarden_budget_limit_ant{}"] == 0


def test_own_runs_are_counted_by_what_became_of_them(tmp_path: Path) -> None:
    door = MemoryDoor(tmp_path)
    for title in ("one", "two", "three"):
        door.start_own(k6(title))
    door.end(2, Outcome.NETWORK_ERROR, "no answer")
    found = samples(door)
    assert found["testwarden_own_runs_started_total{}"] == 3
    assert found["testwarden_own_runs{state=running,type=k6}"] == 2
    assert found["testwarden_own_runs{state=network_error,type=k6}"] == 1


def test_running_k6_tests_show_their_numbers_in_base_units(tmp_path: Path) -> None:
    door = MemoryDoor(tmp_path)
    for title in ('a "quoted"\ntitle', "silent", "ended"):
        door.start_own(k6(title))
    door.measured[1] = K6Numbers(vus=3, requests=200, rps=20.5, failed=0.01, rt95p=0.25, sent=10, received=20)
    door.measured[3] = K6Numbers(vus=9)
    door.end(3)
    found = samples(door)
    title = 'title=a "quoted"\ntitle'
    assert found[f"testwarden_k6_request_duration_seconds{{run=own-1,stat=p95,{title}}}"] == 0.25
    assert found[f"testwarden_k6_requests_failed_ratio{{run=own-1,{title}}}"] == 0.01
    assert found[f"testwarden_k6_received_bytes{{run=own-1,{title}}}"] == 20
    assert door.asked == [], "a k6 that hangs does not hold up a scrape"
    assert not any("stat=p99" in name or "silent" in name or "own-3" in name for name in found)


def test_an_unreadable_ledger_leaves_its_numbers_out(tmp_path: Path) -> None:
    door = MemoryDoor(tmp_path)
    whole = dict(door.snapshot())
    door.snapshot = lambda: {**whole, "budgets": {"problem": "it is locked"}}  # type: ignore[method-assign]
    assert not any("budget" in name for name in samples(door))


def test_two_agents_in_one_process_do_not_share_numbers(tmp_path: Path) -> None:
    one, two = MemoryDoor(tmp_path), MemoryDoor(tmp_path)
    one.start_own(k6("mine"))
    assert samples(one)["testwarden_own_runs_started_total{}"] == 1
    assert samples(two)["testwarden_own_runs_started_total{}"] == 0


def test_building_it_asks_the_agent_nothing(tmp_path: Path) -> None:
    door = MemoryDoor(tmp_path)
    door.broken = LedgerError()
    AgentMetrics(door)
