"""The timetable of the hour and the end of its window, with a real runner and workers that wait to be stopped."""

from __future__ import annotations

import logging
import random
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from testwarden.clients.client import Order
from testwarden.clients.stop import Stop
from testwarden.clock import ManualClock
from testwarden.model import (
    AttemptResult,
    CatalogueFile,
    Decision,
    FileSize,
    Origin,
    Outcome,
    Sample,
    Task,
    TestType,
    Verdict,
)
from testwarden.running.hour import Hour, Plan
from testwarden.running.runner import Runner
from testwarden.running.scheduler import Scheduler
from testwarden.running.worker import Bench, Job
from testwarden.safety.budget import Ledger
from testwarden.safety.cycle import Cycle
from testwarden.safety.gate import Conditions, Confirmed, Gate
from testwarden.safety.kill_switch import KillSwitch
from testwarden.safety.limits import GB, Limits
from testwarden.safety.task_verdict import Judged
from testwarden.workloads.workload import Item, Purse

NOON = datetime(2026, 11, 21, 12, tzinfo=timezone.utc)
ROW = CatalogueFile(FileSize.TINY, "name", "seed-1-100", None)
TASK = Task("001", "a task", 5, 0, TestType.DOWNLOAD)


class UntilStopped:
    """A workload that runs until it is stopped."""

    type = TestType.DOWNLOAD
    client = "twin"

    def __init__(self) -> None:
        self.running = threading.Semaphore(0)
        self.graces: list[float] = []

    def pick(self, task: Task, rng: random.Random) -> Item:
        return Item("seed-1-100", 1000, 1000, ROW)

    def attempt(self, item: Item, order: Order, stop: Stop, purse: Purse) -> AttemptResult:
        self.running.release()
        assert stop.wait(30), "nobody stopped this test"
        return AttemptResult(Outcome.CLIENT_KILLED, stop.reason)


@dataclass
class Timetable(Scheduler):
    """Keeps what is put on it, runs nothing."""

    calls: dict[str, datetime | float] = field(default_factory=dict)

    def each_cycle(self, name: str, minute: float, call: Callable[[], None]) -> None:
        self.calls[name] = minute

    def at(self, name: str, when: datetime, late: timedelta, call: Callable[[], None]) -> None:
        self.calls[name] = when

    def forget(self, prefix: str) -> None:
        self.calls = {name: when for name, when in self.calls.items() if not name.startswith(prefix)}


@dataclass
class House:
    clock: ManualClock
    hour: Hour
    runner: Runner
    timetable: Timetable
    workload: UntilStopped
    samples: list[Sample]
    ends: list[int]
    deaths: list[BaseException]

    def adopt(self, *tasks: Task) -> None:
        allowed = Verdict(Decision.ALLOWED, "fine")
        judged = tuple(Judged(task, allowed, {}) for task in tasks)
        self.hour.adopt(Plan(judged, "c0ffee", {TestType.DOWNLOAD: self.workload}))

    def started(self, workers: int) -> None:
        for _ in range(workers):
            assert self.workload.running.acquire(timeout=10)


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    clock = ManualClock(NOON + timedelta(minutes=1))
    ledger = Ledger(tmp_path / "ledger.db", clock.now())

    def conditions() -> Conditions:
        switch = KillSwitch().after_look((), clock.now(), at_fetch=False)
        return Conditions(switch, None, Confirmed(clock.now()), paused=False, disk_free=20 * GB)

    gate = Gate(Limits(), Cycle(), ledger, conditions, lambda _task: "")
    samples: list[Sample] = []
    ends: list[int] = []
    deaths: list[BaseException] = []
    rng = random.Random(3)
    runner = Runner(Bench(gate, clock, tmp_path, samples.append, rng), deaths.append)
    timetable = Timetable()
    hour = Hour(Cycle(), clock, rng, timetable, runner, lambda: 0, lambda: ends.append(1), gate.windowed)
    yield House(clock, hour, runner, timetable, UntilStopped(), samples, ends, deaths)
    runner.stop_all("the test is over", 0)
    assert runner.wait(10)
    ledger.close()


def test_the_fixed_points_are_on_the_timetable_and_the_fetch_is_spread(house: House) -> None:
    house.hour.put_on(lambda: None)
    assert (house.timetable.calls["cool-down"], house.timetable.calls["kill"]) == (55, 58)
    assert house.timetable.calls["proof"] == 0
    fetch = house.timetable.calls["fetch"]
    assert isinstance(fetch, float)
    assert 0 < fetch < 4


