"""Own tests: through the same gate and runner as every task, and remembered."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from testwarden.clients.client import Order
from testwarden.clients.k6_numbers import K6Numbers
from testwarden.clients.ports import PortPool
from testwarden.clients.stop import Stop
from testwarden.clock import ManualClock
from testwarden.model import (
    AttemptResult,
    Decision,
    K6Options,
    Outcome,
    Sample,
    ScriptFile,
    Task,
    TestType,
    Verdict,
)
from testwarden.running.own_runs import OwnRun, OwnRuns, OwnTest, Watched
from testwarden.running.runner import Runner
from testwarden.running.worker import Bench
from testwarden.safety.budget import Ledger
from testwarden.safety.cycle import Cycle
from testwarden.safety.gate import Conditions, Gate
from testwarden.safety.kill_switch import KillSwitch
from testwarden.safety.limits import GB, Limits, OwnLimits
from testwarden.workloads.workload import Item, Purse, Workload

# In the cool-down: own tests are not bound to the window.
NOW = datetime(2026, 11, 21, 12, 57, tzinfo=timezone.utc)
SCRIPT = ScriptFile("a.js", "0" * 64)
TEST = OwnTest(TestType.K6, "a test", k6=K6Options(SCRIPT, vus=501, targets=None), files=(("0" * 64, b"script"),))


@dataclass
class UntilTold:
    """A workload that runs until the test lets it end, or it is stopped."""

    watched: Watched
    type: TestType = TestType.K6
    client: str = "twin"
    running: threading.Event = field(default_factory=threading.Event)
    over: threading.Event = field(default_factory=threading.Event)
    task: Task | None = None

    def pick(self, task: Task, rng: random.Random) -> Item:
        self.task = task
        return Item("a.js", 0, 0, task)

    def attempt(self, item: Item, order: Order, stop: Stop, purse: Purse) -> AttemptResult:
        assert self.task is not None
        self.watched.progress(self.task, K6Numbers(vus=7))
        self.running.set()
        with stop.listener(self.over.set):
            assert self.over.wait(30)
        if stop.requested:
            return AttemptResult(Outcome.CLIENT_KILLED, stop.reason)
        return AttemptResult(Outcome.OK, figures=(("exit_code", 0),))


@dataclass
class House:
    own: OwnRuns
    ports: PortPool
    gate: Gate
    runner: Runner
    clock: ManualClock
    logs: Path
    workloads: list[UntilTold] = field(default_factory=list)
    refuse: Verdict | None = None
    switch: KillSwitch = field(default_factory=KillSwitch)

    def start(self, test: OwnTest = TEST) -> tuple[OwnRun, UntilTold]:
        run = self.own.start(test)
        assert isinstance(run, OwnRun)
        assert self.workloads[-1].running.wait(30)
        return run, self.workloads[-1]


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    clock = ManualClock(NOW)
    ledger = Ledger(tmp_path / "ledger.db", clock.now())

    def conditions() -> Conditions:
        return Conditions(made.switch, disk_free=20 * GB)

    def workload_for(test: OwnTest, watched: Watched) -> Workload | Verdict:
        made.workloads.append(UntilTold(watched))
        return made.refuse or made.workloads[-1]

    def record(sample: Sample) -> None:
        made.own.note(sample)

    limits = Limits(own=OwnLimits(at_once=2))
    gate = Gate(limits, Cycle(), ledger, conditions, lambda _task: "")
    runner = Runner(
        Bench(gate, clock, tmp_path, record, random.Random(1)),
        lambda problem: pytest.fail(str(problem)),
    )
    ports = PortPool(26600, 26601)
    made = House(OwnRuns(gate, runner, clock, ports, tmp_path, workload_for), ports, gate, runner, clock, tmp_path)
    made.switch = KillSwitch().after_look((), clock.now(), at_fetch=True)
    yield made
    runner.stop_all("the test is over", 0)
    assert runner.wait(10)
    ledger.close()


def test_a_run_is_there_while_it_runs_and_with_its_figures_afterwards(house: House) -> None:
    run, workload = house.start()
    assert (run.number, run.ref, run.outcome, run.ended) == (1, "own-1", None, None)
    assert (run.clamped, run.log) == ("vus 501→500", house.logs / "own-1.log")
    assert house.own.runs() == (run,)
    assert run.test.files == (), "what is remembered is small"
    assert house.own.numbers(1) == K6Numbers(vus=7)
    house.clock.advance(9)
    workload.over.set()
    ended = house.own.wait(1, 30)
    assert ended is not None
    assert (ended.outcome, ended.figures, ended.ended) == (Outcome.OK, (("exit_code", 0),), NOW + timedelta(seconds=9))
    assert house.own.numbers(1) == K6Numbers(vus=7), "the last that is known"


def test_without_a_time_limit_k6_has_the_operator_s_and_the_others_thirty_seconds(house: House) -> None:
    house.start()
    _, download = house.start(OwnTest(TestType.DOWNLOAD))
    assert [one.task.timeout for one in house.workloads if one.task] == [86400, 30]
    assert download.task is not None


def test_ports_are_lent_for_the_time_of_a_run_and_never_twice(house: House) -> None:
    (first, one), (second, _) = house.start(), house.start()
    assert {first.port, second.port} == {26600, 26601}
    assert house.ports.percent == 100
    one.over.set()
    house.own.wait(1, 30)
    assert house.ports.percent == 50


def test_a_run_in_a_cage_has_no_port_outside(house: House) -> None:
    run, _ = house.start(replace(TEST, k6=K6Options(SCRIPT, targets=("a.example.org",))))
    assert run.port is None
    assert house.workloads[0].watched.port in (26600, 26601)


def test_more_at_once_than_the_operator_allows_are_refused_and_leave_nothing(house: House) -> None:
    house.start()
    house.start(OwnTest(TestType.DOWNLOAD))
    refused = house.own.start(OwnTest(TestType.DOWNLOAD))
    assert isinstance(refused, Verdict)
    assert "2 workers of own tasks run, which is the limit" in refused.reason
    assert len(house.own.runs()) == 2
    assert house.ports.percent == 50


def test_the_kill_switch_refuses_own_tests(house: House) -> None:
    house.switch = KillSwitch()
    refused = house.own.start(TEST)
    assert isinstance(refused, Verdict)
    assert "kill switch" in refused.reason
    assert house.own.runs() == ()
    assert house.ports.percent == 0


def test_what_no_workload_carries_out_is_refused_and_gives_its_port_back(house: House) -> None:
    house.refuse = Verdict(Decision.REFUSED, "no such thing")
    assert house.own.start(TEST) == house.refuse
    assert (house.own.runs(), house.ports.percent) == ((), 0)


def test_a_run_that_is_stopped_says_so(house: House) -> None:
    house.start()
    assert house.runner.stop("own-1", "stopped by the operator", 1)
    ended = house.own.wait(1, 30)
    assert ended is not None
    assert (ended.outcome, ended.reason) == (Outcome.CLIENT_KILLED, "stopped by the operator")


def test_a_run_whose_attempt_the_gate_refuses_says_why(house: House) -> None:
    """Between the look before the start and the attempt, the kill switch may have been opened."""

    def opened_meanwhile(test: OwnTest, watched: Watched) -> Workload:
        house.switch = KillSwitch()
        return UntilTold(watched)

    house.own = OwnRuns(house.gate, house.runner, house.clock, house.ports, house.logs, opened_meanwhile)
    run = house.own.start(TEST)
    assert isinstance(run, OwnRun)
    ended = house.own.wait(1, 30)
    assert ended is not None
    assert ended.outcome is None
    assert "no answer about the kill switch" in ended.reason


def test_the_oldest_that_ended_are_forgotten_with_their_logs(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("testwarden.running.own_runs.REMEMBERED", 2)
    for number in range(1, 4):
        (house.logs / f"own-{number}.log").write_text("said")
        _, workload = house.start()
        workload.over.set()
        house.own.wait(number, 30)
    assert [run.number for run in house.own.runs()] == [2, 3]
    assert not (house.logs / "own-1.log").exists()
    assert house.own.run(1) is None
    assert house.own.numbers(1) is None