def test_a_task_starts_inside_its_minute_at_the_agent_s_own_phase(house: House) -> None:
    house.adopt(TASK, replace(TASK, ref="002", minute=54, time_offset=5))
    first, last = house.timetable.calls["task 001"], house.timetable.calls["task 002"]
    assert isinstance(first, datetime)
    assert isinstance(last, datetime)
    assert NOON + timedelta(minutes=5) < first < NOON + timedelta(minutes=6)
    assert NOON + timedelta(minutes=54) <= last < NOON + timedelta(minutes=55)


def test_a_refused_task_and_one_whose_minute_has_passed_are_not_on_it(house: House) -> None:
    house.clock.set(NOON + timedelta(minutes=20))
    refused = Judged(replace(TASK, minute=30), Verdict(Decision.REFUSED, "no"), {})
    passed = Judged(replace(TASK, ref="002"), Verdict(Decision.ALLOWED, "fine"), {})
    house.hour.adopt(Plan((refused, passed), "", {}))
    assert house.timetable.calls == {}


def test_another_fetch_does_not_start_a_task_twice_in_a_cycle(house: House) -> None:
    late = replace(TASK, minute=50)
    house.adopt(late)
    house.clock.set(NOON + timedelta(minutes=10))
    house.hour.start("001")
    house.started(1)
    house.hour.replan()
    assert "task 001" not in house.timetable.calls
    house.clock.set(NOON + timedelta(minutes=61))
    house.hour.replan()
    assert "task 001" in house.timetable.calls


def test_another_fetch_moves_no_task_that_is_still_ahead(house: House) -> None:
    house.adopt(replace(TASK, minute=10, time_offset=5))
    first = house.timetable.calls["task 001"]
    house.hour.replan()
    assert house.timetable.calls["task 001"] == first


def test_a_task_that_came_due_during_a_fetch_is_not_lost(house: House) -> None:
    house.adopt(TASK)
    house.clock.set(NOON + timedelta(minutes=6))
    house.hour.replan()
    assert house.timetable.calls["task 001"] == NOON + timedelta(minutes=6, seconds=1)


def test_what_slept_through_its_minute_does_not_start_late(house: House) -> None:
    house.adopt(TASK, replace(TASK, ref="002", minute=6))
    house.clock.set(NOON + timedelta(minutes=20))
    house.hour.replan()
    assert house.timetable.calls == {}


def test_a_task_whose_minute_was_over_before_the_agent_began_waits_for_the_next_cycle(house: House) -> None:
    house.clock.set(NOON + timedelta(minutes=20))
    house.adopt(TASK)
    house.hour.replan()
    assert house.timetable.calls == {}


def test_threads_that_cannot_be_started_leave_no_running_task(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    house.adopt(replace(TASK, workers=3))
    house.clock.set(NOON + timedelta(minutes=5))

    def refuse(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        verdict = house.hour.start("001")
    assert verdict.refused
    assert "can't start new thread" in verdict.reason
    assert house.runner.running() == ()


def test_at_55_everything_is_asked_to_stop_and_leaves_its_sample(
    house: House, caplog: pytest.LogCaptureFixture
) -> None:
    house.adopt(replace(TASK, workers=3, repeat=True))
    house.clock.set(NOON + timedelta(minutes=5))
    house.hour.start("001")
    house.started(3)
    house.clock.set(NOON + timedelta(minutes=55))
    with caplog.at_level(logging.INFO):
        house.hour.cool_down()
        assert house.runner.wait(10)
        house.clock.set(NOON + timedelta(minutes=60))
        house.hour.prove()
    assert [sample.outcome for sample in house.samples] == [Outcome.CLIENT_KILLED] * 3
    assert {sample.reason for sample in house.samples} == {"the window is over"}
    assert "3 workers asked to stop within 180 s" in caplog.text
    assert "3 workers stopped, none needed KILL, the slowest" in caplog.text
    assert "no test process is left" in caplog.text
    assert house.ends == [1]


def test_in_the_window_nothing_of_this_cycle_is_stopped(house: House) -> None:
    house.adopt(TASK)
    house.clock.set(NOON + timedelta(minutes=5))
    house.hour.start("001")
    house.started(1)
    house.hour.cool_down()
    assert len(house.runner.running()) == 1


def test_what_slept_through_into_the_next_window_is_stopped_there(house: House) -> None:
    house.adopt(TASK)
    house.clock.set(NOON + timedelta(minutes=5))
    house.hour.start("001")
    house.started(1)
    house.clock.set(NOON + timedelta(minutes=70))
    house.hour.cool_down()
    assert house.runner.wait(10)


def test_a_task_that_runs_does_not_start_again_beside_itself(house: House) -> None:
    house.adopt(TASK)
    house.clock.set(NOON + timedelta(minutes=5))
    house.hour.start("001")
    house.started(1)
    assert "running already" in house.hour.start("001").reason


def test_outside_the_window_no_task_starts(house: House) -> None:
    house.adopt(TASK)
    house.clock.set(NOON + timedelta(minutes=56))
    assert "outside the window, which opens at 13:05:00 UTC" in house.hour.start("001").reason
    assert house.runner.running() == ()


def test_an_unknown_and_a_refused_reference_are_refused_with_the_reason(house: House) -> None:
    assert "no task 777" in house.hour.start("777").reason


def test_all_tasks_together_run_twenty_workers_and_the_rest_is_said(house: House) -> None:
    tasks = [replace(TASK, ref=f"00{number}", minute=5 + number, workers=8) for number in (1, 2, 3, 4)]
    house.adopt(*tasks)
    house.clock.set(NOON + timedelta(minutes=10))
    verdicts = [house.hour.start(task.ref) for task in tasks]
    assert [verdict.decision for verdict in verdicts] == [
        Decision.ALLOWED,
        Decision.ALLOWED,
        Decision.CLAMPED,
        Decision.REFUSED,
    ]
    assert "8→4" in verdicts[2].reason
    house.started(20)


def test_a_closed_runner_starts_nothing(house: House) -> None:
    house.adopt(TASK)
    house.runner.close("the agent is stopping")
    house.clock.set(NOON + timedelta(minutes=5))
    assert house.hour.start("001").reason == "the agent is stopping"


def test_a_worker_thread_that_dies_of_our_fault_is_reported(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threading, "excepthook", lambda _: None)
    house.adopt(TASK)
    house.clock.set(NOON + timedelta(minutes=5))

    def broken(task: Task, rng: random.Random) -> Item:
        raise MemoryError

    house.workload.pick = broken  # type: ignore[method-assign]
    house.hour.start("001")
    assert house.runner.wait(10)
    assert isinstance(house.deaths[0], MemoryError)


OWN = replace(TASK, ref="own-1", origin=Origin.OWN)


def only_runs(house: House, ref: str) -> None:
    """Wait until nothing but this task runs; fail when it ends, too."""
    while [running.ref for running in house.runner.running()] != [ref]:
        assert not house.runner.wait(0.01)


def test_an_own_test_goes_on_through_the_cool_down_and_the_proof_says_so(
    house: House, caplog: pytest.LogCaptureFixture
) -> None:
    house.adopt(TASK)
    house.clock.set(NOON + timedelta(minutes=5))
    house.hour.start("001")
    assert not house.runner.start(Job(OWN, house.workload, "")).refused
    house.started(2)
    house.clock.set(NOON + timedelta(minutes=55))
    with caplog.at_level(logging.INFO):
        house.hour.cool_down()
        only_runs(house, "own-1")
        house.clock.set(NOON + timedelta(minutes=60))
        house.hour.prove()
    assert "1 worker stopped, none needed KILL, the slowest" in caplog.text
    assert "own tests that go on: 1" in caplog.text


def test_one_task_is_stopped_by_its_reference_and_no_other(house: House) -> None:
    house.adopt(TASK)
    house.clock.set(NOON + timedelta(minutes=5))
    house.hour.start("001")
    house.runner.start(Job(OWN, house.workload, ""))
    house.started(2)
    assert house.runner.stop("own-1", "the operator stops it", 1)
    only_runs(house, "001")
    assert house.samples[0].reason == "the operator stops it"
    assert not house.runner.stop("own-1", "again", 1)


def test_the_kill_switch_stops_own_tests_too(house: House) -> None:
    house.clock.set(NOON + timedelta(minutes=5))
    house.runner.start(Job(OWN, house.workload, ""))
    house.started(1)
    assert house.runner.stop_all("the kill switch is active", 1) == 1
    assert house.runner.wait(10)


def test_a_client_that_had_to_be_killed_is_in_the_proof_once(house: House, caplog: pytest.LogCaptureFixture) -> None:
    class Stubborn(UntilStopped):
        def attempt(self, item: Item, order: Order, stop: Stop, purse: Purse) -> AttemptResult:
            result = super().attempt(item, order, stop, purse)
            stop.note_kill()
            return result

    house.workload = Stubborn()
    house.adopt(TASK)
    house.clock.set(NOON + timedelta(minutes=5))
    house.hour.start("001")
    house.started(1)
    house.clock.set(NOON + timedelta(minutes=55))
    house.hour.cool_down()
    assert house.runner.wait(10)
    with caplog.at_level(logging.INFO):
        house.hour.prove()
        house.hour.prove()
    assert "1 worker stopped, 1 needed KILL, the slowest" in caplog.text
    assert "nothing had to be stopped" in caplog.text
